"""A data set by name: what a plugin reads from its folder, as the data that trainings take."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from segkit.data.files.facts import Progress
from segkit.data.files.images import fit_channels
from segkit.data.files.masks import RGB
from segkit.data.files.pixel_cache import open_cache, set_folder
from segkit.data.files.pixels import white_of
from segkit.data.findings import WARNING, as_error
from segkit.data.opening.cached_split import KeptSplit, bytes_of, names_of
from segkit.data.opening.folder import ALL, CacheMode, warned
from segkit.data.opening.opened import Data
from segkit.data.opening.samples import SampleFacts, SampleLook, fingerprint, look_at_samples
from segkit.errors import DataError, UsageError
from segkit.interfaces import Dataset, Sample
from segkit.registry.components import Component, Registry, default_registry

SPLITS = ("train", "val", "test")


class Fitted:
    """A plugin's split with every image in so many channels.

    sizes   (height, width) of every sample; None where they are not known
    """

    def __init__(
        self, dataset: Dataset, channels: int, sizes: Sequence[tuple[int, int]] | None = None
    ) -> None:
        self.dataset, self.channels, self.sizes = dataset, channels, sizes
        self.classes: Sequence[str] = dataset.classes
        self.palette: Sequence[RGB] = dataset.palette
        self.ignore_index: int | None = dataset.ignore_index

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[index]
        return replace(sample, image=fit_channels(sample.image, self.channels, sample.id))


class Joined:
    """Several splits one after the other."""

    def __init__(self, parts: Sequence[Dataset]) -> None:
        self.parts = tuple(parts)
        self.classes: Sequence[str] = parts[0].classes
        self.palette: Sequence[RGB] = parts[0].palette
        self.ignore_index: int | None = parts[0].ignore_index

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __getitem__(self, index: int) -> Sample:
        for part in self.parts:
            if index < len(part):
                return part[index]
            index -= len(part)
        raise IndexError(f"there are {len(self)} samples")


@dataclass(frozen=True)
class Named:
    """A data set found by name, before it is opened for training.

    written   the name with its options
    datasets  the splits that are there, train among them
    absent    a sentence for each split that is not
    identity  changes where files, plugin or options change
    """

    component: Component
    written: str
    root: Path
    datasets: Mapping[str, Dataset]
    absent: tuple[str, ...]
    identity: str

    @property
    def judged(self) -> dict[str, Dataset]:
        """The splits that a check looks at; any others are made of the same samples."""
        return {name: each for name, each in self.datasets.items() if name in SPLITS}

    def look(self, progress: Progress | None = None) -> SampleLook:
        """Reads every sample once, or remembers it, and collects what is wrong."""
        return look_at_samples(self.judged, self.identity, progress)


def find_named(written: str, root: Path | None, registry: Registry | None = None) -> Named:
    """The data set of a plugin in a folder; raises what `open_named` raises of name and folder."""
    component = (registry or default_registry()).component("datasets", written)
    if root is None:
        raise UsageError(
            "SK-C009",
            f"--dataset {written} needs the folder where it lies.",
            f"Give it with --data; `segkit data download {component.name}` fetches it or says "
            "where it is to be had.",
        )
    datasets, absent = _splits(component, root)
    entry = component.entry
    parts = (entry.distribution, entry.version, str(component.expression), str(root.resolve()))
    identity = repr((*parts, fingerprint(root, *_code_of(component))))
    return Named(component, written, root, datasets, tuple(absent), identity)


def open_named(
    written: str,
    root: Path | None,
    *,
    in_channels: int | None = None,
    num_classes: int | None = None,
    registry: Registry | None = None,
    cache: CacheMode = "off",
    progress: Progress | None = None,
) -> Data:
    """The data set of a plugin, such as "voc2012" or "oxford-iiit-pet(task=breeds)", in a folder.

    in_channels   channels wanted; None: 1 where all images are grey, else 3
    num_classes   to check that it has so many
    cache         keep decoded pixels in the user's cache folder, as `open_data` has it
    progress      called with (samples looked at, samples in all)

    Every sample is read once and remembered, until a file of the folder or the plugin's code
    changes. Raises UsageError (name, option, or SK-C009 without a folder or with other classes),
    the plugin's own errors, and DataError with all samples at fault.
    """
    named = find_named(written, root, registry)
    train = named.datasets["train"]
    if num_classes is not None and num_classes != len(train.classes):
        raise UsageError(
            "SK-C009",
            f"the model tells {num_classes} classes apart, and {written} has {len(train.classes)}.",
            "Name the data set it was trained on, with the same options.",
        )
    look = named.look(progress)
    error = as_error(look.findings)
    if error is not None:
        raise error
    return data_of_named(named, look, in_channels=in_channels, cache=cache)


def data_of_named(
    named: Named, look: SampleLook, *, in_channels: int | None = None, cache: CacheMode = "off"
) -> Data:
    """The data set that was looked at; raises DataError SK-D011 where depths differ."""
    train, readable = named.datasets["train"], look.readable
    channels = in_channels or _channels(readable)
    splits: dict[str, Dataset] = {
        name: Fitted(each, channels, _sizes(look.facts.get(name)))
        for name, each in named.datasets.items()
    }
    kept = ""
    if cache != "off":
        splits, kept = _kept(named, look, splits, channels, cache)
    sizes = ", ".join(f"{len(each)} {name}" for name, each in splits.items())
    return Data(
        classes=tuple(train.classes),
        palette=tuple(train.palette),
        ignore_index=train.ignore_index,
        in_channels=channels,
        full_scale=_full_scale(readable),
        splits=tuple(splits),
        notes=(
            f"{named.written} in {named.root}: {sizes}.",
            *_terms(named.component),
            *named.absent,
            *warned([finding for finding in look.findings if finding.level == WARNING]),
            *((kept,) if kept else ()),
        ),
        default_size=_default_size(readable),
        datasets=splits | {ALL: Joined([splits[name] for name in SPLITS if name in splits])},
    )


def _kept(
    named: Named, look: SampleLook, splits: dict[str, Dataset], channels: int, mode: str
) -> tuple[dict[str, Dataset], str]:
    """The splits that were looked at with their samples kept, where they fit, and a sentence."""
    facts = {
        split: [found for found in each if found is not None] for split, each in look.facts.items()
    }
    keys = {split: repr((named.identity, split, channels)) for split in facts}
    names = [name for split in facts for name in names_of(keys[split], facts[split])]
    need = sum(bytes_of(found, channels) for found in look.readable)
    folder = set_folder(named.root, named.written, channels)
    cache, note = open_cache(folder, names, need, mode)
    if cache is None:
        return splits, note
    kept = {
        split: KeptSplit(splits[split], facts[split], cache, keys[split])
        for split in facts
        if len(facts[split]) == len(splits[split])
    }
    return splits | kept, note


def _sizes(facts: Sequence[SampleFacts | None] | None) -> list[tuple[int, int]] | None:
    known = [(found.height, found.width) for found in facts or () if found is not None]
    return known if facts and len(known) == len(facts) else None


def _code_of(component: Component) -> list[Path]:
    """Where the plugin's code lies: its package's folder, or its module's file."""
    module = sys.modules.get(component.factory.__module__.partition(".")[0])
    places = getattr(module, "__path__", None) or [getattr(module, "__file__", None)]
    return [Path(place) for place in places if place]


