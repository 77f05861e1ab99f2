"""Data sets drawn at random, of every kind that people bring, each with the verdict it deserves.

`drawn_set(seed)` draws one: how many masks, what they show (`drawn_scenes`), how labels were
written down, in which file format and folder layout, and what went wrong with them, if anything.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from drawn_scenes import BROAD, FINE, dots, objects, rings, roads, scenes, streets
from PIL import Image

Maps = list[np.ndarray]


@dataclass(frozen=True)
class DrawnSet:
    """A set before it is written.

    kind      the function that drew it
    stored    (H, W) or (H, W, 3): what the mask files hold
    truth     (H, W) labels that must come out; None where the set must be refused
    code      of the error it deserves, one or two, as "SK-D007 or SK-D008"; "" where it is good
    classes   how many classes must come out
    ignored   label in `truth` that counts for nothing
    yaml      lines of data.yaml
    options   of `DataOptions`
    palette   (N, 3) for index files
    repaired  the option that the refusal must name, with which the set opens, and the labels that
              are then right nearly everywhere
    """

    kind: str
    stored: Maps
    truth: Maps | None = None
    code: str = ""
    classes: int = 0
    ignored: int | None = None
    yaml: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    palettes: list[list[tuple[int, int, int]]] = field(default_factory=list)
    image_sizes: list[tuple[int, int]] = field(default_factory=list)
    repaired: tuple[str, Maps] | None = None


def drawn_set(seed: int) -> DrawnSet:
    """The set of a seed."""
    rng = np.random.default_rng(seed)
    kinds, weights = zip(*KINDS, strict=True)
    return kinds[int(rng.choice(len(kinds), p=np.array(weights) / sum(weights)))](rng)


def classes(rng: np.random.Generator) -> DrawnSet:
    """Labels 0, 1, 2, … as they should be: up to 150 classes, broad or thin, many or few masks."""
    wanted = int(rng.choice([2, 3, 4, 5, 8, 12, 21, 34, 60, 150]))
    maps = scenes(rng, few(rng), wanted)
    return DrawnSet("classes", maps, maps, classes=count(maps), **or_objects(maps))


def many_classes(rng: np.random.Generator) -> DrawnSet:
    """Scenes of 60 to 150 classes with thin and tiny ones, as those of ADE20K."""
    maps = scenes(rng, int(rng.integers(6, 14)), int(rng.integers(60, 151)), (streets,))
    return DrawnSet("many_classes", maps, maps, classes=count(maps))


def thin_classes(rng: np.random.Generator) -> DrawnSet:
    """Classes that are lines or dots and have no region anywhere, in 8 or 16 bits."""
    wanted = int(rng.choice([2, 3, 5, 9, 30]))
    # One mask in which each class is one piece may hold numbered objects just as well.
    maps = scenes(rng, few(rng, 3), wanted, (roads, dots, rings))
    return DrawnSet("thin_classes", maps, maps, classes=count(maps))


def black_and_white(rng: np.random.Generator) -> DrawnSet:
    """0 and the highest value of 8 or 16 bits: background and foreground."""
    maps = scenes(rng, few(rng), 2)
    white = int(rng.choice([255, 255, 255, 65535]))
    return DrawnSet("black_and_white", [m * white for m in maps], maps, classes=count(maps))


def with_void(rng: np.random.Generator) -> DrawnSet:
    """255 beside classes: a band around regions, or whole regions."""
    maps = scenes(rng, few(rng), int(rng.choice([2, 3, 6, 20])), BROAD)
    marked = []
    for map_HW in maps:
        void_HW = border(map_HW, int(rng.integers(1, 4)))
        if rng.random() < 0.3:
            void_HW = np.zeros(map_HW.shape, bool)
            void_HW[: 4 + map_HW.shape[0] // 6] = True
        marked.append(np.where(void_HW, 255, map_HW))
    kept = np.unique(np.concatenate([np.unique(m) for m in marked]))[:-1]
    marked = [np.where(m == 255, 255, np.searchsorted(kept, m)) for m in marked]
    if len(kept) < 2:
        return classes(rng)
    return DrawnSet("with_void", marked, marked, classes=len(kept), ignored=255)


def indexed(rng: np.random.Generator) -> DrawnSet:
    """Index files with one palette of colours in all of them: the index is the class."""
    maps = scenes(rng, few(rng), int(rng.choice([2, 3, 8, 21])))
    palettes = [[colour(rng) for _ in range(256)]] * len(maps)
    doubt = or_objects(maps)
    return DrawnSet("indexed", maps, maps, classes=count(maps), palettes=palettes, **doubt)


def colours_declared(rng: np.random.Generator) -> DrawnSet:
    """Colours, RGB or index files with palettes of their own, that data.yaml explains."""
    maps = scenes(rng, few(rng), int(rng.choice([2, 3, 6])))
    table = distinct_colours(rng, count(maps))
    lines = [f"  class {label}: {list(rgb)}" for label, rgb in enumerate(table)]
    yaml = "palette:\n" + "\n".join(lines) + "\n"
    if rng.random() < 0.5:
        stored = [np.array(table, np.uint8)[m] for m in maps]
        return DrawnSet("colours_declared", stored, maps, classes=len(table), yaml=yaml)
    orders = [rng.permutation(len(table)) for _ in maps]
    stored = [order[m] for order, m in zip(orders, maps, strict=True)]
    palettes = [[table[label] for label in np.argsort(order)] for order in orders]
    return DrawnSet(
        "colours_declared", stored, maps, classes=len(table), yaml=yaml, palettes=palettes
    )


def colours_alone(rng: np.random.Generator) -> DrawnSet:
    """Colours that nothing explains."""
    maps = scenes(rng, few(rng), int(rng.choice([3, 4, 8])))
    table = distinct_colours(rng, count(maps))
    return DrawnSet("colours_alone", [np.array(table, np.uint8)[m] for m in maps], code="SK-D007")


def numbers_with_gaps(rng: np.random.Generator) -> DrawnSet:
    """Values with gaps: classes written as 0, 50, 100, or numbers of a longer list."""
    # Lines inside lines with gaps in their numbers cannot be told from soft borders.
    styles = tuple(style for style in BROAD + FINE if style is not rings)
    maps = scenes(rng, few(rng), int(rng.choice([3, 4, 6, 10])), styles)
    return with_gaps("numbers_with_gaps", rng, maps)


def few_of_many_classes(rng: np.random.Generator) -> DrawnSet:
    """A few images of a set of 150 classes, most of which they lack."""
    maps = scenes(rng, few(rng), int(rng.integers(20, 60)), (*BROAD, streets))
    return with_gaps("few_of_many_classes", rng, maps, highest=150)


def with_gaps(kind: str, rng: np.random.Generator, maps: Maps, highest: int = 250) -> DrawnSet:
    values = np.sort(rng.choice(np.arange(1, highest), count(maps) - 1, replace=False))
    table = np.concatenate([[0], values])
    if len(table) < 3 or table[-1] == len(table) - 1:
        return classes(rng)
    pairs = ", ".join(f"{value}: {label}" for label, value in enumerate(table.tolist()))
    stored = [table[m] for m in maps]
    if rng.random() < 0.5:
        return DrawnSet(kind, stored, code="SK-D007", repaired=("label_mapping", maps))
    yaml = f"label_mapping: {{{pairs}}}\n"
    return DrawnSet(kind, stored, maps, classes=len(table), yaml=yaml)


def from_one(rng: np.random.Generator) -> DrawnSet:
    maps = scenes(rng, few(rng), int(rng.choice([2, 3, 5])))
    stored = [m + 1 for m in maps]
    return DrawnSet("from_one", stored, code="SK-D007", repaired=("label_mapping", maps))


def object_numbers(rng: np.random.Generator) -> DrawnSet:
    """Numbered objects, 8 to 40 a mask: refused as classes, read as foreground where asked."""
    most = int(rng.integers(8, 40))
    size = rng.integers(96, 220, 2)
    maps = [objects(rng, int(size[0]), int(size[1]), most) for _ in range(few(rng, 2))]
    if min(int(m.max()) for m in maps) < 4:
        return classes(rng)
    if rng.random() < 0.4:
        truth = [(m > 0).astype(int) for m in maps]
        asked = {"instances": "foreground"}
        return DrawnSet("object_numbers", maps, truth, classes=2, options=asked)
    return DrawnSet("object_numbers", maps, code="SK-D007")


def or_objects(maps: Maps) -> dict[str, Any]:
    """What else may be told of these classes: that they count objects, and how to say otherwise."""
    if not may_be_objects(maps):
        return {}
    return {"code": "SK-D007", "repaired": ("num_classes", maps)}


def may_be_objects(maps: Maps) -> bool:
    """Whether each map numbers eight pieces or more, 1, 2, 3, …: nothing tells what they are.

    One number in twenty may be in pieces, and each may have crumbs, as objects that others cut.
    """
    numbers = [np.unique(m[m > 0]) for m in maps]
    whole = [is_whole(m == n) for m, present in zip(maps, numbers, strict=True) for n in present]
    running = all(n.tolist() == list(range(1, len(n) + 1)) for n in numbers)
    return running and len(whole) >= 8 and float(np.mean(whole)) >= 0.95


def is_whole(shown_HW: np.ndarray) -> bool:
    """Whether what is shown hangs together but for one pixel in a hundred."""
    _, _, statistics, _ = cv2.connectedComponentsWithStats(shown_HW.astype(np.uint8))
    areas = statistics[1:, cv2.CC_STAT_AREA]
    return bool(areas.max() >= 0.99 * areas.sum())


def smeared_in_two(rng: np.random.Generator) -> DrawnSet:
    """Background and foreground, smoothed: every grey between, or a few; up to 255 or less."""
    maps = scenes(rng, few(rng), 2)
    high = int(rng.choice([255, 255, 254, 237, 200, 128, 100, 60]))
    low = int(rng.choice([0, 0, 0, 20]))
    smear = smears(rng)
    shares = [smear(m.astype(np.float32)) for m in maps]
    stored = [np.rint(low + share * (high - low)).astype(int) for share in shares]
    if rng.random() < 0.4 and len(maps) > 1:
        # Some were exported well.
        stored[0] = np.where(maps[0] > 0, high, low)
        shares[0] = maps[0].astype(np.float32)
    # A dozen odd values may as well be told as values with gaps.
    values = len(np.unique(np.concatenate([np.unique(m) for m in stored])))
    if soft_share(stored, (low, high)) < 0.004 or values < 16:
        return smeared_in_two(rng)
    # In few places, as along dots, it may be told as values with gaps: with the same repair.
    # Where no pixel is half of foreground any more, nothing tells what foreground was.
    faint = max(float(share.max()) for share in shares) < 0.75
    right = ("binarize", [(2 * m >= low + high).astype(int) for m in stored])
    repaired = None if faint else right
    return DrawnSet("smeared_in_two", stored, code="SK-D008 or SK-D007", repaired=repaired)


def smeared_in_several(rng: np.random.Generator) -> DrawnSet:
    """Three to five levels far apart, smoothed."""
    maps = scenes(rng, few(rng), int(rng.choice([3, 3, 4, 5])), BROAD)
    levels = np.linspace(0, int(rng.choice([255, 240, 200])), count(maps)).astype(int)
    smear = smears(rng)
    stored = [np.rint(smear(levels[m].astype(np.float32) / 255) * 255).astype(int) for m in maps]
    if count(maps) < 3 or soft_share(stored, levels.tolist()) < 0.01:
        return smeared_in_several(rng)
    return DrawnSet("smeared_in_several", stored, code="SK-D008")


def smeared_numbers(rng: np.random.Generator) -> DrawnSet:
    """Class numbers themselves, resized smoothly: the values between are other classes."""
    maps = scenes(rng, few(rng), int(rng.choice([5, 8, 12, 21, 60])), BROAD)
    # Blurred further they become terraces, which no one can tell from classes in an order.
    smear = smears(rng, jpeg=False, most=1.5)
    highest = max(int(m.max()) for m in maps)
    smooth = [smear(m.astype(np.float32) / highest) * highest for m in maps]
    stored = [np.clip(np.rint(m), 0, highest).astype(int) for m in smooth]
    # Between two consecutive numbers, a smoothed one is rounded to either: nothing is wrong there.
    far = [cv2.dilate(m, np.ones((5, 5))) - cv2.erode(m, np.ones((5, 5))) >= 1.5 for m in smooth]
    wrong = [((np.abs(m - np.rint(m)) > 0.02) & f).mean() for m, f in zip(smooth, far, strict=True)]
    if highest < 4 or np.mean(wrong) < 0.03:
        return smeared_numbers(rng)
    return DrawnSet("smeared_numbers", stored, code="SK-D008")


def smeared_colours(rng: np.random.Generator) -> DrawnSet:
    """Colours that were drawn with soft edges or resized."""
    maps = scenes(rng, few(rng), int(rng.choice([2, 3, 6])), BROAD)
    table = np.array(distinct_colours(rng, count(maps)), np.float32)
    smear = smears(rng)
    stored = [np.rint(smear(table[m] / 255) * 255).astype(np.uint8) for m in maps]
    exact = {tuple(row) for row in table.astype(int).tolist()}
    found = {tuple(row) for m in stored for row in m.reshape(-1, 3).tolist()}
    if len(found - exact) < 20:
        return smeared_colours(rng)
    return DrawnSet("smeared_colours", stored, code="SK-D008")


def smaller_masks(rng: np.random.Generator) -> DrawnSet:
    """Masks at a half, a third or a quarter of their images' size."""
    maps = scenes(rng, few(rng), int(rng.choice([2, 4, 9])), BROAD)
    by = int(rng.integers(2, 5))
    sizes = [(m.shape[0] * by, m.shape[1] * by) for m in maps]
    if rng.random() < 0.5:
        return DrawnSet("smaller_masks", maps, code="SK-D003", image_sizes=sizes)
    large = [np.kron(m, np.ones((by, by), int)) for m in maps]
    asked = {"resize_masks": "nearest"}
    return DrawnSet(
        "smaller_masks", maps, large, classes=count(maps), image_sizes=sizes, options=asked
    )


