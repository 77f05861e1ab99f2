"""Colours: the default palette, and PASCAL VOC's, by which its masks are recognised."""

from __future__ import annotations

import colorsys

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
    """So many distinct colours: first Okabe and Ito's, then hues a golden angle apart."""
    more = []
    for i in range(len(DISTINCT), count):
        light = (0.9, 0.65, 0.45)[i % 3]
        red, green, blue = colorsys.hsv_to_rgb(i * GOLDEN % 1, 0.75, light)
        more.append((round(red * 255), round(green * 255), round(blue * 255)))
    return (*DISTINCT[:count], *more)


def voc_colour(label: int) -> RGB:
    """PASCAL VOC's colour of a label: its bits dealt to red, green and blue, highest first."""
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (label >> (3 * bit + channel) & 1) << (7 - bit)
    return channels[0], channels[1], channels[2]
