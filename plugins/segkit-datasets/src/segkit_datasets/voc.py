"""PASCAL VOC 2012: photographs with 20 classes of objects, their borders ignored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from segkit.api import Archive, PublishedData
from segkit_datasets.files import IGNORED, RGB, FileDataset, Pair, names_in

CLASSES = (
    *["background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"],
    *["chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"],
    *["sheep", "sofa", "train", "tvmonitor"],
)


def voc_colour(label: int) -> RGB:
    """The colour the VOC development kit gives a label: its bits dealt to red, green and blue."""
    red = green = blue = 0
    for place in range(7, -1, -1):
        red |= (label & 1) << place
        green |= (label >> 1 & 1) << place
        blue |= (label >> 2 & 1) << place
        label >>= 3
    return red, green, blue


class Voc2012(FileDataset):
    """PASCAL VOC 2012 segmentation: 20 classes and background.

    Splits: train (1,464 images) and val (1,449) as published; the masks of test are kept back.
    """

    name = "voc2012"
    splits = ("train", "val", "trainval")
    classes = CLASSES
    palette: Sequence[RGB] = tuple(voc_colour(label) for label in range(len(CLASSES)))
    ignore_index = IGNORED
    table: ClassVar[dict[int, int]] = {**{k: k for k in range(len(CLASSES))}, 255: IGNORED}
    # The checksum is that of torchvision's loader.
    published: ClassVar[PublishedData] = PublishedData(
        homepage="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        licence="for research; the photographs are subject to Flickr's terms of use",
        citation="Everingham, Van Gool, Williams, Winn and Zisserman: The PASCAL Visual Object "
        "Classes Challenge 2012 Results",
        archives=(
            Archive(
                "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                md5="6cd6e144f989b92b3379bac3b3de84fd",
            ),
        ),
        by_hand="Unpack VOCtrainval_11-May-2012.tar.",
    )

    def find_pairs(self) -> Sequence[Pair]:
        lists = "ImageSets/Segmentation"
        listed = self.folder(lists, f"VOCdevkit/VOC2012/{lists}", f"VOC2012/{lists}")
        file = listed / f"{self.split}.txt"
        if not file.is_file():
            raise self.absent(file)
        base = listed.parents[1]
        ids = [words[0] for words in names_in(file)]
        images, masks = base / "JPEGImages", base / "SegmentationClass"
        return [Pair(id, images / f"{id}.jpg", masks / f"{id}.png") for id in ids]
