"""Data sets, good and wrong: each wrong one differs from the good one in what its name says."""

import contextlib
import os
import socket

import numpy as np

from segkit.api import DataError, PublishedData, Sample


def make_root(folder):
    """In every split five pictures of their own; the mask is where it is bright."""
    generator = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        (folder / split).mkdir()
        for number in range(5):
            mask_HW = np.zeros((6, 8), np.uint8)
            mask_HW[:2, number : number + 3], mask_HW[5, :4] = 1, 2
            noise_HWC = generator.integers(0, 20, (6, 8, 3), dtype=np.uint8)
            pixels = np.dstack([noise_HWC + 100 * mask_HW[..., None], mask_HW])
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


class MaskOtherwiseLater(Sound):
    """The mask of the last sample is another one when it is read again."""

    reads = 0

    def sample(self, image, mask, name):
        if name == "2":
            MaskOtherwiseLater.reads += 1
            mask = mask * (MaskOtherwiseLater.reads % 2)
        return Sample(image, mask, name)


class SharesItsMasks(Sound):
    def __init__(self, root, split) -> None:
        super().__init__(root, split)
        self.kept = {}

    def sample(self, image, mask, name):
        return Sample(image, self.kept.setdefault(name, mask), name)


class ReadOnly(Sound):
    def sample(self, image, mask, name):
        image.flags.writeable = False
        return Sample(image, mask, name)


class OrderedByHash(Sound):
    def __init__(self, root, split) -> None:
        super().__init__(root, split)
        self.files = sorted(self.files, key=lambda file: hash(str(file)))


class IgnoresSplit(Sound):
    def __init__(self, root, split) -> None:
        super().__init__(root, "train")


class OneMaskForAll(Sound):
    def __getitem__(self, index):
        first = np.load(self.files[0])
        return self.sample(
            np.load(self.files[index])[..., :3],
            first[..., 3].astype(np.int64),
            self.files[index].stem,
        )


class FlipsItsMasks(Sound):
    def sample(self, image, mask, name):
        return Sample(image, mask[::-1].copy(), name)


class NotANumber(Sound):
    def sample(self, image, mask, name):
        image = image.astype(np.float32)
        image[0, 0] = np.nan
        return Sample(image, mask, name)


class OtherInOtherProcesses(Sound):
    def __init__(self, root, split) -> None:
        super().__init__(root, split)
        self.opened_in = os.getpid()

    def sample(self, image, mask, name):
        elsewhere = os.getpid() != self.opened_in and name == "2"
        return Sample(image, 0 * mask if elsewhere else mask, name)


class Prints(Sound):
    def sample(self, image, mask, name):
        print(name)  # noqa: T201
        return super().sample(image, mask, name)


class Shuffles(Sound):
    def __getitem__(self, index):
        np.random.default_rng().random()
        np.random.rand()
        return super().__getitem__(index)


class MasksOfNoise(Sound):
    """Good: masks that no colour tells, as of textures, say nothing about flips."""

    def sample(self, image, mask, name):
        return Sample(image % 7, mask, name)


GOOD = (Sound, Offering, MasksOfNoise)
# The check that is to see it, and what it is to see.
WRONG = {
    TurnedSizes: ("sizes_are_those_of_the_samples", r"sample 0 is \(6, 8\), and its size \(8, 6\)"),
    NothingToTrainOn: ("splits_begin_with_train", "there is no train among the splits"),
    WithoutTerms: ("publication_says_terms_and_source", "published has no licence"),
    ShortPalette: ("declares_its_classes", "3 classes have 1 palette colours"),
    OneName: ("ids_are_unique", "an id occurs twice"),
    Cached: ("reading_repeats", "sample 0 has another image"),
    Endless: ("index_out_of_range_is_an_index_error", "raises no IndexError"),
    WritesItsCache: ("root_is_never_written_to", r"0\.cache"),
    HoldsAFunction: ("travels_to_worker_processes", "pickle"),
    AnyRoot: ("missing_root_is_refused", "a folder that does not exist"),
    NarrowMask: ("samples_keep_the_contract", "mask of 0 is uint8"),
    StrayLabel: ("samples_keep_the_contract", r"the mask of 0 holds \[2\], which are not declared"),
    NotANumber: ("samples_keep_the_contract", "the image of 0 holds NaN or infinite values"),
    MaskOtherwiseLater: ("reading_repeats", "sample 2 has another mask"),
    SharesItsMasks: ("reading_repeats", "sample 0 has another mask"),
    ReadOnly: ("reading_repeats", "the image of 0 is read-only"),
    OrderedByHash: ("travels_to_worker_processes", "built there, the first ids are"),
    OtherInOtherProcesses: ("travels_to_worker_processes", r"its pickled copy, it reads \['2'\]"),
    IgnoresSplit: ("splits_differ", "train and val hold the very same 5 samples"),
    OneMaskForAll: ("masks_belong_to_their_images", "5 different images have one and the same"),
    FlipsItsMasks: ("masks_belong_to_their_images", "when upside down"),
    AsksTheNetwork: ("opens_no_socket", "a connection to"),
    Prints: ("prints_nothing", "it wrote '0"),
    Shuffles: ("leaves_the_process_alone", "using it changes numpy's random state"),
}