def nothing_to_learn(rng: np.random.Generator) -> DrawnSet:
    """One value everywhere: no class, one class, or ignored all over."""
    value = int(rng.choice([0, 1, 7, 255]))
    stored = [np.full((64, 80), value) for _ in range(few(rng, 2))]
    return DrawnSet("nothing_to_learn", stored, code="SK-D007")


def one_and_white(rng: np.random.Generator) -> DrawnSet:
    """The foreground is 1 in some masks and 255 in others."""
    maps = scenes(rng, few(rng, 2), 2, BROAD)
    if any(m.max() == 0 for m in maps):
        return one_and_white(rng)
    stored = [m * (255 if i % 2 else 1) for i, m in enumerate(maps)]
    return DrawnSet("one_and_white", stored, code="SK-D007")


KINDS: tuple[tuple[Callable[[np.random.Generator], DrawnSet], int], ...] = (
    (classes, 20),
    (many_classes, 5),
    (thin_classes, 8),
    (black_and_white, 8),
    (with_void, 6),
    (indexed, 5),
    (colours_declared, 5),
    (colours_alone, 2),
    (numbers_with_gaps, 5),
    (few_of_many_classes, 3),
    (from_one, 2),
    (object_numbers, 8),
    (smeared_in_two, 20),
    (smeared_in_several, 8),
    (smeared_numbers, 6),
    (smeared_colours, 3),
    (smaller_masks, 4),
    (nothing_to_learn, 2),
    (one_and_white, 2),
)


