"""What only some data sets offer: the one place that asks for it, and what holds without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segkit.interfaces import (
    Dataset,
    PublishedData,
    PublishedDataset,
    SizedDataset,
    SplitDataset,
)

USUAL_SPLITS = ("train", "val", "test")


def sizes_of(dataset: Dataset) -> Sequence[tuple[int, int]] | None:
    """(height, width) of every sample, pixels; None where they are only known by reading."""
    return dataset.sizes if isinstance(dataset, SizedDataset) else None


def splits_of(factory: Any) -> tuple[str, ...]:
    """The splits that a data set's class, or a data set, takes."""
    return tuple(factory.splits) if isinstance(factory, SplitDataset) else USUAL_SPLITS


def published_of(factory: Any) -> PublishedData | None:
    """How a data set's class says that it is published."""
    if isinstance(factory, PublishedDataset) and isinstance(factory.published, PublishedData):
        return factory.published
    return None
