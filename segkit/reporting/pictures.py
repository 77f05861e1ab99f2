"""Pictures of images and label maps: overlays, sheets, and masks whose pixels are classes.

H W pixels, C channels, K classes; pictures are uint8 (H, W, 3). Pillow and numpy only.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Palette = Sequence[Sequence[int]]
Picture = NDArray[np.uint8]

IGNORED = (224, 224, 224)
TITLE_HEIGHT, GAP = 16, 4


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


def overlay(
    image_HWC: Picture,
    label_HW: NDArray[np.integer],
    palette: Palette,
    ignore_index: int | None = None,
    alpha: float = 0.5,
) -> Picture:
    """The image with each class's colour laid over it; ignored pixels show the image alone.

    alpha   the colour's share, 0 (image only) to 1 (colour only)
    """
    picture_HWC = to_uint8(image_HWC)
    shown_HW = np.ones_like(label_HW, dtype=bool)
    if ignore_index is not None:
        shown_HW = label_HW != ignore_index
    colour_HWC = _coloured(np.where(shown_HW, label_HW, 0), palette)
    mixed_HWC = picture_HWC * np.float32(1 - alpha) + colour_HWC * np.float32(alpha)
    mixed_HWC = np.rint(mixed_HWC).astype(np.uint8)
    return np.where(shown_HW[..., None], mixed_HWC, picture_HWC)


def colour_mask(
    label_HW: NDArray[np.integer], palette: Palette, ignore_index: int | None = None
) -> Picture:
    """The label map in its colours; ignored pixels light grey."""
    if ignore_index is None:
        return _coloured(label_HW, palette)
    ignored_HW = label_HW == ignore_index
    colour_HWC = _coloured(np.where(ignored_HW, 0, label_HW), palette)
    colour_HWC[ignored_HW] = IGNORED
    return colour_HWC


def side_by_side(pictures: Sequence[Picture], titles: Sequence[str] = ()) -> Picture:
    """The pictures in a row on white, each under its title."""
    top = TITLE_HEIGHT if any(titles) else 0
    height = top + max(picture.shape[0] for picture in pictures)
    width = sum(picture.shape[1] for picture in pictures) + GAP * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    left = 0
    for number, picture in enumerate(pictures):
        if number < len(titles):
            draw.text((left + 2, 2), titles[number], fill="black", font=font)
        # Pasted after the title, so that a long one is cut at its neighbour.
        sheet.paste("white", (left + picture.shape[1], 0, width, top))
        sheet.paste(Image.fromarray(picture), (left, top))
        left += picture.shape[1] + GAP
    return np.asarray(sheet)


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
