"""Every check that a data set must pass can fail: a broken data set for each."""

import contextlib
import socket

import numpy as np
import pytest

from segkit.api import DataError, PublishedData, Sample
from segkit.testing import NotApplicable
from segkit.testing.datasets import CHECKS


def make_root(folder):
    for split in ("train", "val", "test"):
        (folder / split).mkdir()
        for number in range(3):
            pixels = np.full((6, 8, 4), number, dtype=np.uint8)
            np.save(folder / split / f"{number}.npy", pixels)


class Sound:
    """Each .npy file holds image and mask, as three channels and one."""

    def __init__(self, root, split, *, classes: int = 3) -> None:
        if not root.is_dir():
            raise DataError("SK-D001", f"there is no folder {root}.")
        self.classes = [f"class {k}" for k in range(classes)]
        self.palette = [(40 * k, 0, 0) for k in range(classes)]
        self.ignore_index = None
        self.files = sorted((root / split).glob("*.npy"))

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        pixels = np.load(self.files[index])
        return self.sample(pixels[..., :3], pixels[..., 3].astype(np.int64), self.files[index].stem)

    def sample(self, image, mask, name):
        return Sample(image, mask, name)


class ShortPalette(Sound):
    def __init__(self, root, split) -> None:
        super().__init__(root, split)
        self.palette = self.palette[:1]


class NarrowMask(Sound):
    def sample(self, image, mask, name):
        return Sample(image, mask.astype(np.uint8), name)


class StrayLabel(Sound):
    def __init__(self, root, split) -> None:
        super().__init__(root, split, classes=2)


class OneName(Sound):
    def sample(self, image, mask, name):
        return Sample(image, mask, "same")


class Cached(Sound):
    def __init__(self, root, split) -> None:
        super().__init__(root, split)
        self.kept = {}

    def sample(self, image, mask, name):
        return Sample(self.kept.setdefault(name, image + 1), mask, name)


class Endless(Sound):
    def __getitem__(self, index):
        return super().__getitem__(index % len(self))


class WritesItsCache(Sound):
    def __getitem__(self, index):
        self.files[index].with_suffix(".cache").touch()
        return super().__getitem__(index)


class HoldsAFunction(Sound):
    def __init__(self, root, split) -> None:
        super().__init__(root, split)
        self.change = lambda image: image


class AnyRoot(Sound):
    def __init__(self, root, split) -> None:
        self.files = []


class AsksTheNetwork(Sound):
    def sample(self, image, mask, name):
        with contextlib.suppress(OSError):
            socket.create_connection(("data.invalid", 443), timeout=1)
        return super().sample(image, mask, name)


class Offering(Sound):
    """Sound, with all that a data set may offer besides."""

    splits = ("train", "val", "test")
    published = PublishedData("https://data.invalid", "CC0", "Nobody 2020", by_hand="Ask them.")

    @property
    def sizes(self):
        return [self[index].image.shape[:2] for index in range(len(self))]


class TurnedSizes(Offering):
    @property
    def sizes(self):
        return [size[::-1] for size in super().sizes]


class NothingToTrainOn(Offering):
    splits = ("val", "test")


class WithoutTerms(Offering):
    published = PublishedData("https://data.invalid", "", "Nobody 2020", by_hand="Ask them.")


OFFERS = (
    "sizes_are_those_of_the_samples",
    "splits_begin_with_train",
    "publication_says_terms_and_source",
)
BROKEN = {
    "sizes_are_those_of_the_samples": (TurnedSizes, r"sample 0 is \(6, 8\), and its size \(8, 6\)"),
    "splits_begin_with_train": (NothingToTrainOn, "there is no train among the splits"),
    "publication_says_terms_and_source": (WithoutTerms, "published has no licence"),
    "declares_its_classes": (ShortPalette, "3 classes have 1 palette colours"),
    "samples_keep_the_contract": (NarrowMask, "mask of 0 is uint8"),
    "ids_are_unique": (OneName, "an id occurs twice"),
    "reading_repeats": (Cached, "comes back with the next"),
    "index_out_of_range_is_an_index_error": (Endless, "raises no IndexError"),
    "root_is_never_written_to": (WritesItsCache, r"0\.cache"),
    "travels_to_worker_processes": (HoldsAFunction, "pickle"),
    "missing_root_is_refused": (AnyRoot, "a folder that does not exist"),
    "opens_no_socket": (AsksTheNetwork, "a connection to"),
}
BY_NAME = {check.__name__: check for check in CHECKS}


@pytest.mark.parametrize("name", BY_NAME)
def test_a_sound_data_set_passes(name, subject_of):
    BY_NAME[name](subject_of("datasets", Offering, make_root))


@pytest.mark.parametrize("name", OFFERS)
def test_what_a_data_set_does_not_offer_is_not_applicable(name, subject_of):
    with pytest.raises(NotApplicable, match="it offers no"):
        BY_NAME[name](subject_of("datasets", Sound, make_root))


@pytest.mark.parametrize("name", BY_NAME)
def test_a_broken_data_set_is_caught(name, subject_of):
    factory, message = BROKEN[name]
    with pytest.raises(Exception, match=message):
        BY_NAME[name](subject_of("datasets", factory, make_root))


def test_a_label_that_is_no_class_is_caught(subject_of):
    with pytest.raises(AssertionError, match=r"the mask of 2 holds \[2\], which are not declared"):
        BY_NAME["samples_keep_the_contract"](subject_of("datasets", StrayLabel, make_root))


def test_without_data_there_is_no_verdict(subject_of):
    with pytest.raises(NotApplicable, match="make_root"):
        BY_NAME["ids_are_unique"](subject_of("datasets", Sound))
