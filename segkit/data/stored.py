"""A sample of which only the part that is asked for is read and given its labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from segkit.interfaces import Sample


class Window(Protocol):
    """Pixels of which a part can be had: an array, or a file that holds one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __getitem__(self, part: tuple[slice, slice], /) -> np.ndarray: ...


@dataclass(frozen=True)
class Stored:
    """A sample before anything has been cut out of it.

    image      (H, W, C)
    mask       (H, W) stored values
    labels     of any part of the mask, in an integer type of its own choice
    id         the sample's name
    instances  (H, W) object numbers; None where there are none
    """

    image: Window
    mask: Window
    labels: Callable[[np.ndarray], np.ndarray]
    id: str
    instances: Window | None = None


class InParts(ABC):
    """A data set that can give a sample without reading all of it."""

    @abstractmethod
    def stored(self, index: int) -> Stored:
        """As indexing, for one who needs a part only."""

    @abstractmethod
    def name(self, index: int) -> str:
        """The sample's id or its image's file, known without reading it."""


def of_sample(sample: Sample) -> Stored:
    """A sample that is all there, with its mask for labels."""
    if sample.mask is None:
        raise ValueError(f"{sample.id} has no mask")
    return Stored(sample.image, sample.mask, as_they_are, sample.id, sample.instances)


def as_they_are(values: np.ndarray) -> np.ndarray:
    return values
