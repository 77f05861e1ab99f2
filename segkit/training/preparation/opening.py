"""The data of a training, opened as its settings and their recipe have them."""

from __future__ import annotations

from pathlib import Path

from segkit.config import TrainConfig
from segkit.data.opening.first_samples import to_learn_by_heart
from segkit.data.opening.open import open_data
from segkit.data.opening.opened import Data, untrainable
from segkit.data.options import options_of
from segkit.distributed import Group
from segkit.errors import DataError
from segkit.recipes.class_weights import with_class_weights
from segkit.recipes.deciding import Decision, Recipe, recipe_for


def with_recipe(
    config: TrainConfig, named: TrainConfig, group: Group
) -> tuple[TrainConfig, Data, Recipe | None, tuple[Decision, ...]]:
    """The settings as the data and their recipe have them, and the data as these open them.

    named   the settings by the plugins that the run was made with
    """
    data = opened(named)
    config = with_class_weights(config, data)
    recipe = recipe_for(config, data, group)
    if recipe is None:
        return config, data, None, ()
    changes, decisions = recipe.decide()
    config = config.model_copy(update=changes)
    if "intensity" in changes:
        data = opened(named.model_copy(update={"intensity": config.intensity}))
    return config, data, recipe, decisions


def opened(config: TrainConfig) -> Data:
    """As the settings say; raises what opening raises, and SK-T004 where nothing can be trained."""
    root = Path(config.data).expanduser() if config.data else None
    data = open_data(root, options_of(config))
    missing = untrainable({split: len(data.split(split)) for split in data.splits})
    if missing is not None:
        raise DataError(missing.code, missing.what, missing.fix)
    return to_learn_by_heart(data, config.overfit) if config.overfit else data
