"""A plugin's split with its samples in the cache of decoded pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from segkit.data.files.masks import RGB
from segkit.data.files.pixel_cache import PixelCache, entry_name
from segkit.data.opening.samples import SampleFacts
from segkit.data.stored import InParts, Stored, Window, as_they_are
from segkit.interfaces import Dataset, Sample

IMAGE, MASK, INSTANCES = "image", "mask", "instances"


class CachedSplit(InParts):
    """Reads what is in the cache, and puts there what is not.

    facts   what each sample is, from a look at all of them
    key     of all that decides the samples: files, plugin and options
    """

    def __init__(
        self, dataset: Dataset, facts: Sequence[SampleFacts], cache: PixelCache, key: str
    ) -> None:
        self.dataset, self.facts, self.cache, self.key = dataset, tuple(facts), cache, key
        self.classes: Sequence[str] = dataset.classes
        self.palette: Sequence[RGB] = dataset.palette
        self.ignore_index: int | None = dataset.ignore_index
        self._latest: tuple[int, Sample] | None = None

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every sample, known without reading it."""
        return [(found.height, found.width) for found in self.facts]

    def __len__(self) -> int:
        return len(self.facts)

    def __getitem__(self, index: int) -> Sample:
        found = self.facts[index]
        instances_HW = None
        if found.objects is not None:
            instances_HW = self._whole(index, INSTANCES).astype(np.int64)
        mask_HW = self._whole(index, MASK).astype(np.int64)
        return Sample(self._whole(index, IMAGE), mask_HW, found.id, instances_HW)

    def name(self, index: int) -> str:
        return self.facts[index].id

    def stored(self, index: int) -> Stored:
        found = self.facts[index]
        instances = self._window(index, INSTANCES) if found.objects is not None else None
        image, mask = self._window(index, IMAGE), self._window(index, MASK)
        return Stored(image, mask, as_they_are, found.id, instances)

    def _whole(self, index: int, part: str) -> np.ndarray:
        return self.cache.array(name_of(self.key, index, part), {}, self._reader(index, part))

    def _window(self, index: int, part: str) -> Window:
        return self.cache.window(name_of(self.key, index, part), {}, self._reader(index, part))

    def _reader(self, index: int, part: str) -> Callable[[], np.ndarray]:
        return lambda: _part(self._sample(index), part)

    def _sample(self, index: int) -> Sample:
        """The latest one is held, since its parts are asked for one by one."""
        if self._latest is None or self._latest[0] != index:
            self._latest = (index, self.dataset[index])
        return self._latest[1]


def name_of(key: str, index: int, part: str) -> str:
    """The entry that holds a part of a sample."""
    return entry_name(key, index, part)


def names_of(key: str, facts: Sequence[SampleFacts]) -> list[str]:
    """All entries of a split."""
    return [
        name_of(key, index, part)
        for index, found in enumerate(facts)
        for part in (IMAGE, MASK, INSTANCES)
        if part != INSTANCES or found.objects is not None
    ]


def bytes_of(found: SampleFacts, channels: int, dtype: str | None = None) -> int:
    """What a sample takes in the cache, nearly; `dtype` is the image's where it is changed."""
    planes = 1 + (0 if found.objects is None else 1 if found.objects < 256 else 2)
    depth = np.dtype(dtype or found.dtype).itemsize
    return found.height * found.width * (channels * depth + planes)


def _part(sample: Sample, part: str) -> np.ndarray:
    if part == IMAGE:
        return sample.image
    plane_HW = sample.mask if part == MASK else sample.instances
    if plane_HW is None:
        raise ValueError(f"{sample.id} has no {part}")
    low, high = plane_HW.min(), plane_HW.max()
    for kind in (np.uint8, np.uint16):
        if low >= 0 and high <= np.iinfo(kind).max:
            return plane_HW.astype(kind)
    return plane_HW
