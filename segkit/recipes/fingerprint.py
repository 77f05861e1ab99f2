"""What decides a recipe: a few numbers of a data set's training images, measured in seconds.

Shares of the classes are exact where opening the data counted them; all else is of at most 64
images (of small ones 512), spread evenly over the set, and of at most the middle 1024 x 1024 pixels
of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from segkit.data.capabilities import sizes_of
from segkit.data.files.spacing import read_spacing
from segkit.data.intensity import HIGH, LOW
from segkit.data.loader import stored
from segkit.data.opening.folder import FolderDataset
from segkit.data.opening.opened import Data
from segkit.data.stored import Stored
from segkit.recipes.halving import kept_when_halved, mean_kept
from segkit.recipes.symmetry import SHAPES, Symmetry, shape_of, symmetry_of

FEW, MANY, PIXELS = 64, 512, 2**22
WINDOW = 1024
# Smaller regions are specks of a mask and no objects, pixels.
SPECK = 9
# Side of the thumbnails by which pictures are held against one another.
THUMBNAIL = 16


@dataclass(frozen=True)
class Objects:
    """The regions of one class, in the images that were looked at.

    an_image   in the median image that shows any
    diameter   of a disc as large as the median region, pixels
    """

    an_image: float
    diameter: float


@dataclass(frozen=True)
class Fingerprint:
    """A data set's training images.

    images      how many
    shorter     least, median and largest of their shorter sides, pixels
    longest     the longest side of all, pixels
    channels    of each image
    depth       uint8, uint16 or float32
    mean, std   of each channel, as shares of white
    contrast    of the images' own, from black to white (0.5 % and 99.5 % of an image's values), the
                first and the ninth decile, as shares of white
    shares      of each class among the pixels that count; NaN where none do
    shown_in    images in which each class occurs
    objects     by label; not of the class that covers most, which the others lie on
    touching    share of the objects that touch another, 0 to 1; None where masks number no objects
    alike       median distance of a picture from the next one, as a share of that of any two
    spacings    sizes of a pixel that files tell, as "0.5 um", in order of size
    halved      IoU, mean over the classes, that masks keep at half the resolution; 1 of none
    symmetry    whether turned and mirrored pictures could be of the same world
    """

    images: int
    shorter: tuple[int, int, int]
    longest: int
    channels: int
    depth: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    contrast: tuple[float, float]
    shares: tuple[float, ...]
    shown_in: tuple[int, ...]
    objects: Mapping[int, Objects]
    touching: float | None
    alike: float
    spacings: tuple[str, ...]
    halved: float
    symmetry: Symmetry

    @property
    def ground(self) -> int:
        """The label that covers most."""
        return int(np.nanargmax(self.shares)) if np.isfinite(self.shares).any() else 0

    @property
    def taught(self) -> tuple[int, ...]:
        """The labels that occur."""
        return tuple(label for label, count in enumerate(self.shown_in) if count)


def fingerprint_of(data: Data) -> Fingerprint:
    """Of the training images; the same on every run."""
    dataset = data.split("train")
    count, classes = len(dataset), len(data.classes)
    height, width = stored(dataset, 0).image.shape[:2]
    most = min(MANY, max(FEW, PIXELS // (height * width)))
    chosen = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
    looks = [_look(stored(dataset, int(index)), data, classes) for index in chosen]
    sizes = [(int(h), int(w)) for h, w in sizes_of(dataset) or [look.size for look in looks]]
    shorter = sorted(min(size) for size in sizes)
    pixels, shown_in = _class_counts(data, looks, classes)
    ground = int(np.argmax(pixels))
    drawn: dict[int, list[np.ndarray]] = {}
    for look in looks:
        for label, shapes in look.shapes.items():
            drawn.setdefault(label, []).extend(shapes)
    drawn.pop(ground, None)
    alike = _alike([look.thumbnail for look in looks])
    value_NC = np.concatenate([look.value_NC for look in looks])
    return Fingerprint(
        images=count,
        shorter=(shorter[0], int(np.median(shorter)), shorter[-1]),
        longest=max(max(size) for size in sizes),
        channels=data.in_channels,
        depth=data.intensity.dtype or "uint8",
        mean=tuple(value_NC.mean(axis=0).tolist()),
        std=tuple(value_NC.std(axis=0).tolist()),
        contrast=_contrast(looks),
        shares=tuple((pixels / pixels.sum() if pixels.sum() else pixels * math.nan).tolist()),
        shown_in=tuple(shown_in.tolist()),
        objects=_objects(looks, ground),
        touching=_touching(looks),
        alike=alike,
        spacings=_spacings(dataset, chosen.tolist()),
        halved=mean_kept([look.kept_and_either for look in looks]),
        symmetry=symmetry_of(
            [look.grey_HW for look in looks],
            [look.mask_HW for look in looks],
            drawn,
            data.classes,
            alike,
        ),
    )


@dataclass(frozen=True)
class _Look:
    """What is kept of one image."""

    size: tuple[int, int]
    grey_HW: np.ndarray
    mask_HW: np.ndarray
    value_NC: np.ndarray
    thumbnail: np.ndarray
    areas: Mapping[int, list[int]]
    shapes: Mapping[int, list[np.ndarray]]
    touching: tuple[int, int] | None
    kept_and_either: np.ndarray


def _look(whole: Stored, data: Data, classes: int) -> _Look:
    height, width = whole.image.shape[:2]
    rows, columns = (_middle(side) for side in (height, width))
    image_HWC = np.asarray(whole.image[rows, columns], np.float32) / np.float32(data.full_scale)
    mask_HW = whole.labels(whole.mask[rows, columns])
    instances_HW = None if whole.instances is None else whole.instances[rows, columns]
    grey_HW = image_HWC[:, :, :3].mean(axis=2)
    areas, shapes = _regions(mask_HW, range(classes))
    return _Look(
        (height, width),
        grey_HW,
        mask_HW,
        image_HWC.reshape(-1, image_HWC.shape[2])[:: max(1, grey_HW.size // 4096)],
        cv2.resize(grey_HW, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA),
        areas,
        shapes,
        None if instances_HW is None else _touching_objects(instances_HW),
        kept_when_halved(mask_HW, classes),
    )


def _middle(side: int) -> slice:
    start = max(0, (side - WINDOW) // 2)
    return slice(start, start + min(side, WINDOW))


def _regions(
    mask_HW: np.ndarray, labels: Sequence[int]
) -> tuple[dict[int, list[int]], dict[int, list[np.ndarray]]]:
    """Areas of each label's connected regions, and drawings of some that are seen whole."""
    height, width = mask_HW.shape
    areas: dict[int, list[int]] = {}
    shapes: dict[int, list[np.ndarray]] = {}
    for label in labels:
        inside_HW = (mask_HW == label).astype(np.uint8)
        if not inside_HW.any():
            continue
        _, numbers_HW, rows, _ = cv2.connectedComponentsWithStats(inside_HW)
        kept = [number for number in range(1, len(rows)) if rows[number][4] >= SPECK]
        areas[label] = [int(rows[number][4]) for number in kept]
        for number in kept[:SHAPES]:
            left, top, wide, high, _ = (int(each) for each in rows[number])
            if left and top and left + wide < width and top + high < height:
                box_HW = numbers_HW[top : top + high, left : left + wide] == number
                shapes.setdefault(label, []).append(shape_of(box_HW))
    return areas, shapes


