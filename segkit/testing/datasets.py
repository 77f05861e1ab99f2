"""Checks of a data set's contract, on the folder that the author's `make_root` fills."""

from __future__ import annotations

import hashlib
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np

from segkit.data.capabilities import sizes_of, splits_of
from segkit.errors import SegkitError
from segkit.interfaces import PublishedData, PublishedDataset, Sample, SplitDataset
from segkit.testing.imports import recorded_connections
from segkit.testing.subject import Check, NotApplicable, Subject, require

IMAGE_TYPES = (np.uint8, np.uint16, np.float32)

Claim = Callable[[Subject, Path], None]


def _on_a_root(claim: Claim) -> Check:
    """The check of a claim about data in a folder, which is made for it and removed again."""

    @wraps(claim)
    def check(subject: Subject) -> None:
        with _root(subject) as root:
            claim(subject, root)

    return check


@_on_a_root
def declares_its_classes(subject: Subject, root: Path) -> None:
    """classes are names, palette one RGB colour each of 0 to 255, ignore_index a number or None."""
    dataset = _build(subject, root)
    classes, palette = list(dataset.classes), [tuple(colour) for colour in dataset.palette]
    require(bool(classes) and all(isinstance(c, str) and c for c in classes), f"classes: {classes}")
    require(
        len(palette) == len(classes), f"{len(classes)} classes have {len(palette)} palette colours"
    )
    for colour in palette:
        whole = len(colour) == 3 and all(0 <= int(part) <= 255 for part in colour)
        require(whole, f"the palette holds {colour}, which is no RGB colour")
    ignored = dataset.ignore_index
    require(ignored is None or isinstance(ignored, int), f"ignore_index is {ignored!r}")


@_on_a_root
def samples_keep_the_contract(subject: Subject, root: Path) -> None:
    """A Sample has an image (H, W, C) at its own depth; a mask (H, W) int64, declared labels."""
    for dataset in _splits(subject, root):
        require(len(dataset) > 0, "a split is empty: make_root should fill every split")
        allowed = {*range(len(dataset.classes))}
        if dataset.ignore_index is not None:
            allowed.add(dataset.ignore_index)
        for index in range(len(dataset)):
            _require_sample(dataset[index], allowed)


@_on_a_root
def ids_are_unique(subject: Subject, root: Path) -> None:
    """Within a split every id is a text of its own."""
    for dataset in _splits(subject, root):
        ids = [dataset[index].id for index in range(len(dataset))]
        require(all(isinstance(each, str) and each for each in ids), f"ids: {ids}")
        require(len(set(ids)) == len(ids), f"an id occurs twice among {ids}")


@_on_a_root
def reading_repeats(subject: Subject, root: Path) -> None:
    """The same index gives the same sample, also after a caller has changed one in place."""
    dataset = _build(subject, root)
    first = dataset[0]
    kept = first.image.copy()
    first.image[...] = 0
    second = dataset[0]
    require(
        np.array_equal(kept, second.image),
        "what a caller does to an image comes back with the next",
    )
    require(first.id == second.id, f"the first id is {first.id}, then {second.id}")


@_on_a_root
def index_out_of_range_is_an_index_error(subject: Subject, root: Path) -> None:
    """dataset[len(dataset)] raises IndexError, so that a plain for loop ends."""
    dataset = _build(subject, root)
    try:
        dataset[len(dataset)]
    except IndexError:
        return
    require(False, f"index {len(dataset)} of {len(dataset)} samples raises no IndexError")


@_on_a_root
def root_is_never_written_to(subject: Subject, root: Path) -> None:
    """Opening and reading every sample leaves each file of the folder as it was, and adds none."""
    before = _fingerprint(root)
    for dataset in _splits(subject, root):
        for index in range(len(dataset)):
            dataset[index]
    after = _fingerprint(root)
    changed = sorted({*before.items()} ^ {*after.items()})
    require(not changed, f"it changed {changed[0][0] if changed else ''} below its root")


@_on_a_root
def travels_to_worker_processes(subject: Subject, root: Path) -> None:
    """Pickled and unpickled, as loader workers do, it gives the same sample."""
    dataset = _build(subject, root)
    twin = pickle.loads(pickle.dumps(dataset))
    require(
        np.array_equal(dataset[0].image, twin[0].image),
        "its copy in another process reads otherwise",
    )


def missing_root_is_refused(subject: Subject) -> None:
    """A folder that does not exist is an error of segkit's own that names the folder."""
    missing = Path(tempfile.gettempdir()) / "segkit-no-such-folder"
    try:
        subject.build(root=missing, split="train")
    except SegkitError as error:
        require(error.code != "SK-P003", f"the error is none of segkit's own: {error.what}")
        require(missing.name in str(error), f"the error does not name {missing}: {error.what}")
    else:
        require(False, "it opened a folder that does not exist")


