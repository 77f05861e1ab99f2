"""What the settings leave to segkit is decided here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from segkit.config import TrainConfig
from segkit.data.augmentation.presets import find_preset
from segkit.data.opening.opened import Data
from segkit.data.sample_order import steps_per_epoch
from segkit.device import choose_precision, default_workers
from segkit.distributed import Group
from segkit.errors import UsageError
from segkit.training.optimization.schedule import Plan, read_plans

DEMO_EPOCHS = 12
USUAL_STEPS = 1500
FEWEST_EPOCHS = 10
EVALUATIONS, SHOWN = 50, 5


@dataclass
class Length:
    """How long a training is; one object for all who work with it, since it may change under way.

    epochs    in all
    reason    why so many, as a half-sentence; empty where the settings say so
    earlier   numbers of epochs that were the plan before, oldest first
    """

    epochs: int
    reason: str = ""
    earlier: tuple[Plan, ...] = ()

    def replan(self, epochs: int, after: int) -> None:
        """Makes it so many epochs in all, once `after` of them are done."""
        self.earlier = (*self.earlier, Plan(self.epochs, after))
        self.epochs = epochs


def decided(config: TrainConfig, data: Data, group: Group) -> TrainConfig:
    """The settings with nothing left to be decided, so that a run can be repeated from them.

    Raises UsageError SK-C009 where settings do not fit one another.
    """
    if config.fold and (config.folds or 0) < config.fold:
        raise UsageError(
            "SK-C009",
            f"fold is {config.fold}, and there are {config.folds or 'none'}.",
            "Say how many there are, as many or more: --folds 5.",
        )
    if config.thaw_epoch and not config.freeze:
        raise UsageError(
            "SK-C009",
            f"thaw_epoch is {config.thaw_epoch}, and nothing is frozen.",
            "Name what with --freeze.",
        )
    share = group.share_of(int(config.batch))
    if share % config.accumulate:
        raise UsageError(
            "SK-C009",
            f"the {share} images of a step do not come apart in {config.accumulate} equal parts.",
            "Give an --accumulate that divides --batch (in each process).",
        )
    workers, epochs = config.workers, length_of_training(config, data).epochs
    if workers == "auto":
        workers = default_workers(group.device, group.local_processes)
    return absolute_paths(config).model_copy(
        update={
            "epochs": epochs,
            "evaluate_every": config.evaluate_every or max(1, epochs // EVALUATIONS),
            "samples_every": config.samples_every or max(1, epochs // SHOWN),
            "augmentation": _augmentation(config),
            "size": config.size or data.default_size,
            "in_channels": data.in_channels,
            "ignore_index": data.ignore_index,
            "precision": choose_precision(config.precision, group.device),
            "workers": workers,
        }
    )


def mirrors_of(config: TrainConfig) -> str:
    """ModelRecord.mirrors of the model that is trained.

    Raises UsageError SK-C009 where it is to be asked of what it has never seen.
    """
    if not config.mirror:
        return ""
    flips = find_preset(config.augmentation).flips
    if flips == "none":
        raise UsageError(
            "SK-C009",
            f"--mirror asks the network of mirrored images, and the augmentation "
            f"{config.augmentation} shows it none to learn from.",
            "Leave --mirror out; or where mirrored images are of the same world, give "
            "--augmentation standard.",
        )
    return flips


def length_of_training(config: TrainConfig, data: Data) -> Length:
    """The epochs asked for; else those that make USUAL_STEPS steps, and 10 at least."""
    if config.epochs:
        return Length(config.epochs, earlier=read_plans(config.earlier_plans))
    if config.data is None and not config.overfit:
        return Length(DEMO_EPOCHS, "enough for the demo set")
    steps = steps_per_epoch(len(data.split("train")), int(config.batch))
    wanted = math.ceil(USUAL_STEPS / steps)
    if wanted < FEWEST_EPOCHS:
        return Length(FEWEST_EPOCHS, f"{FEWEST_EPOCHS} epochs are the fewest that segkit chooses")
    return Length(wanted, f"to make {USUAL_STEPS:,} steps; --minutes N makes those that fit")


def run_name(config: TrainConfig) -> str:
    """A folder's name for a run without --out: data and encoder, or recipe where that decides."""
    data = Path(config.data).name if config.data else "demo"
    known = config.recipe == "plain" or "encoder" in config.model_fields_set
    named = config.encoder if known else config.recipe
    encoder = named.partition("(")[0].replace("/", "-").replace(":", "-")
    return f"runs/{data}-{encoder}"


def _augmentation(config: TrainConfig) -> str:
    if config.augmentation != "auto":
        return config.augmentation
    if config.overfit:
        return "none"
    return "light" if config.data is None else "standard"


def absolute_paths(config: TrainConfig) -> TrainConfig:
    """The settings as they mean the same in whatever folder they are read."""
    changes = {"data": _absolute(config.data)} if config.data else {}
    if config.weights not in ("auto", "imagenet", "none"):
        changes["weights"] = _absolute(config.weights)
    return config.model_copy(update=changes)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def less_memory(config: TrainConfig) -> str:
    """What helps where a training's memory ends."""
    smaller = "--accumulate 2 or more, a smaller --batch or --size, or --precision bf16"
    if config.checkpoint_activations:
        return f"Use {smaller}."
    return (
        f"Use --checkpoint-activations, {smaller}; a run that has ended an epoch goes on with "
        "--resume RUN --checkpoint-activations."
    )
