"""The first samples of a data set, to learn by heart: a sound training reaches a score near 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from segkit.data.capabilities import sizes_of
from segkit.data.opening.opened import ALL, Data
from segkit.interfaces import Dataset, Sample


class FirstSamples:
    """The first `count` samples of a data set, or all where it has fewer; as segkit.Dataset."""

    def __init__(self, dataset: Dataset, count: int) -> None:
        self.dataset, self.count = dataset, min(count, len(dataset))
        self.classes, self.palette = dataset.classes, dataset.palette
        self.ignore_index = dataset.ignore_index

    @property
    def sizes(self) -> Sequence[tuple[int, int]] | None:
        """As segkit.interfaces.SizedDataset has it."""
        sizes = sizes_of(self.dataset)
        return None if sizes is None else sizes[: self.count]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return self.dataset[index]


def to_learn_by_heart(data: Data, count: int) -> Data:
    """The data with the first `count` training samples alone, trained on and scored on."""
    first = FirstSamples(data.split("train"), count)
    images = "training image" if len(first) == 1 else f"{len(first)} training images"
    note = (
        f"--overfit {count}: the first {images} alone to train on and to score on, which tells "
        "whether the set-up can learn, and nothing else."
    )
    return replace(
        data,
        datasets={"train": first, "val": first, ALL: first},
        splits=("train", "val"),
        notes=(*data.notes, note),
    )
