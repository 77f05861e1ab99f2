"""A data set by name: what a plugin reads from its folder, as the data that trainings take."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from segkit.data.capabilities import USUAL_SPLITS, published_of, splits_of
from segkit.data.files.facts import Progress
from segkit.data.files.images import fit_channels
from segkit.data.files.masks import RGB
from segkit.data.files.pixel_cache import open_cache, set_folder
from segkit.data.findings import WARNING, as_error
from segkit.data.intensity import Intensity, find_intensity, percentiles
from segkit.data.opening.background import background_of
from segkit.data.opening.cached_split import CachedSplit, bytes_of, names_of
from segkit.data.opening.opened import ALL, Data, crop_size_for, warned
from segkit.data.opening.samples import SampleFacts, SampleLook, fingerprint, look_at_samples
from segkit.data.options import PLAIN_OPTIONS, DataOptions
from segkit.errors import DataError, UsageError
from segkit.interfaces import Dataset, Sample
from segkit.registry.components import Component, Registry, default_registry

# Images that percentiles are measured on.
MEASURED = 64


class Fitted:
    """A plugin's split with every image in so many channels, black and white applied.

    sizes   (height, width) of every sample; None where they are not known
    """

    def __init__(
        self,
        dataset: Dataset,
        channels: int,
        intensity: Intensity,
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        self.dataset, self.channels, self.sizes = dataset, channels, sizes
        self.intensity = intensity
        self.classes: Sequence[str] = dataset.classes
        self.palette: Sequence[RGB] = dataset.palette
        self.ignore_index: int | None = dataset.ignore_index

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[index]
        image_HWC = fit_channels(sample.image, self.channels, sample.id)
        return replace(sample, image=self.intensity.applied(image_HWC))


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
    def looked_at(self) -> dict[str, Dataset]:
        """The splits that a check reads; any others are made of the same samples."""
        return {name: each for name, each in self.datasets.items() if name in USUAL_SPLITS}

    def look(self, progress: Progress | None = None) -> SampleLook:
        """Reads every sample once, or remembers it, and collects what is wrong."""
        return look_at_samples(self.looked_at, self.identity, progress)


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
    root: Path | None,
    options: DataOptions,
    *,
    progress: Progress | None = None,
    registry: Registry | None = None,
) -> Data:
    """The data set of a plugin, options.dataset as "oxford-iiit-pet(task=breeds)", in a folder.

    Every sample is read once and remembered, until a file of the folder or the plugin's code
    changes. Raises UsageError (name, option, or SK-C009 without a folder, with other classes or
    with options that such a set decides itself), the plugin's own errors, and DataError with all
    samples at fault.
    """
    written = options.dataset or ""
    named = find_named(written, root, registry)
    train, wanted = named.datasets["train"], options.num_classes
    refuse_options(options, train.ignore_index)
    if wanted is not None and wanted != len(train.classes):
        raise UsageError(
            "SK-C009",
            f"the model tells {wanted} classes apart, and {written} has {len(train.classes)}.",
            "Name the data set it was trained on, with the same options.",
        )
    look = named.look(progress)
    error = as_error(look.findings)
    if error is not None:
        raise error
    return data_of_named(named, look, options)


def refuse_options(options: DataOptions, ignore_index: int | Literal["auto"] | None) -> None:
    """Raises UsageError SK-C009 where options say what a set by name says itself.

    ignore_index   the set's own, which may be repeated
    """
    told = {
        "--instances": options.instances is not None,
        "--binarize": options.binarize is not None,
        "--label-mapping": options.label_mapping is not None,
        "--declare": options.declare is not None,
        "--resize-masks": options.resize_masks is not None,
        "--max-pixels": options.max_pixels is not None,
        "--ignore-index": options.ignore_index not in ("auto", ignore_index),
        "--on-bad-sample": options.on_bad_sample != "error",
    }
    for option, given in told.items():
        if given:
            name = options.dataset
            raise UsageError(
                "SK-C009",
                f"{option} cannot be chosen for {name}, which says itself what its files mean.",
                f"Leave it out; `segkit info dataset {name}` shows the options there are.",
            )


def data_of_named(named: Named, look: SampleLook, options: DataOptions = PLAIN_OPTIONS) -> Data:
    """The data set that was looked at; raises DataError SK-D011 where depths differ."""
    train, readable = named.datasets["train"], look.readable
    channels = options.in_channels or _channels(readable)
    intensity, intensity_notes = find_intensity(options.intensity, readable)
    if intensity.scaling == "percentile" and intensity.white is None:
        intensity = _by_percentiles(train, intensity)
    fitted = {
        name: Fitted(each, channels, intensity, _sizes(look.facts.get(name)))
        for name, each in named.datasets.items()
    }
    splits: Mapping[str, Dataset] = fitted
    cached = ""
    if options.cache != "off":
        splits, cached = _cached(named, look, fitted, options.cache)
    sizes = ", ".join(f"{len(each)} {name}" for name, each in splits.items())
    return Data(
        classes=tuple(train.classes),
        palette=tuple(train.palette),
        ignore_index=train.ignore_index,
        in_channels=channels,
        intensity=intensity,
        splits=tuple(splits),
        notes=(
            f"{named.written} in {named.root}: {sizes}.",
            *_terms(named.component),
            *named.absent,
            *intensity_notes,
            *warned([finding for finding in look.findings if finding.level == WARNING]),
            *((cached,) if cached else ()),
        ),
        default_size=crop_size_for((found.height, found.width) for found in readable),
        datasets={**splits, ALL: Joined([splits[name] for name in USUAL_SPLITS if name in splits])},
        contents={
            split: tuple((each.id, each.digest + each.mask_digest) for each in facts if each)
            for split, facts in look.facts.items()
        },
        background=background_of(
            train.classes, sum((Counter(found.counts) for found in readable), Counter())
        ),
        counts={
            split: tuple(each.counts for each in facts if each)
            for split, facts in look.facts.items()
        },
    )


def _by_percentiles(train: Dataset, intensity: Intensity) -> Intensity:
    """Black and white by the percentiles of up to 64 training images, spread over all."""
    chosen = range(0, len(train), -(-len(train) // MEASURED))
    black, white = percentiles(train[index].image for index in chosen)
    return replace(intensity, black=black, white=white)


def _cached(
    named: Named, look: SampleLook, splits: Mapping[str, Fitted], mode: str
) -> tuple[dict[str, Dataset], str]:
    """The splits that were looked at with their samples cached, where they fit, and a sentence."""
    facts = {
        split: [found for found in each if found is not None] for split, each in look.facts.items()
    }
    channels, intensity = splits["train"].channels, splits["train"].intensity
    how: tuple[object, ...] = (intensity,) if intensity.changes_pixels else ()
    keys = {split: repr((named.identity, split, channels, *how)) for split in facts}
    names = [name for split in facts for name in names_of(keys[split], facts[split])]
    changed = "float32" if intensity.changes_pixels else None
    need = sum(bytes_of(found, channels, changed) for found in look.readable)
    folder = set_folder(named.root, named.written, channels, *how)
    cache, note = open_cache(folder, names, need, mode)
    if cache is None:
        return dict(splits), note
    cached = {
        split: CachedSplit(splits[split], facts[split], cache, keys[split])
        for split in facts
        if len(facts[split]) == len(splits[split])
    }
    return {**splits, **cached}, note


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
    datasets: dict[str, Dataset] = {"train": component.built(root=root, split="train")}
    absent = []
    for split in splits_of(component.factory):
        if split in datasets:
            continue
        try:
            datasets[split] = component.built(root=root, split=split)
        except DataError as error:
            absent.append(f"No split {split}: {error.what}")
    return datasets, absent


def _channels(samples: Sequence[SampleFacts]) -> int:
    have = {sample.channels for sample in samples}
    if max(have) > 4:
        return max(have)
    return 1 if have <= {1, 2} else 3


def _terms(component: Component) -> tuple[str, ...]:
    published = published_of(component.factory)
    if published is None:
        return ()
    return (f"Licence: {published.licence}. Please cite: {published.citation}.",)
