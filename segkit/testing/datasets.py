"""Checks of a data set's contract, on the folder that the author's `make_root` fills."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from segkit.data.capabilities import sizes_of
from segkit.errors import SegkitError
from segkit.interfaces import PublishedData, PublishedDataset, Sample, SplitDataset
from segkit.testing.conduct import Use, conduct_checks
from segkit.testing.dataset_roots import build, every_split, on_a_root, root_of
from segkit.testing.dataset_samples import SAMPLE_CHECKS
from segkit.testing.subject import Check, NotApplicable, Subject, require

IMAGE_TYPES = (np.uint8, np.uint16, np.float32)


@on_a_root
def declares_its_classes(subject: Subject, root: Path) -> None:
    """classes are names, palette one RGB colour each of 0 to 255, ignore_index a number or None.

    Mend: set self.classes, self.palette and self.ignore_index in __init__.
    """
    dataset = build(subject, root)
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


@on_a_root
def samples_keep_the_contract(subject: Subject, root: Path) -> None:
    """A Sample has an image (H, W, C) at its own depth; a mask (H, W) int64, declared labels.

    Mend: return Sample(image, mask, id) with mask.astype(np.int64), every label a class or
    ignore_index; float32 images hold numbers throughout (np.nan_to_num, or another scale).
    """
    for dataset in every_split(subject, root):
        require(len(dataset) > 0, "a split is empty: make_root should fill every split")
        allowed = {*range(len(dataset.classes))}
        if dataset.ignore_index is not None:
            allowed.add(dataset.ignore_index)
        for index in range(len(dataset)):
            _require_sample(dataset[index], allowed)


@on_a_root
def ids_are_unique(subject: Subject, root: Path) -> None:
    """Within a split every id is a text of its own.

    Mend: take the file's path below its folder, without suffix, for the id.
    """
    for dataset in every_split(subject, root):
        ids = [dataset[index].id for index in range(len(dataset))]
        require(all(isinstance(each, str) and each for each in ids), f"ids: {ids}")
        require(len(set(ids)) == len(ids), f"an id occurs twice among {ids}")


@on_a_root
def index_out_of_range_is_an_index_error(subject: Subject, root: Path) -> None:
    """dataset[len(dataset)] raises IndexError, so that a plain for loop ends.

    Mend: index a list with it, or raise IndexError yourself.
    """
    dataset = build(subject, root)
    try:
        dataset[len(dataset)]
    except IndexError:
        return
    require(False, f"index {len(dataset)} of {len(dataset)} samples raises no IndexError")


@on_a_root
def root_is_never_written_to(subject: Subject, root: Path) -> None:
    """Opening and reading every sample leaves each file of the folder as it was, and adds none.

    Mend: write nothing below root: caches belong to segkit, which keeps what was read.
    """
    before = _fingerprint(root)
    for dataset in every_split(subject, root):
        for index in range(len(dataset)):
            dataset[index]
    after = _fingerprint(root)
    changed = sorted({*before.items()} ^ {*after.items()})
    require(not changed, f"it changed {changed[0][0] if changed else ''} below its root")


def missing_root_is_refused(subject: Subject) -> None:
    """A folder that does not exist is an error of segkit's own that names the folder.

    Mend: raise segkit.api.DataError("SK-D001", f"there is no folder {root}.", what to do) in
    __init__.
    """
    missing = Path(tempfile.gettempdir()) / "segkit-no-such-folder"
    try:
        subject.build(root=missing, split="train")
    except SegkitError as error:
        require(error.code != "SK-P003", f"the error is none of segkit's own: {error.what}")
        require(missing.name in str(error), f"the error does not name {missing}: {error.what}")
    else:
        require(False, "it opened a folder that does not exist")


@on_a_root
def sizes_are_those_of_the_samples(subject: Subject, root: Path) -> None:
    """Where `sizes` is offered (SizedDataset), it has height and width of every sample.

    Mend: sizes are (height, width), in the order of the index; leave `sizes` out where they are
    not known without reading.
    """
    for dataset in every_split(subject, root):
        sizes = sizes_of(dataset)
        if sizes is None:
            raise NotApplicable("it offers no sizes: samples are read to know them")
        require(len(sizes) == len(dataset), f"{len(dataset)} samples have {len(sizes)} sizes")
        for index, size in enumerate(sizes):
            shape = dataset[index].image.shape[:2]
            require(tuple(size) == shape, f"sample {index} is {shape}, and its size {size}")


def splits_begin_with_train(subject: Subject) -> None:
    """Where `splits` is offered (SplitDataset), it is of names, train among them, none twice.

    Mend: splits = ("train", ...), an attribute of the class.
    """
    factory = subject.component.factory
    if not isinstance(factory, SplitDataset):
        raise NotApplicable("it offers no splits: it has train, val and test")
    splits = list(factory.splits)
    require(all(isinstance(split, str) and split for split in splits), f"splits: {splits}")
    require("train" in splits, f"there is no train among the splits {splits}")
    require(len(set(splits)) == len(splits), f"a split occurs twice among {splits}")


def publication_says_terms_and_source(subject: Subject) -> None:
    """Where `published` is offered (PublishedDataset): terms, and archives or a way by hand.

    Mend: give PublishedData homepage, licence and citation, and archives with whole addresses or
    a sentence in by_hand.
    """
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


@contextmanager
def use(subject: Subject) -> Iterator[Use]:
    """A data set in use: opened, and a sample read."""
    with root_of(subject) as root:
        yield Use(lambda: build(subject, root), lambda dataset: dataset[0])


BASIC = samples_keep_the_contract
CHECKS: tuple[Check, ...] = (
    declares_its_classes,
    samples_keep_the_contract,
    ids_are_unique,
    *SAMPLE_CHECKS,
    index_out_of_range_is_an_index_error,
    root_is_never_written_to,
    missing_root_is_refused,
    sizes_are_those_of_the_samples,
    splits_begin_with_train,
    publication_says_terms_and_source,
    *conduct_checks(use),
)


def _require_sample(sample: Any, allowed: set[int]) -> None:
    require(isinstance(sample, Sample), f"it returns {type(sample).__name__}, not Sample")
    image, mask, instances = sample.image, sample.mask, sample.instances
    form = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    good = isinstance(image, np.ndarray) and image.ndim == 3 and image.dtype in IMAGE_TYPES
    require(good, f"the image of {sample.id} is {form}, not (H, W, C) of uint8, uint16 or float32")
    finite = bool(np.isfinite(image).all())
    require(finite, f"the image of {sample.id} holds NaN or infinite values")
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