def smears(
    rng: np.random.Generator, *, jpeg: bool = True, most: float = 4
) -> Callable[[np.ndarray], np.ndarray]:
    """One way to smooth a picture of values from 0 to 1, for all masks of a set."""
    ways = ["enlarged", "reduced", "blurred", "rotated", "drawn softly"] + ["jpeg"] * jpeg
    way = str(rng.choice(ways))
    factor = (
        rng.uniform(1.15, min(3.5, 1.5 * most)) if way == "enlarged" else rng.uniform(0.3, 0.85)
    )
    how = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4, cv2.INTER_AREA]))
    if way == "enlarged" and how == cv2.INTER_AREA:
        how = cv2.INTER_LINEAR
    sigma, angle, quality = rng.uniform(0.5, most), rng.uniform(3, 87), int(rng.integers(20, 96))

    def smear(values: np.ndarray) -> np.ndarray:
        height, width = values.shape[:2]
        values = values.astype(np.float32)
        if way in ("enlarged", "reduced"):
            values = cv2.resize(values, None, fx=factor, fy=factor, interpolation=how)
        elif way == "blurred":
            values = cv2.GaussianBlur(values, (0, 0), sigma)
        elif way == "rotated":
            turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
            values = cv2.warpAffine(values, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        elif way == "drawn softly":
            large = cv2.resize(values, None, fx=3.3, fy=3.3, interpolation=cv2.INTER_NEAREST)
            values = cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)
        else:
            file = io.BytesIO()
            bytes_ = np.rint(values * 255).astype(np.uint8)
            Image.fromarray(bytes_).save(file, "JPEG", quality=quality)
            values = np.array(Image.open(file)).astype(np.float32) / 255
        return np.clip(values, 0, 1)

    return smear


