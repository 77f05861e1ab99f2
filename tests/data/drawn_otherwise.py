"""Data sets drawn by a second hand: other scenes, other resizers, photographs taken for masks.

What tells smeared masks from classes was found on `drawn_sets`; these share nothing with them but
how files are written, so that a rule that only fits the first hand's habits fails here.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
from drawn_sets import DrawnSet, Maps
from PIL import Image, ImageDraw, ImageFont

Random = np.random.Generator
Scene = Callable[[Random, int, int, int], np.ndarray]
Smear = Callable[[np.ndarray], np.ndarray]


def cells(rng: Random, height: int, width: int, count: int) -> np.ndarray:
    """Cells around points, each of some class; of two in five sets with walls between them."""
    points = rng.uniform((0, 0), (height, width), (int(rng.integers(8, 90)), 2))
    cell_HW, _ = nearest_point(points, height, width)
    map_HW = rng.integers(0, count, len(points))[cell_HW].astype(np.int32)
    if rng.random() < 0.4:
        walls_HW = np.zeros((height, width), np.uint8)
        walls_HW[:, 1:] |= cell_HW[:, 1:] != cell_HW[:, :-1]
        walls_HW[1:] |= cell_HW[1:] != cell_HW[:-1]
        thickness = int(rng.integers(1, 5))
        walls_HW = cv2.dilate(walls_HW, np.ones((thickness, thickness), np.uint8))
        map_HW[walls_HW > 0] = int(rng.integers(count))
    return map_HW


def nearest_point(points: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) the nearest of the points (down, right) to each pixel, and how far it is."""
    away_NHW = np.hypot(
        np.arange(height, dtype=np.float32)[:, None] - points[:, :1, None].astype(np.float32),
        np.arange(width, dtype=np.float32) - points[:, 1:, None].astype(np.float32),
    )
    return away_NHW.argmin(axis=0), away_NHW.min(axis=0)


