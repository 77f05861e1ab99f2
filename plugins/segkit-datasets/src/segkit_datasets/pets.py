"""Oxford-IIIT Pet: 7,349 photographs of 37 breeds of cats and dogs, with trimaps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from PIL import Image

from segkit.api import Archive, DataError, PublishedData, read_image, read_values
from segkit_datasets.files import IGNORED, FileDataset, Pair, drawn, labelled, names_in
from segkit_datasets.voc import voc_colour

PET, BACKGROUND, BORDER = 1, 2, 3
SPECIES = ("cat", "dog")
BREEDS = (
    *["Abyssinian", "american_bulldog", "american_pit_bull_terrier", "basset_hound", "beagle"],
    *["Bengal", "Birman", "Bombay", "boxer", "British_Shorthair", "chihuahua", "Egyptian_Mau"],
    *["english_cocker_spaniel", "english_setter", "german_shorthaired", "great_pyrenees"],
    *["havanese", "japanese_chin", "keeshond", "leonberger", "Maine_Coon", "miniature_pinscher"],
    *["newfoundland", "Persian", "pomeranian", "pug", "Ragdoll", "Russian_Blue", "saint_bernard"],
    *["samoyed", "scottish_terrier", "shiba_inu", "Siamese", "Sphynx"],
    *["staffordshire_bull_terrier", "wheaten_terrier", "yorkshire_terrier"],
)


class OxfordPet(FileDataset):
    """Oxford-IIIT Pet: cats and dogs of 37 breeds, the border around each ignored.

    Splits: test and trainval as published; train and val share trainval, 9 to 1.

    task   "trimap": background and pet; "species": background, cat and dog; "breeds": background
           and 37 breeds
    """

    name = "oxford-iiit-pet"
    splits = ("train", "val", "test", "trainval")
    ignore_index = IGNORED
    # The checksums are those that torchvision's loader has.
    published: ClassVar[PublishedData] = PublishedData(
        homepage="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        licence="CC BY-SA 4.0 (the photographs' copyright stays with their owners)",
        citation="Parkhi, Vedaldi, Zisserman and Jawahar: Cats and Dogs. CVPR 2012",
        archives=(
            Archive(
                "https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",
                md5="5c4f3ee8e5d25df40f4fd59a7f44e54c",
            ),
            Archive(
                "https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz",
                md5="95a8c909bbe2e81eed6a22bccdf3f68f",
            ),
        ),
        by_hand="Unpack images.tar.gz and annotations.tar.gz into one folder.",
    )

    def __init__(
        self,
        root: Path,
        split: str,
        *,
        task: Literal["trimap", "species", "breeds"] = "trimap",
    ) -> None:
        pets = {"trimap": ("pet",), "species": SPECIES, "breeds": BREEDS}[task]
        self.classes = ("background", *pets)
        self.palette = tuple(voc_colour(label) for label in range(len(self.classes)))
        self.task = task
        self.label_of_pet: dict[str, int] = {}
        super().__init__(root, split)

    def find_pairs(self) -> Sequence[Pair]:
        base = self.folder("annotations", f"{self.name}/annotations").parent
        listed = base / "annotations" / ("test.txt" if self.split == "test" else "trainval.txt")
        if not listed.is_file():
            raise self.absent(listed)
        # A line is: name, breed 1 to 37, species 1 or 2, breed within the species.
        lines = {words[0]: words[1:] for words in names_in(listed)}
        ids = sorted(lines)
        if self.split in ("train", "val"):
            ids = drawn(ids, val=0.1)[self.split]
        self.label_of_pet = {id: self._label(listed, lines[id]) for id in ids}
        return [
            Pair(id, base / "images" / f"{id}.jpg", base / "annotations" / "trimaps" / f"{id}.png")
            for id in ids
        ]

    def _label(self, file: Path, words: Sequence[str]) -> int:
        if self.task == "trimap":
            return 1
        column = {"breeds": 0, "species": 1}[self.task]
        given = words[column] if column < len(words) else "nothing"
        if not given.isdigit() or not 1 <= int(given) < len(self.classes):
            raise DataError(
                "SK-D012",
                f"{file} gives a pet the number {given}, which is none.",
                "Unpack annotations.tar.gz again.",
            )
        return int(given)

    def read_image(self, pair: Pair) -> np.ndarray:
        # A few files called .jpg are GIFs.
        try:
            return read_image(pair.image, upright=False)
        except DataError as error:
            if error.code != "SK-D006":
                raise
            return _from_gif(pair.image, error)

    def read_mask(self, pair: Pair) -> tuple[np.ndarray, None]:
        table = {PET: self.label_of_pet[pair.id], BACKGROUND: 0, BORDER: IGNORED}
        return labelled(read_values(pair.mask), table, pair.mask), None


def _from_gif(file: Path, refusal: DataError) -> np.ndarray:
    try:
        with Image.open(file, formats=["GIF"]) as image:
            return np.array(image.convert("RGB"))
    # Pillow raises whatever comes to it on a file that is no GIF or damaged.
    except Exception as error:
        raise refusal from error