def few(rng: np.random.Generator, least: int = 1) -> int:
    return int(rng.integers(least, 9))


def count(maps: Sequence[np.ndarray]) -> int:
    return max(int(m.max()) for m in maps) + 1


def soft_share(stored: Maps, levels: Sequence[int]) -> float:
    """The share of pixels at none of the levels."""
    return float(np.mean([(~np.isin(m, levels)).mean() for m in stored]))


def border(map_HW: np.ndarray, thickness: int) -> np.ndarray:
    """(H, W) bool: within so many pixels of another label."""
    high = cv2.dilate(map_HW.astype(np.float32), np.ones((2 * thickness + 1,) * 2))
    low = cv2.erode(map_HW.astype(np.float32), np.ones((2 * thickness + 1,) * 2))
    return high != low


def colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def distinct_colours(rng: np.random.Generator, count: int) -> list[tuple[int, int, int]]:
    """Black, and colours that differ by 64 in some channel."""
    table = [(0, 0, 0)]
    while len(table) < count:
        new = colour(rng)
        if all(max(abs(a - b) for a, b in zip(new, old, strict=True)) >= 48 for old in table):
            table.append(new)
    return table


def write_set(drawn: DrawnSet, root: Path, rng: np.random.Generator) -> Path:
    """Writes the set below root in one of the layouts; returns the folder to open."""
    images, masks = LAYOUTS[int(rng.integers(len(LAYOUTS)))]
    write = _writer(drawn, rng)
    for number, stored in enumerate(drawn.stored):
        size = drawn.image_sizes[number] if drawn.image_sizes else stored.shape[:2]
        picture = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        split = "" if "{split}" not in images else ("train", "val")[number % 2]
        for folder in (images, masks):
            (root / folder.format(split=split)).mkdir(parents=True, exist_ok=True)
        file = root / images.format(split=split) / f"p{number:03d}.png"
        Image.fromarray(picture).save(file, compress_level=0)
        write(stored, root / masks.format(split=split) / f"p{number:03d}", number)
    if drawn.yaml:
        (root / "data.yaml").write_text(drawn.yaml, encoding="utf-8")
    return root