def _touching_objects(instances_HW: np.ndarray) -> tuple[int, int]:
    """(objects with a neighbouring pixel of another object, all objects)."""
    meeting: set[int] = set()
    for one_HW, other_HW in (
        (instances_HW[1:], instances_HW[:-1]),
        (instances_HW[:, 1:], instances_HW[:, :-1]),
    ):
        met_HW = (one_HW != other_HW) & (one_HW > 0) & (other_HW > 0)
        meeting.update(np.unique(one_HW[met_HW]).tolist(), np.unique(other_HW[met_HW]).tolist())
    numbers = np.unique(instances_HW)
    return len(meeting), int((numbers > 0).sum())


def _class_counts(
    data: Data, looks: Sequence[_Look], classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of each class, and images that show it: of all, or of those that were looked at."""
    counts = data.counts.get("train") or [
        dict(zip(*np.unique(look.mask_HW, return_counts=True), strict=True)) for look in looks
    ]
    pixels, shown_in = np.zeros(classes), np.zeros(classes, np.int64)
    for each in counts:
        for label, number in each.items():
            if 0 <= label < classes and label != data.ignore_index and number:
                pixels[label] += number
                shown_in[label] += 1
    return pixels, shown_in


def _contrast(looks: Sequence[_Look]) -> tuple[float, float]:
    ends = [np.percentile(look.value_NC, (LOW, HIGH)) for look in looks]
    first, ninth = np.percentile([white - black for black, white in ends], (10, 90)).tolist()
    return first, ninth


def _objects(looks: Sequence[_Look], ground: int) -> dict[int, Objects]:
    found = {}
    for label in sorted({label for look in looks for label in look.areas} - {ground}):
        areas = [look.areas[label] for look in looks if look.areas.get(label)]
        if areas:
            median = float(np.median(np.concatenate(areas)))
            an_image = float(np.median([len(each) for each in areas]))
            found[label] = Objects(an_image, 2 * math.sqrt(median / math.pi))
    return found


def _touching(looks: Sequence[_Look]) -> float | None:
    counted = [look.touching for look in looks if look.touching is not None]
    objects = sum(every for _, every in counted)
    return sum(meeting for meeting, _ in counted) / objects if objects else None


def _alike(thumbnails: Sequence[np.ndarray]) -> float:
    """1 for fewer than three pictures, of which nothing can be said."""
    if len(thumbnails) < 3:
        return 1.0
    flat_NP = np.stack([each.ravel() for each in thumbnails])
    away_NN = np.linalg.norm(flat_NP[:, None] - flat_NP[None], axis=2)
    usual = float(np.median(away_NN[np.triu_indices(len(flat_NP), 1)]))
    return float(np.median(np.diagonal(away_NN, 1))) / usual if usual else 0.0


def _spacings(dataset: object, chosen: Sequence[int]) -> tuple[str, ...]:
    if not isinstance(dataset, FolderDataset):
        return ()
    found = [read_spacing(dataset.items[index].pair.image) for index in chosen]
    told = {(each.unit, round(each.y, 6)) for each in found if each is not None}
    return tuple(f"{size:g} {unit}" for unit, size in sorted(told))