def _splits(component: Component, root: Path) -> tuple[dict[str, Dataset], list[str]]:
    """The splits that are there, train among them, and a sentence for each that is not."""
    datasets: dict[str, Dataset] = {"train": component.build(root=root, split="train")}
    absent = []
    for split in getattr(component.factory, "splits", SPLITS):
        if split in datasets:
            continue
        try:
            datasets[split] = component.build(root=root, split=split)
        except DataError as error:
            absent.append(f"No split {split}: {error.what}")
    return datasets, absent


def _channels(samples: Sequence[SampleFacts]) -> int:
    have = {sample.channels for sample in samples}
    if max(have) > 4:
        return max(have)
    return 1 if have <= {1, 2} else 3


def _full_scale(samples: Sequence[SampleFacts]) -> float:
    """White; raises DataError SK-D011 where the images differ in depth."""
    depths = {sample.dtype for sample in samples}
    if len(depths) > 1:
        raise DataError(
            "SK-D011", f"the images differ in depth: {', '.join(sorted(depths))}.", "Convert them."
        )
    (depth,) = depths
    if depth == "uint8":
        return 255.0
    return white_of(max(sample.highest for sample in samples), depth)


def _default_size(samples: Sequence[SampleFacts]) -> int:
    """The median image's shorter side, rounded down to a multiple of 32, from 32 to 512."""
    side = int(np.median([min(sample.height, sample.width) for sample in samples]))
    return min(512, max(32, side // 32 * 32))


def _terms(component: Component) -> tuple[str, ...]:
    published = getattr(component.factory, "published", None)
    if published is None:
        return ()
    return (f"Licence: {published.licence}. Please cite: {published.citation}.",)
