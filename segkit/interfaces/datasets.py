"""The contract of data sets, and of what is published of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Sample:
    """One image with its truth, as stored, before any augmentation.

    image      (H, W, C) at its own bit depth: uint8, uint16 or float32
    mask       (H, W) int64: class, or the data set's ignore_index; None where there is no truth
    id         the file's name below its folder, without suffix
    instances  (H, W) int64: 0 background, one number per object; None where the data have none
    """

    image: np.ndarray
    mask: np.ndarray | None
    id: str
    instances: np.ndarray | None = None


@runtime_checkable
class Dataset(Protocol):
    """Images with masks, by index.

    classes       the classes' names, in label order
    palette       an RGB colour per class, 0 to 255
    ignore_index  the label of pixels that count for nothing, or None

    Built with root (a folder, never written to) and split ("train", "val" or "test"). An index
    always gives the same sample: all are looked at before a training and cached as they were read,
    until a file below root or the plugin's own code changes.

    May offer besides: SizedDataset; and of its factory, SplitDataset and PublishedDataset.
    """

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def palette(self) -> Sequence[tuple[int, int, int]]: ...

    @property
    def ignore_index(self) -> int | None: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@runtime_checkable
class SizedDataset(Protocol):
    """A data set that knows how large its samples are without reading them.

    sizes  (height, width) of every sample, pixels, by index; None where they are not known

    Evaluation then takes images of one size together; without it, those that follow one another.
    """

    @property
    def sizes(self) -> Sequence[tuple[int, int]] | None: ...


@runtime_checkable
class SplitDataset(Protocol):
    """A data set's factory whose splits are others than train, val and test.

    splits  the splits it takes, "train" among them; one that is asked for and not there raises
            DataError, and the others serve
    """

    @property
    def splits(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Archive:
    """One file to download and unpack: tar, tar.gz, tar.bz2, tar.xz or zip.

    url            where its owners publish it, http or https
    into           folder below the data set's own that its content is unpacked to, "" for that one
    sha256, md5    as published, in hexadecimal; None where its owners publish none. An MD5 finds a
                   damaged file, no forged one
    largest        bytes that it may have: more than that is not what was published
    largest_whole  bytes that its content may have
    """

    url: str
    into: str = ""
    sha256: str | None = None
    md5: str | None = None
    largest: int = 4_000_000_000
    largest_whole: int = 16_000_000_000

    @property
    def name(self) -> str:
        """The file's name, such as images.tar.gz."""
        return self.url.partition("?")[0].rstrip("/").rpartition("/")[2]


@dataclass(frozen=True)
class PublishedData:
    """What a data set's class says about its source, as its attribute `published`.

    homepage   where it is described
    licence    as its owners state it
    citation   the paper to cite
    archives   what `segkit data download` fetches; none where it may not be passed on or is given
               out after a registration
    by_hand    where to get it and where to put it, sentences with full stops
    """

    homepage: str
    licence: str
    citation: str
    archives: tuple[Archive, ...] = ()
    by_hand: str = ""


@runtime_checkable
class PublishedDataset(Protocol):
    """A data set's factory that says how it is published.

    published  the segkit.api.PublishedData by which `segkit data download` fetches it, and which
               names licence and citation when it is opened
    """

    @property
    def published(self) -> PublishedData: ...
