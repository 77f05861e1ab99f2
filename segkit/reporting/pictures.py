"""Pictures of images and label maps: overlays, and masks whose pixels are classes.

H W pixels, C channels, K classes; pictures are uint8 (H, W, 3). Pillow and numpy only.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Palette = Sequence[Sequence[int]]
Picture = NDArray[np.uint8]

IGNORED = (224, 224, 224)
# Of white: an image whose values stay below it is dim.
DIM = 0.4


def palette_for(
    num_classes: int, palette: Palette | None = None
) -> tuple[tuple[int, int, int], ...]:
    """A colour per class: the given ones, then generated ones; class 0 black where none is given.

    Generated hues are a golden angle apart, so that neighbours in the list differ most.
    """
    given = [(int(r), int(g), int(b)) for r, g, b in palette or ()]
    generated = []
    for number in range(len(given), num_classes):
        hue = (number * 0.618034) % 1
        value = 1.0 if number % 2 else 0.75
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, value)
        generated.append((round(red * 255), round(green * 255), round(blue * 255)))
    if not given and generated:
        generated[0] = (0, 0, 0)
    return (*given, *generated)[:num_classes]


def to_uint8(image_HWC: NDArray[np.generic], full_scale: float = 255.0) -> Picture:
    """Any image as (H, W, 3) uint8: full_scale becomes 255.

    One channel is repeated; with two, the third is black; those beyond three are left out.
    """
    if image_HWC.ndim == 2:
        image_HWC = image_HWC[..., None]
    if image_HWC.dtype != np.uint8 or full_scale != 255:
        finite_HWC = np.nan_to_num(image_HWC.astype(np.float32), posinf=full_scale, neginf=0)
        scaled_HWC = finite_HWC * (255.0 / full_scale)
        image_HWC = np.clip(np.rint(scaled_HWC), 0, 255).astype(np.uint8)
    channels = image_HWC.shape[2]
    if channels == 2:
        third_HW1 = np.zeros_like(image_HWC[..., :1])
        image_HWC = np.concatenate([image_HWC, third_HW1], axis=2)
    picked = [0, 0, 0] if channels == 1 else [0, 1, 2]
    return np.ascontiguousarray(image_HWC[..., picked]).astype(np.uint8, copy=False)


def shown(image_HWC: NDArray[np.generic], full_scale: float = 255.0) -> tuple[Picture, str]:
    """An image as a person can see it, and what was done to that end ("" where nothing was).

    Where 99.5 % of the values lie below 40 % of white, these are spread over all of it. For
    pictures only: no network and no score sees it.
    """
    picture_HWC = to_uint8(image_HWC, full_scale)
    highest = float(np.percentile(to_float(image_HWC), 99.5)) / full_scale if image_HWC.size else 1
    if not 0 < highest < DIM:
        return picture_HWC, ""
    return to_uint8(
        image_HWC, full_scale * highest
    ), f"brightened {1 / highest:.3g} times to be seen"


def to_float(image_HWC: NDArray[np.generic]) -> NDArray[np.float32]:
    """As float32, 0 where a value is not finite."""
    return np.nan_to_num(image_HWC.astype(np.float32), posinf=0, neginf=0)


def overlay(
    image_HWC: Picture,
    label_HW: NDArray[np.integer],
    palette: Palette,
    ignore_index: int | None = None,
    alpha: float = 0.35,
    background: int = 0,
    number_HW: NDArray[np.integer] | None = None,
) -> Picture:
    """The image with every class but the background tinted and outlined in its colour.

    alpha       the tint's share, 0 (image only) to 1 (colour only); outlines have their full colour
    number_HW   which object each pixel belongs to: objects that touch are outlined each by itself

    The background shows the image alone, so that what was missed can be seen; ignored pixels are
    hatched.
    """
    picture_HWC = to_uint8(image_HWC)
    ignored_HW = np.zeros(label_HW.shape, dtype=bool)
    if ignore_index is not None:
        ignored_HW = label_HW == ignore_index
    label_HW = np.where(ignored_HW, background, label_HW)
    colour_HWC = _coloured(label_HW, palette)
    drawn_HWC = tinted(picture_HWC, label_HW != background, colour_HWC, alpha, number_HW)
    return hatched(drawn_HWC, ignored_HW)


def tinted(
    picture_HWC: Picture,
    where_HW: NDArray[np.bool_],
    colour_HWC: Picture,
    alpha: float,
    number_HW: NDArray[np.integer] | None = None,
) -> Picture:
    """The picture mixed with the colours where it is asked for, borders of colours, and of objects
    where they are numbered, drawn full."""
    outline_HW = where_HW & _borders(np.where(where_HW[..., None], colour_HWC, 0))
    if number_HW is not None:
        outline_HW |= where_HW & _borders(number_HW[..., None])
    share_HW1 = np.where(outline_HW, 1.0, np.where(where_HW, alpha, 0.0))[..., None]
    mixed_HWC = picture_HWC * (1 - share_HW1) + colour_HWC * share_HW1
    return np.rint(mixed_HWC).astype(np.uint8)


def hatched(picture_HWC: Picture, where_HW: NDArray[np.bool_]) -> Picture:
    """Light diagonal lines over the pixels asked for."""
    height, width = where_HW.shape
    line_HW = (np.add.outer(np.arange(height), np.arange(width)) // 2) % 4 == 0
    return np.where((where_HW & line_HW)[..., None], np.array(IGNORED, np.uint8), picture_HWC)


def in_grey(picture_HWC: Picture) -> Picture:
    """Without its colours, so that those laid over it are seen."""
    return np.asarray(Image.fromarray(picture_HWC).convert("L").convert("RGB"))


def _borders(colour_HWC: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Pixels with a neighbour, above, below, left or right, of another colour; wider on large
    pictures, which are looked at from afar."""
    border_HW = np.zeros(colour_HWC.shape[:2], dtype=bool)
    down_HW = (colour_HWC[1:] != colour_HWC[:-1]).any(-1)
    right_HW = (colour_HWC[:, 1:] != colour_HWC[:, :-1]).any(-1)
    border_HW[1:] |= down_HW
    border_HW[:-1] |= down_HW
    border_HW[:, 1:] |= right_HW
    border_HW[:, :-1] |= right_HW
    for _ in range(min(border_HW.shape) // 600):
        border_HW[1:] |= border_HW[:-1].copy()
        border_HW[:, 1:] |= border_HW[:, :-1].copy()
    return border_HW


def write_mask(
    path: str | Path,
    label_HW: NDArray[np.integer],
    palette: Palette,
    ignore_index: int | None = None,
) -> None:
    """Writes a PNG whose pixel values are the classes, and whose palette shows them in colour.

    Labels beyond 255 make a 16-bit grey PNG, which has no palette. Raises ValueError for labels
    below 0 or above 65535, which a PNG cannot hold.
    """
    low, high = (int(label_HW.min()), int(label_HW.max())) if label_HW.size else (0, 0)
    if low < 0 or high > 65535:
        raise ValueError(f"a PNG holds labels from 0 to 65535, not {low} to {high}")
    if high > 255:
        Image.fromarray(label_HW.astype(np.uint16)).save(path, format="PNG")
        return
    colours = list(palette_for(256, palette))
    if ignore_index is not None and 0 <= ignore_index <= 255:
        colours[ignore_index] = IGNORED
    mask = Image.fromarray(label_HW.astype(np.uint8))
    mask.putpalette([value for colour in colours for value in colour])
    mask.save(path, format="PNG")


def write_picture(path: str | Path, picture_HWC: Picture) -> None:
    """Writes a picture as PNG."""
    Image.fromarray(picture_HWC).save(path, format="PNG")


def _coloured(label_HW: NDArray[np.integer], palette: Palette) -> Picture:
    highest = int(label_HW.max()) if label_HW.size else 0
    colours = palette_for(max(highest + 1, len(palette), 1), palette)
    return np.asarray(colours, dtype=np.uint8)[label_HW]
