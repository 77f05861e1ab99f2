"""Cells under the microscope: ISBI 2012, the Cell Tracking Challenge, Data Science Bowl 2018."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import tifffile

from segkit.api import Archive, DataError, PublishedData, read_values
from segkit_datasets.files import IGNORED, RGB, FileDataset, Pair, drawn, images_in, labelled

DARK: RGB = (32, 32, 40)
ORANGE: RGB = (230, 159, 0)


class Isbi2012(FileDataset):
    """ISBI 2012: 30 slices of fly brain under the electron microscope, 512 x 512, grey.

    Splits: of the stack's slices the first 24 are train, the last 6 val, since neighbours are
    alike; the masks of the test stack are kept back.
    """

    name = "isbi2012"
    splits = ("train", "val")
    classes = ("membrane", "cell")
    palette: Sequence[RGB] = (DARK, ORANGE)
    table: ClassVar[dict[int, int]] = {0: 0, 255: 1}
    published: ClassVar[PublishedData] = PublishedData(
        homepage="https://imagej.net/events/isbi-2012-segmentation-challenge",
        licence="for research; none is stated",
        citation="Arganda-Carreras et al.: Crowdsourcing the creation of image segmentation "
        "algorithms for connectomics. Frontiers in Neuroanatomy 2015",
        by_hand="Fetch train-volume.tif and train-labels.tif from "
        "https://imagej.net/events/isbi-2012-segmentation-challenge and put both into one folder.",
    )

    def find_pairs(self) -> Sequence[Pair]:
        images, masks = self.root / "train-volume.tif", self.root / "train-labels.tif"
        for file in (images, masks):
            if not file.is_file():
                raise self.absent(file)
        count = len(_stack(masks))
        kept_back = max(1, count // 5)
        slices = range(count)[-kept_back:] if self.split == "val" else range(count)[:-kept_back]
        return [Pair(f"{number:02d}", images, masks) for number in slices]

    def read_image(self, pair: Pair) -> np.ndarray:
        return _slice(pair.image, pair.id)[:, :, None].copy()

    def read_mask(self, pair: Pair) -> tuple[np.ndarray, None]:
        return labelled(_slice(pair.mask, pair.id), self.table, pair.mask), None


class CellTracking(FileDataset):
    """A two-dimensional set of the Cell Tracking Challenge, such as PhC-C2DH-U373.

    Splits: train is one video, val the other. Frames without a segmentation are left out. Where the
    tracking markers show cells that a frame's segmentation lacks, its background is ignored.

    truth   "gold": drawn by people (01_GT/SEG); "silver": agreed on by programs (01_ST/SEG)
    val     the video that validates, 1 or 2
    """

    name = "ctc"
    splits = ("train", "val")
    classes = ("background", "cell")
    palette: Sequence[RGB] = (DARK, ORANGE)
    ignore_index = IGNORED
    published: ClassVar[PublishedData] = PublishedData(
        homepage="https://celltrackingchallenge.net/2d-datasets/",
        licence="for use within the challenge's conditions; it may not be passed on",
        citation="Maška et al.: The Cell Tracking Challenge: 10 years of objective benchmarking. "
        "Nature Methods 2023",
        by_hand="Fetch a training set, such as PhC-C2DH-U373, from "
        "https://celltrackingchallenge.net/2d-datasets/, unpack it, and give its folder, which "
        "holds 01/, 01_GT/, 02/ and 02_GT/.",
    )

    def __init__(
        self,
        root: Path,
        split: str,
        *,
        truth: Literal["gold", "silver"] = "gold",
        val: Literal[1, 2] = 2,
    ) -> None:
        self.truth = {"gold": "GT", "silver": "ST"}[truth]
        self.video = f"{val if split == 'val' else 3 - val:02d}"
        super().__init__(root, split)

    def find_pairs(self) -> Sequence[Pair]:
        frames = images_in(self.folder(self.video), ".tif", ".tiff")
        masks = images_in(self.folder(f"{self.video}_{self.truth}/SEG"), ".tif", ".tiff")
        frame_of = {_number(stem): path for stem, path in frames.items()}
        return [
            Pair(f"{self.video}/{_number(stem)}", frame_of[_number(stem)], mask)
            for stem, mask in masks.items()
            if _number(stem) in frame_of
        ]

    def read_mask(self, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        objects_HW = read_values(pair.mask).astype(np.int64)
        mask_HW = (objects_HW > 0).astype(np.int64)
        number = pair.id.rpartition("/")[2]
        markers = self.root / f"{self.video}_GT" / "TRA" / f"man_track{number}.tif"
        if markers.is_file() and _lacks_cells(objects_HW, read_values(markers)):
            mask_HW[objects_HW == 0] = IGNORED
        return mask_HW, objects_HW


class DataScienceBowl(FileDataset):
    """Data Science Bowl 2018, stage 1: nuclei in 670 pictures of many kinds, one mask per nucleus.

    Splits: a tenth each is val and test, drawn by name; the rest is train.
    """

    name = "dsb2018"
    classes = ("background", "nucleus")
    palette: Sequence[RGB] = (DARK, ORANGE)
    # No checksum of the archive is published.
    published: ClassVar[PublishedData] = PublishedData(
        homepage="https://bbbc.broadinstitute.org/BBBC038",
        licence="CC0 1.0",
        citation="Caicedo et al.: Nucleus segmentation across imaging experiments: the 2018 Data "
        "Science Bowl. Nature Methods 2019",
        archives=(
            Archive(
                "https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip",
                into="stage1_train",
            ),
        ),
        by_hand="Unpack stage1_train.zip into a folder called stage1_train.",
    )

    def find_pairs(self) -> Sequence[Pair]:
        folder = self.folder("stage1_train", "")
        ids = [path.name for path in sorted(folder.iterdir()) if (path / "masks").is_dir()]
        if len(ids) < len(self.splits):
            raise self.absent(folder / "*" / "masks")
        chosen = drawn(ids, val=0.1, test=0.1)[self.split]
        return [
            Pair(id, folder / id / "images" / f"{id}.png", folder / id / "masks") for id in chosen
        ]

    def read_mask(self, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        files = list(images_in(pair.mask, ".png").values())
        if not files:
            raise DataError("SK-D002", f"{pair.mask} holds no masks.", "Unpack the set again.")
        nuclei = [read_values(file) > 0 for file in files]
        if len({nucleus.shape for nucleus in nuclei}) > 1:
            raise DataError(
                "SK-D003", f"the masks in {pair.mask} differ in size.", "Unpack the set again."
            )
        instances_HW = np.zeros(nuclei[0].shape, np.int64)
        for number, nucleus_HW in enumerate(nuclei, 1):
            instances_HW[nucleus_HW] = number
        return (instances_HW > 0).astype(np.int64), instances_HW


@lru_cache(maxsize=2)
def _stack(file: Path) -> np.ndarray:
    """All slices of a TIFF (N, H, W); raises DataError SK-D004."""
    try:
        slices = tifffile.imread(file)
    # Decoders raise whatever comes to them on damaged files.
    except Exception as error:
        raise DataError(
            "SK-D004", f"{file} cannot be read ({error}).", "Download it again."
        ) from error
    if slices.ndim != 3 or len(slices) < 2:
        raise DataError("SK-D004", f"{file} is no stack of slices.", "Download it again.")
    return slices


def _slice(file: Path, id: str) -> np.ndarray:
    slices = _stack(file)
    if int(id) >= len(slices):
        raise DataError("SK-D002", f"{file} has no slice {id}.", "Download both stacks again.")
    found: np.ndarray = slices[int(id)]
    return found


def _number(stem: str) -> str:
    """t031 and man_seg031 are one frame."""
    found = re.search(r"\d+$", stem)
    return found.group() if found else stem


def _lacks_cells(objects_HW: np.ndarray, markers_HW: np.ndarray) -> bool:
    """Whether a marker lies beside every object."""
    if markers_HW.shape != objects_HW.shape:
        return False
    seen = np.unique(markers_HW[objects_HW > 0])
    return bool(np.setdiff1d(np.unique(markers_HW[markers_HW > 0]), seen).size)