LAYOUTS = (
    ("images", "masks"),
    ("images", "masks"),
    ("imgs", "masks"),
    ("img_dir", "ann_dir"),
    ("images/{split}", "masks/{split}"),
    ("JPEGImages", "SegmentationClass"),
)


def _writer(drawn: DrawnSet, rng: np.random.Generator) -> Callable[[np.ndarray, Path, int], None]:
    """A way to save masks that keeps every value: format, depth and mode."""
    high = max(int(m.max()) for m in drawn.stored)
    colour = drawn.stored[0].ndim == 3
    deep = high > 255 or (rng.random() < 0.15 and not colour and not drawn.palettes)
    suffix = str(rng.choice([".png", ".tif"] if deep else [".png", ".png", ".bmp", ".tif"]))
    as_rgb = not deep and not colour and not drawn.palettes and rng.random() < 0.15
    with_alpha = as_rgb and suffix == ".png" and rng.random() < 0.3
    bits = set(np.unique(np.concatenate([np.unique(m) for m in drawn.stored])).tolist())
    one_bit = bits == {0, 255} and suffix == ".png" and rng.random() < 0.3

    def write(stored: np.ndarray, path: Path, number: int) -> None:
        path = path.with_suffix(suffix)
        pixels = stored.astype(np.uint16 if deep else np.uint8)
        if drawn.palettes:
            image = Image.fromarray(pixels, "P")
            image.putpalette([part for rgb in drawn.palettes[number] for part in rgb])
            image.save(path.with_suffix(".png"))
            return
        if as_rgb:
            pixels = np.repeat(pixels[:, :, None], 3, axis=2)
        image = Image.fromarray(pixels)
        if with_alpha:
            image.putalpha(255)
        if one_bit:
            image = image.convert("1", dither=Image.Dither.NONE)
        image.save(path)

    return write
