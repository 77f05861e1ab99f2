"""Colours: the default palette, and PASCAL VOC's, by which its masks are recognised."""

from __future__ import annotations

import colorsys
import itertools
import math
from collections.abc import Sequence

from segkit.data.files.masks import RGB

# Okabe and Ito 2008, distinguishable with any colour vision; label 0 is nearly black.
DISTINCT: tuple[RGB, ...] = (
    (32, 32, 40),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
)
# Levels of each channel that further colours are taken from, and to how many colours in all.
GRID, MOST_UNLIKE = (50, 110, 170, 230), 40
GOLDEN = 0.618033988749895

VOC_CLASSES: tuple[str, ...] = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


def default_palette(count: int) -> tuple[RGB, ...]:
    """So many distinct colours: first Okabe and Ito's, then of a grid of colours the one that is
    least like all before it, then hues a golden angle apart."""
    found = list(DISTINCT[:count])
    # Greys are ignored pixels, and the image itself.
    grid = [each for each in itertools.product(GRID, GRID, GRID) if max(each) - min(each) > 60]
    nearest = [min(_unlike(colour, each) for each in DISTINCT) for colour in grid]
    while len(found) < min(count, MOST_UNLIKE):
        place = max(range(len(grid)), key=lambda i: nearest[i])
        found.append(grid[place])
        nearest = [
            min(far, _unlike(colour, grid[place]))
            for far, colour in zip(nearest, grid, strict=True)
        ]
    for i in range(len(found), count):
        light = (0.9, 0.65, 0.45)[i % 3]
        red, green, blue = colorsys.hsv_to_rgb(i * GOLDEN % 1, 0.75, light)
        found.append((round(red * 255), round(green * 255), round(blue * 255)))
    return tuple(found)


def dark_for_background(palette: Sequence[RGB], background: int) -> tuple[RGB, ...]:
    """The palette, label 0's nearly black exchanged with the colour of another label that is the
    background: an object drawn so would not be seen on dark pictures."""
    changed = list(palette)
    if changed and changed[0] == DISTINCT[0]:
        changed[0], changed[background] = changed[background], changed[0]
    return tuple(changed)


def _unlike(one: RGB, other: RGB) -> float:
    """How differently two colours are seen, about: RGB distance weighed by the mean red
    (T. Riemersma, "Colour metric")."""
    red = (one[0] + other[0]) / 2
    weights = 2 + red / 256, 4.0, 2 + (255 - red) / 256
    return math.sqrt(sum(w * (a - b) ** 2 for w, a, b in zip(weights, one, other, strict=True)))


def voc_colour(label: int) -> RGB:
    """PASCAL VOC's colour of a label: its bits dealt to red, green and blue, highest first."""
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (label >> (3 * bit + channel) & 1) << (7 - bit)
    return channels[0], channels[1], channels[2]