@_on_a_root
def opens_no_socket(subject: Subject, root: Path) -> None:
    """Opening and reading it asks for no connection."""
    with recorded_connections() as asked:
        _build(subject, root)[0]
    require(not asked, f"it asked for a connection to {', '.join(asked)}")


@_on_a_root
def sizes_are_those_of_the_samples(subject: Subject, root: Path) -> None:
    """Where `sizes` is offered (SizedDataset), it has height and width of every sample."""
    for dataset in _splits(subject, root):
        sizes = sizes_of(dataset)
        if sizes is None:
            raise NotApplicable("it offers no sizes: samples are read to know them")
        require(len(sizes) == len(dataset), f"{len(dataset)} samples have {len(sizes)} sizes")
        for index, size in enumerate(sizes):
            shape = dataset[index].image.shape[:2]
            require(tuple(size) == shape, f"sample {index} is {shape}, and its size {size}")


def splits_begin_with_train(subject: Subject) -> None:
    """Where `splits` is offered (SplitDataset), it is of names, train among them, none twice."""
    factory = subject.component.factory
    if not isinstance(factory, SplitDataset):
        raise NotApplicable("it offers no splits: it has train, val and test")
    splits = list(factory.splits)
    require(all(isinstance(split, str) and split for split in splits), f"splits: {splits}")
    require("train" in splits, f"there is no train among the splits {splits}")
    require(len(set(splits)) == len(splits), f"a split occurs twice among {splits}")


def publication_says_terms_and_source(subject: Subject) -> None:
    """Where `published` is offered (PublishedDataset): terms, and archives or a way by hand."""
    factory = subject.component.factory
    if not isinstance(factory, PublishedDataset):
        raise NotApplicable("it offers no published: `segkit data download` does not know it")
    published = factory.published
    require(isinstance(published, PublishedData), f"published is {type(published).__name__}")
    for name in ("homepage", "licence", "citation"):
        require(bool(getattr(published, name)), f"published has no {name}")
    told = bool(published.archives) or bool(published.by_hand)
    require(told, "published has neither archives nor the way by hand")
    for archive in published.archives:
        whole = archive.url.startswith(("https://", "http://"))
        require(whole and bool(archive.name), f"{archive.url!r} is no address of an archive")


CHECKS: tuple[Check, ...] = (
    declares_its_classes,
    samples_keep_the_contract,
    ids_are_unique,
    reading_repeats,
    index_out_of_range_is_an_index_error,
    root_is_never_written_to,
    travels_to_worker_processes,
    missing_root_is_refused,
    opens_no_socket,
    sizes_are_those_of_the_samples,
    splits_begin_with_train,
    publication_says_terms_and_source,
)


@contextmanager
def _root(subject: Subject) -> Iterator[Path]:
    if subject.make_root is None:
        raise NotApplicable(
            "give conformance(make_root=...) a function that fills a folder with data"
        )
    with tempfile.TemporaryDirectory(prefix="segkit-conformance-") as folder:
        subject.make_root(Path(folder))
        yield Path(folder)


def _build(subject: Subject, root: Path, split: str = "train") -> Any:
    return subject.build(root=root, split=split)


def _splits(subject: Subject, root: Path) -> list[Any]:
    """Every split that the data set says it has; a published one may keep its test back."""
    return [_build(subject, root, split) for split in splits_of(_build(subject, root))]


def _require_sample(sample: Any, allowed: set[int]) -> None:
    require(isinstance(sample, Sample), f"it returns {type(sample).__name__}, not Sample")
    image, mask, instances = sample.image, sample.mask, sample.instances
    form = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    good = isinstance(image, np.ndarray) and image.ndim == 3 and image.dtype in IMAGE_TYPES
    require(good, f"the image of {sample.id} is {form}, not (H, W, C) of uint8, uint16 or float32")
    for name, plane in (("mask", mask), ("instances", instances)):
        if plane is None:
            continue
        fits = plane.dtype == np.int64 and plane.shape == image.shape[:2]
        require(fits, f"{name} of {sample.id} is {plane.dtype} {plane.shape}; the image is {form}")
    if mask is not None:
        stray = sorted({int(label) for label in np.unique(mask)} - allowed)
        require(not stray, f"the mask of {sample.id} holds {stray}, which are not declared")


def _fingerprint(root: Path) -> dict[str, str]:
    return {
        str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }
