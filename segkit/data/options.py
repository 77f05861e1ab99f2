"""What a user may say when a data set is opened, beyond where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from segkit.config import TrainConfig
from segkit.data.files.reading import Reading
from segkit.data.intensity import Intensity, read_intensity
from segkit.data.settings import read_label_mapping

IgnoreIndex = int | None | Literal["auto"]
CacheMode = Literal["auto", "on", "off"]
OnBadSample = Literal["error", "skip"]


@dataclass(frozen=True)
class Fold:
    """One of the equal parts of a cross-validation: it validates, and the others train.

    number   from 1
    of       how many there are
    """

    number: int
    of: int


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How a data set is opened; what is left out, data.yaml or the files decide.

    dataset        published set that the folder holds, as name(option=value); None: a layout that
                   segkit knows
    ignore_index   the label that counts for nothing; None: every pixel counts; "auto": as data.yaml
                   says, else 255 where the masks hold it beside classes
    num_classes    where it cannot be told from the masks, or to check that it is so many
    instances      the masks hold object numbers: "foreground" makes all one class, "boundary" their
                   outermost pixels another
    binarize       stored values from here on are foreground, the rest background: for smeared masks
    label_mapping  what stored values mean, as data.yaml writes it: {first and last: label, or None
                   for what is ignored}; None: as data.yaml says
    declare        what data.yaml would say, over what it says: "page: 1", "{page: 1, soft: true}"
    resize_masks   "nearest": masks of another size than their images are brought to it
    of_model       classes, channels and intensity are a trained model's, which no option changes
    max_pixels     the largest image allowed, pixels; None: 178,956,970
    in_channels    channels wanted; None: those the images have (alpha dropped, grey copied if
                   mixed)
    intensity      what is black and white: a scaling to be measured, or a model's own; None: the
                   range of the images
    reading        how a model's own images were read (alpha, page, NaN), where one is scored on the
                   data: data.yaml may not say otherwise
    val_share      share of the images drawn for validation where no split is given, 0 (none) to 1
    fold           which part of a cross-validation validates; None: as the split says
    seed           of these draws, and of the demo set
    cache          decoded pixels in the user's cache folder: "on", "off", or "auto": where they fit
                   in it (SEGKIT_CACHE_GB gigabytes, 10 where it is not set)
    on_bad_sample  "skip" leaves out samples whose files are at fault, up to 5 % of all
    """

    dataset: str | None = None
    ignore_index: IgnoreIndex = "auto"
    num_classes: int | None = None
    instances: str | None = None
    binarize: int | None = None
    label_mapping: Mapping[tuple[int, int], int | None] | None = None
    declare: str | None = None
    resize_masks: str | None = None
    of_model: bool = False
    max_pixels: int | None = None
    in_channels: int | None = None
    intensity: Intensity | None = None
    reading: Reading | None = None
    val_share: float = 0.2
    fold: Fold | None = None
    seed: int = 0
    cache: CacheMode = "off"
    on_bad_sample: OnBadSample = "error"


PLAIN_OPTIONS = DataOptions()


def options_of(config: TrainConfig) -> DataOptions:
    """How a training opens its data; one that separates objects takes masks for object numbers."""
    numbered = "foreground" if config.separate and not config.dataset else None
    return DataOptions(
        dataset=config.dataset,
        ignore_index=config.ignore_index,
        num_classes=config.num_classes,
        instances=config.instances or numbered,
        binarize=config.binarize,
        label_mapping=read_label_mapping(config.label_mapping) if config.label_mapping else None,
        declare=config.declare,
        resize_masks=config.resize_masks,
        max_pixels=config.max_pixels,
        in_channels=config.in_channels,
        intensity=read_intensity(config.intensity) if config.intensity else None,
        val_share=config.val_share,
        fold=Fold(config.fold, config.folds) if config.fold and config.folds else None,
        seed=config.seed,
        cache=config.cache,
        on_bad_sample=config.on_bad_sample,
    )
