"""The data a model is scored on: opened as its record says, refused where they cannot be meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from segkit.config import TrainConfig
from segkit.data.files.reading import recorded_reading
from segkit.data.intensity import recorded
from segkit.data.opening.open import open_data
from segkit.data.opening.opened import Data
from segkit.data.options import PLAIN_OPTIONS, DataOptions, options_of
from segkit.errors import DataError, UsageError
from segkit.model.network import ONE_OUTPUT, ModelRecord

# Names that are made up where nobody gave any.
MADE_UP = re.compile(r"background|foreground|boundary|class \d+|\d+", re.IGNORECASE)


@dataclass(frozen=True)
class TrainedModel:
    """A model as it was asked for, its record, and the settings of its training.

    name      as the user wrote it
    settings  of its run; None for a model folder, which remembers no data
    """

    name: str
    record: ModelRecord
    settings: TrainConfig | None


def data_for(model: TrainedModel, root: Path | None, asked: DataOptions) -> Data:
    """The data in a folder, or those of the model's own training where root is None.

    asked   what a user says; what is left out is as the model's record and training have it

    Raises UsageError SK-C009 (a model without a run, and no folder), DataError: SK-D001 (the
    training's data have moved), SK-D035 (other classes than the
    model's), SK-D034 (other pixel values), and what opening a data set raises.
    """
    settings, record = model.settings, model.record
    if asked.num_classes not in (None, record.label_count):
        raise UsageError(
            "SK-C009",
            f"--num-classes {asked.num_classes}: {model.name} tells {record.label_count} classes "
            "apart.",
            "Leave it out; --label-mapping says which of them the values of other masks mean.",
        )
    own = root is None and asked.dataset is None
    base = options_of(settings) if settings is not None else PLAIN_OPTIONS
    base = replace(base, cache="off")
    if not own:
        # What was declared of the training's files says nothing of others.
        base = replace(base, dataset=None, declare=None)
        if not _same_folder(root, settings):
            base = replace(base, fold=None)
    options = replace(
        _over(asked, base),
        in_channels=record.in_channels,
        intensity=asked.intensity or recorded(record.training),
        reading=recorded_reading(record.training),
        num_classes=model.record.label_count,
        of_model=True,
        ignore_index=asked.ignore_index,
    )
    if asked.ignore_index == "auto" and options.dataset is None and record.ignore_index is not None:
        options = replace(options, ignore_index=record.ignore_index)
    if own:
        root = _own_folder(model)
        data = open_data(root, options)
    elif options.dataset is not None or root is None:
        data = open_data(root, options)
    else:
        data = _other_folder(root, options, asked, model)
    _refuse_other_names(model, data)
    return data


def refuse_images_of_members(model: TrainedModel, root: Path | None, split: str) -> None:
    """Raises UsageError SK-C009 where a cross-validation's ensemble is to be scored on its data."""
    settings = model.settings
    if settings is None or settings.folds is None or settings.fold is not None or split == "test":
        return
    if root is not None and not _same_folder(root, settings):
        return
    raise UsageError(
        "SK-C009",
        f"{model.name} is the ensemble of a cross-validation: each of these images has trained "
        "most of its members, and a score would flatter.",
        f"Give other images: segkit evaluate {model.name} --data DIR --split all. Each fold is "
        f"scored on what it held apart: segkit evaluate {model.name}/fold-1",
    )


def _same_folder(root: Path | None, settings: TrainConfig | None) -> bool:
    """Whether it is the one that the training had, whose folds are then known."""
    if root is None or settings is None or settings.data is None:
        return False
    return root.expanduser().resolve() == Path(settings.data).resolve()


def _over(asked: DataOptions, base: DataOptions) -> DataOptions:
    """What is asked for where it is not the default, else what the training had."""
    given = {
        each.name: getattr(asked, each.name)
        for each in fields(DataOptions)
        if getattr(asked, each.name) != each.default
    }
    return replace(base, **given)


def _own_folder(model: TrainedModel) -> Path | None:
    """Where the training's data lie; None: the demo set. Raises where nothing tells."""
    if model.settings is None:
        raise UsageError(
            "SK-C009",
            f"{model.name} is a model without a run, and does not say what it was trained on.",
            f"Say on which data to score it: segkit evaluate {model.name} --data DIR",
        )
    if model.settings.data is None:
        return None
    root = Path(model.settings.data)
    if not root.exists():
        raise DataError(
            "SK-D001",
            f"{model.name} was trained on {root}, which is not there any more.",
            f"Say where the data are now: segkit evaluate {model.name} --data DIR",
        )
    return root


def _other_folder(
    root: Path, options: DataOptions, asked: DataOptions, model: TrainedModel
) -> Data:
    """Data that the model was not trained on, first as they read by themselves.

    Masks of 0 and 255 are a background and a foreground; told that there are five classes, one
    would take their foreground for the ignored label.
    """
    count = model.record.label_count
    try:
        alone = open_data(root, replace(options, num_classes=None, ignore_index=asked.ignore_index))
    except DataError:
        alone = None  # The number of classes may be just what it takes.
    if alone is not None and tuple(alone.classes) == ONE_OUTPUT:
        if count > 2:
            raise _other_classes(model, alone, f"the model tells {count} classes apart")
        return alone
    return open_data(root, options)


def _refuse_other_names(model: TrainedModel, data: Data) -> None:
    """Names are compared where both sides have been given some."""
    known, given = model.record.classes, data.classes
    if not known or all(map(MADE_UP.fullmatch, known)) or all(map(MADE_UP.fullmatch, given)):
        return
    if [name.strip().casefold() for name in known] != [name.strip().casefold() for name in given]:
        raise _other_classes(model, data, f"the model's are {_listed(known)}")


def _other_classes(model: TrainedModel, data: Data, otherwise: str) -> DataError:
    return DataError(
        "SK-D035",
        f"the classes of the data are {_listed(data.classes)}, and {otherwise}: a score would "
        "compare what does not correspond.",
        "Give data with the model's classes; where the masks do hold them, say so in data.yaml: "
        f"`names: [{', '.join(model.record.classes) or '...'}]`, with `label_mapping` where the "
        "numbers differ.",
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"{', '.join(names[:12])}{more}"