def strokes(rng: Random, height: int, width: int, count: int) -> np.ndarray:
    """Brush strokes of many widths, as scribbled by hand."""
    map_HW = np.full((height, width), int(rng.integers(count)), np.uint8)
    for _ in range(int(rng.integers(4, 16))):
        steps = rng.normal(0, min(height, width) / 14, (int(rng.integers(4, 20)), 2))
        path = np.cumsum(np.vstack([rng.uniform((0, 0), (width, height)), steps]), axis=0)
        thickness = int(rng.integers(1, max(2, min(height, width) // 9)))
        cv2.polylines(map_HW, [path.astype(np.int32)], False, int(rng.integers(count)), thickness)
    return map_HW


def land(rng: Random, height: int, width: int, count: int) -> np.ndarray:
    """Land use from noise of several scales: ragged borders and islands of any size."""
    few = min(count, int(rng.integers(2, 10)))
    planes = np.zeros((few, height, width), np.float32)
    for octave in range(int(rng.integers(2, 5))):
        side = max(2, 3 * 2**octave)
        for plane_HW in planes:
            coarse = rng.random((side, side)).astype(np.float32)
            plane_HW += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) / (
                2**octave
            )
    return rng.permutation(count)[:few].astype(np.int32)[planes.argmax(axis=0)]


def letters(rng: Random, height: int, width: int, count: int) -> np.ndarray:
    """Text and numbers on plain ground, thin or thick, without soft edges."""
    picture = Image.new("L", (width, height), int(rng.integers(count)))
    pen = ImageDraw.Draw(picture)
    pen.fontmode = "1"
    for _ in range(int(rng.integers(3, 20))):
        text = "".join(chr(int(c)) for c in rng.integers(48, 123, int(rng.integers(1, 5))))
        at = (int(rng.integers(width)) - 10, int(rng.integers(height)) - 10)
        font = ImageFont.load_default(float(rng.integers(9, 60)))
        pen.text(at, text, int(rng.integers(count)), font)
    return np.array(picture)


def trees(rng: Random, height: int, width: int, count: int) -> np.ndarray:
    """Branching lines that thin out, as vessels, roots and rivers."""
    map_HW = np.full((height, width), int(rng.integers(count)), np.uint8)
    for _ in range(int(rng.integers(1, 5))):
        label = int(rng.integers(count))
        ends = [(*rng.uniform((0, 0), (width, height)), rng.uniform(0, 6.3), rng.uniform(2, 9))]
        while ends and len(ends) < 200:
            right, down, angle, thick = ends.pop()
            reach = rng.uniform(4, min(height, width) / 5)
            to = (right + reach * np.cos(angle), down + reach * np.sin(angle))
            cv2.line(
                map_HW, (int(right), int(down)), (int(to[0]), int(to[1])), label, max(1, int(thick))
            )
            if thick > 1.3:
                turns = angle + rng.normal(0, 0.6, int(rng.integers(1, 4)))
                ends += [(*to, turn, thick * rng.uniform(0.6, 0.9)) for turn in turns]
    return map_HW


def hatched(rng: Random, height: int, width: int, count: int) -> np.ndarray:
    """Stripes, grids and checks of one pixel and more: fields, roofs, panels."""
    map_HW = np.full((height, width), int(rng.integers(count)), np.int32)
    for _ in range(int(rng.integers(2, 9))):
        top, left = int(rng.integers(height - 8)), int(rng.integers(width - 8))
        part_HW = map_HW[top : top + height // 2, left : left + width // 2]
        label, every = int(rng.integers(count)), int(rng.integers(2, 14))
        thick = int(rng.integers(1, every))
        down_HW, right_HW = np.mgrid[: part_HW.shape[0], : part_HW.shape[1]]
        lean = int(rng.integers(-2, 3))
        part_HW[(down_HW + lean * right_HW) % every < thick] = label
        if rng.random() < 0.4:
            part_HW[right_HW % every < thick] = int(rng.integers(count))
    return map_HW


def predicted(rng: Random, height: int, width: int, count: int) -> np.ndarray:
    """Regions with ragged borders and stray pixels, as a classifier of pixels leaves them."""
    map_HW = land(rng, height, width, count)
    shift = rng.integers(-2, 3, (2, height, width))
    down_HW, right_HW = np.mgrid[:height, :width]
    map_HW = map_HW[(down_HW + shift[0]) % height, (right_HW + shift[1]) % width]
    stray_HW = rng.random((height, width)) < rng.uniform(0, 0.02)
    return np.where(stray_HW, rng.integers(0, count, (height, width)), map_HW).astype(np.int32)


def far_street(rng: Random, height: int, width: int, count: int) -> np.ndarray:
    """A road that narrows to a point, houses, poles and a sky."""
    names = rng.integers(0, count, 6)
    map_HW = np.full((height, width), names[0], np.uint8)
    horizon, middle = int(height * rng.uniform(0.3, 0.6)), int(width * rng.uniform(0.3, 0.7))
    map_HW[horizon:] = names[1]
    for label, wide in ((names[2], 0.6), (names[3], 0.4), (names[4], 0.02)):
        foot = int(wide * width)
        road = [(middle, horizon), (middle + foot, height), (middle - foot, height)]
        cv2.fillPoly(map_HW, [np.array(road, np.int32)], int(label))
    for _ in range(int(rng.integers(2, 14))):
        left, tall = int(rng.integers(width)), int(rng.integers(4, max(5, horizon)))
        wide = int(rng.integers(1, max(2, width // 8)))
        map_HW[max(0, horizon - tall) : horizon + tall // 8, left : left + wide] = int(
            rng.integers(count)
        )
    return map_HW


SCENES: tuple[Scene, ...] = (
    cells, strokes, land, letters, trees, hatched, predicted, far_street,
)  # fmt: skip
# Those with regions of more than a few pixels, which are still there after a resize.
PLAIN: tuple[Scene, ...] = (cells, strokes, land, far_street)


def drawn(rng: Random, classes: int, scenes: tuple[Scene, ...] = SCENES, least: int = 1) -> Maps:
    """Maps of one scene, of sides from 56 to 360; some are written larger or turned by nearest."""
    scene = scenes[int(rng.integers(len(scenes)))]
    height, width = rng.integers(56, 320 if rng.random() < 0.2 else 170, 2).tolist()
    way = rng.random()
    maps = []
    for _ in range(int(rng.integers(least, 10))):
        map_HW = scene(rng, height, width, classes)
        if way < 0.1:
            by = rng.uniform(0.6, 2.5)
            map_HW = cv2.resize(map_HW, None, fx=by, fy=by, interpolation=cv2.INTER_NEAREST)
        elif way < 0.2:
            turn = cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.uniform(0, 90)), 1)
            mode = {"flags": cv2.INTER_NEAREST, "borderMode": cv2.BORDER_REPLICATE}
            map_HW = cv2.warpAffine(map_HW.astype(np.float32), turn, (width, height), **mode)
        maps.append(np.asarray(map_HW, np.int32))
    present = np.unique(np.concatenate([np.unique(map_HW) for map_HW in maps]))
    if len(present) < 2:
        return drawn(rng, classes, scenes, least)
    return [np.searchsorted(present, map_HW).astype(np.int32) for map_HW in maps]


def count(maps: Maps) -> int:
    return max(int(map_HW.max()) for map_HW in maps) + 1


def some_classes(rng: Random) -> DrawnSet:
    wanted = int(rng.choice([2, 3, 4, 5, 6, 7, 9, 11, 15, 19, 27, 40, 80, 133]))
    maps = drawn(rng, wanted)
    pieces = [cv2.connectedComponents((m == k).astype(np.uint8))[0] - 1 for m in maps for k in
              range(1, count(maps))]  # fmt: skip
    if max(pieces) <= 1 or count(maps) > 8 * len(maps):
        return some_classes(rng)
    return DrawnSet("some_classes", maps, maps, classes=count(maps))


def two_values(rng: Random) -> DrawnSet:
    maps = drawn(rng, 2)
    white = int(rng.choice([1, 255, 65535]))
    return DrawnSet("two_values", [m * white for m in maps], maps, classes=2)


def void_beside(rng: Random) -> DrawnSet:
    """Classes, and 255 where nobody was sure: at some borders, in boxes, at the rim."""
    maps = drawn(rng, int(rng.choice([3, 4, 7, 12])), PLAIN)
    marked = []
    for map_HW in maps:
        void_HW = np.zeros(map_HW.shape, bool)
        way = rng.random()
        if way < 0.5:
            void_HW[1:] |= map_HW[1:] != map_HW[:-1]
            void_HW[:, 1:] |= map_HW[:, 1:] != map_HW[:, :-1]
        elif way < 0.8:
            void_HW[: int(rng.integers(3, 14))] = void_HW[:, : int(rng.integers(3, 14))] = True
        marked.append(np.where(void_HW, 255, map_HW))
    kept = np.unique(np.concatenate([np.unique(m) for m in marked]))
    if 255 not in kept or len(kept) < 4:
        return void_beside(rng)
    marked = [np.where(m == 255, 255, np.searchsorted(kept, m)) for m in marked]
    return DrawnSet("void_beside", marked, marked, classes=len(kept) - 1, ignored=255)


def numbers_of_a_list(rng: Random) -> DrawnSet:
    """Labels out of a longer list, refused with a mapping that makes them 0, 1, 2, …"""
    maps = drawn(rng, int(rng.choice([3, 5, 9, 14])))
    table = np.sort(rng.choice(np.arange(int(rng.choice([40, 150, 254]))), count(maps), False))
    if len(table) < 3 or table[-1] == len(table) - 1 or table[0] == 1:
        return numbers_of_a_list(rng)
    stored = [table[m] for m in maps]
    return DrawnSet("numbers_of_a_list", stored, code="SK-D007", repaired=("label_mapping", maps))


def touching_objects(rng: Random) -> DrawnSet:
    """Numbered cells that touch, 6 to 60 a mask, in 8 or 16 bits, each in one piece."""
    maps = []
    for _ in range(int(rng.integers(3, 9))):
        height, width = rng.integers(90, 260, 2).tolist()
        points = rng.uniform((0, 0), (height, width), (int(rng.integers(6, 60)), 2))
        cell_HW, away_HW = nearest_point(points, height, width)
        tissue_HW = away_HW < rng.uniform(0.05, 0.12) * min(height, width)
        number_HW = np.where(tissue_HW, cell_HW + 1, 0)
        present = np.unique(number_HW[number_HW > 0])
        maps.append(np.where(number_HW > 0, np.searchsorted(present, number_HW) + 1, 0))
    if len({int(m.max()) for m in maps}) < 2:
        return touching_objects(rng)
    return DrawnSet("touching_objects", maps, code="SK-D007")


def photographs(rng: Random) -> DrawnSet:
    """Grey pictures taken for masks: shaded regions with texture, blur, noise and a vignette."""
    stored = []
    grain, soft = rng.uniform(1, 14), rng.uniform(0.4, 2.5)
    for map_HW in drawn(rng, int(rng.integers(3, 12)), PLAIN):
        height, width = map_HW.shape
        grey_HW = rng.uniform(20, 235, count([map_HW]))[map_HW]
        down_HW, right_HW = np.mgrid[:height, :width]
        grey_HW += rng.uniform(-40, 40) * down_HW / height + rng.uniform(-40, 40) * right_HW / width
        grey_HW = cv2.GaussianBlur(grey_HW, (0, 0), soft) + rng.normal(0, grain, map_HW.shape)
        stored.append(np.clip(np.rint(grey_HW), 0, 255).astype(int))
    return DrawnSet("photographs", stored, code="SK-D007 or SK-D008")


def smeared_pair(rng: Random) -> DrawnSet:
    maps = drawn(rng, 2)
    high, low = int(rng.choice([255, 255, 250, 180, 90])), int(rng.choice([0, 0, 0, 10]))
    smear = any_smear(rng, 1.0)
    shares = [smear(m.astype(np.float32)) for m in maps]
    stored = [np.rint(low + share * (high - low)).astype(int) for share in shares]
    between = [((m > low + 2) & (m < high - 2)).mean() for m in stored]
    if np.mean(between) < 0.006 or len(np.unique(np.concatenate([m.ravel() for m in stored]))) < 16:
        return smeared_pair(rng)
    # Where no pixel is mostly background or mostly foreground, nothing tells what those were.
    lost = min(float(s.min()) for s in shares) > 0.25 or max(float(s.max()) for s in shares) < 0.75
    right = ("binarize", [(2 * m >= low + high).astype(int) for m in stored])
    repaired = None if lost else right
    return DrawnSet("smeared_pair", stored, code="SK-D008 or SK-D007", repaired=repaired)


def smeared_levels(rng: Random) -> DrawnSet:
    """Three to six classes drawn as greys far apart, then smoothed."""
    maps = drawn(rng, int(rng.choice([3, 4, 5, 6])), PLAIN)
    if count(maps) < 3:
        return smeared_levels(rng)
    levels = np.sort(rng.choice(np.arange(0, 256, 32), count(maps), False)).astype(np.float32)
    smear = any_smear(rng, 1.0)
    stored = [np.rint(smear(levels[m] / 255) * 255).astype(int) for m in maps]
    if np.mean([(~np.isin(m, levels)).mean() for m in stored]) < 0.03:
        return smeared_levels(rng)
    return DrawnSet("smeared_levels", stored, code="SK-D008")


def smeared_classes(rng: Random) -> DrawnSet:
    """Class numbers, smoothed as if they were brightness."""
    maps = drawn(rng, int(rng.choice([5, 7, 11, 19, 40, 90])), PLAIN)
    highest = count(maps) - 1
    smear = any_smear(rng, 0.5, jpeg=False)
    smooth = [smear(m.astype(np.float32) / max(1, highest)) * highest for m in maps]
    wrong = [(np.abs(m - np.rint(m)) > 0.02).mean() for m in smooth]
    if highest < 4 or np.mean(wrong) < 0.03:
        return smeared_classes(rng)
    stored = [np.clip(np.rint(m), 0, highest).astype(int) for m in smooth]
    return DrawnSet("smeared_classes", stored, code="SK-D008")


KINDS: tuple[tuple[Callable[[Random], DrawnSet], int], ...] = (
    (some_classes, 35),
    (two_values, 8),
    (void_beside, 7),
    (numbers_of_a_list, 8),
    (touching_objects, 6),
    (photographs, 6),
    (smeared_pair, 16),
    (smeared_levels, 6),
    (smeared_classes, 8),
)


def drawn_otherwise(seed: int) -> DrawnSet:
    """The set of a seed."""
    rng = np.random.default_rng([9, seed])
    kinds, weights = zip(*KINDS, strict=True)
    return kinds[int(rng.choice(len(kinds), p=np.array(weights) / sum(weights)))](rng)


def any_smear(rng: Random, most: float, *, jpeg: bool = True) -> Smear:
    """One way in which programs smooth masks, by Pillow or OpenCV; `most` says how wide."""
    pillow = [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS,
              Image.Resampling.HAMMING, Image.Resampling.BOX]  # fmt: skip
    how = pillow[int(rng.integers(len(pillow)))]
    factor = float(rng.choice([rng.uniform(1.2, 1 + 1.6 * most), rng.uniform(0.35, 0.9)]))
    if how == Image.Resampling.BOX:
        factor = rng.uniform(0.35, 0.9)
    there = rng.uniform(0.4, 0.85)
    radius, quality = rng.uniform(0.5, 0.5 + 2 * most), int(rng.integers(15, 97))
    angle, phase = float(rng.uniform(4, 86)), rng.uniform(0, 6.3, 2)

    def resized(image: Image.Image, factor: float) -> Image.Image:
        size = (max(8, round(image.width * factor)), max(8, round(image.height * factor)))
        return image.resize(size, how)

    def there_and_back(image: Image.Image) -> Image.Image:
        return resized(image, there).resize(image.size, how)

    def turned(image: Image.Image) -> Image.Image:
        return image.rotate(angle, Image.Resampling.BICUBIC)

    def elastic(image: Image.Image) -> Image.Image:
        values_HW = np.asarray(image)
        down_HW, right_HW = np.mgrid[: image.height, : image.width].astype(np.float32)
        down_HW += 3 * np.sin(right_HW / 17 + np.float32(phase[0]))
        right_HW += 3 * np.sin(down_HW / 23 + np.float32(phase[1]))
        edge = cv2.BORDER_REPLICATE
        return Image.fromarray(
            cv2.remap(values_HW, right_HW, down_HW, cv2.INTER_LINEAR, borderMode=edge)
        )

    def blurred(image: Image.Image) -> Image.Image:
        values_HW = np.asarray(image)
        return Image.fromarray(cv2.GaussianBlur(values_HW, (0, 0), radius))

    def boxed(image: Image.Image) -> Image.Image:
        side = 2 * max(1, round(radius)) + 1
        return Image.fromarray(cv2.blur(np.asarray(image), (side, side)))

    def by_file(image: Image.Image) -> Image.Image:
        grey = Image.fromarray(np.rint(np.clip(np.asarray(image), 0, 1) * 255).astype(np.uint8))
        file = io.BytesIO()
        kind = "WEBP" if quality % 3 == 0 else "JPEG"
        grey.convert("RGB" if kind == "WEBP" else "L").save(file, kind, quality=quality)
        return Image.fromarray(np.asarray(Image.open(file).convert("L")).astype(np.float32) / 255)

    ways = [lambda image: resized(image, factor)] * 3 + [
        there_and_back, turned, elastic, blurred, boxed
    ]  # fmt: skip
    ways += [by_file] * (2 * jpeg)
    way = ways[int(rng.integers(len(ways)))]

    def smear(values_HW: np.ndarray) -> np.ndarray:
        return np.clip(np.asarray(way(Image.fromarray(values_HW.astype(np.float32)))), 0, 1)

    return smear
