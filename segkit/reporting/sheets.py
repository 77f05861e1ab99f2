"""Sheets of pictures under titles, legends below them, and a prediction's errors beside its truth.

H W pixels, K classes; pictures are uint8 (H, W, 3). Pillow and numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from segkit.reporting.pictures import (
    Palette,
    Picture,
    hatched,
    in_grey,
    overlay,
    palette_for,
    shown,
    tinted,
)

TITLE_HEIGHT, GAP = 16, 4
# A picture in a sheet is enlarged in whole steps until it has so many pixels across.
LEAST_SIDE = 256
WIDTH_OF_USUAL_TEXT = 1100
LINE, SWATCH, MARGIN = 18, 12, 6
# Okabe and Ito's colours, which people with any sight tell apart.
RIGHT, MISSED, INVENTED, CONFUSED = (0, 158, 115), (0, 114, 178), (213, 94, 0), (240, 228, 66)
Kind = TypeVar("Kind", bound=np.generic)
Row = tuple[tuple[int, int, int] | None, str]


def side_by_side(pictures: Sequence[Picture], titles: Sequence[str] = ()) -> Picture:
    """The pictures in a row on white, each under its title."""
    width = sum(picture.shape[1] for picture in pictures) + GAP * (len(pictures) - 1)
    scale = text_scale(width)
    top = round(TITLE_HEIGHT * scale) if any(titles) else 0
    height = top + max(picture.shape[0] for picture in pictures)
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(10 * scale)
    left = 0
    for number, picture in enumerate(pictures):
        if number < len(titles):
            draw.text((left + 2, 2), titles[number], fill="black", font=font)
        # Pasted after the title, so that a long one is cut at its neighbour.
        sheet.paste("white", (left + picture.shape[1], 0, width, top))
        sheet.paste(Image.fromarray(picture), (left, top))
        left += picture.shape[1] + GAP
    return np.asarray(sheet)


def explained(
    image_HWC: NDArray[np.generic],
    label_HW: NDArray[np.integer],
    palette: Palette,
    classes: Sequence[str],
    *,
    full_scale: float = 255.0,
    ignore_index: int | None = None,
    background: int = 0,
    number_HW: NDArray[np.integer] | None = None,
) -> Picture:
    """The overlay, enlarged where it is small, above a legend of the classes that occur.

    number_HW   which object each pixel belongs to, where that is known: each is outlined
    """
    picture_HWC, note = shown(image_HWC, full_scale)
    laid_HWC = overlay(
        enlarged(picture_HWC),
        enlarged(label_HW),
        palette,
        ignore_index,
        background=background,
        number_HW=None if number_HW is None else enlarged(number_HW),
    )
    rows = legend_rows(label_HW, palette, classes, ignore_index, background)
    return with_legend(laid_HWC, [*rows, *([(None, note)] if note else [])])


def sample_sheet(
    image_HWC: NDArray[np.generic],
    truth_HW: NDArray[np.integer] | None,
    label_HW: NDArray[np.integer],
    palette: Palette,
    classes: Sequence[str],
    *,
    full_scale: float = 255.0,
    ignore_index: int | None = None,
    background: int = 0,
    true_number_HW: NDArray[np.integer] | None = None,
    number_HW: NDArray[np.integer] | None = None,
) -> Picture:
    """Image, truth, prediction and errors in a row, above legends; without truth the first and
    the third. The background shows the image alone, and what lies in it was missed or invented.
    Beside the image it is grey: colours of classes are lost on pictures of the same colours.

    true_number_HW, number_HW   which object each pixel belongs to, of truth and prediction, where
                                that is known: each is outlined
    """
    picture_HWC, note = shown(image_HWC, full_scale)
    large_HWC, predicted_HW = enlarged(picture_HWC), enlarged(label_HW)
    pictures, titles = [large_HWC], [f"image, {note}" if note else "image"]
    large_HWC = in_grey(large_HWC)
    rows, kinds = legend_rows(label_HW, palette, classes, None, background), list[Row]()
    if truth_HW is not None:
        rows = legend_rows(truth_HW, palette, classes, ignore_index, background)
        only = np.where(np.isin(label_HW, np.unique(truth_HW)), -1, label_HW.astype(int))
        rows += [
            (colour, f"{text} (predicted only)")
            for colour, text in legend_rows(only, palette, classes, None, background)
        ]
        true_HW = enlarged(truth_HW)
        pictures.append(
            overlay(
                large_HWC,
                true_HW,
                palette,
                ignore_index,
                background=background,
                number_HW=None if true_number_HW is None else enlarged(true_number_HW),
            )
        )
        titles.append("truth")
    numbers_HW = None if number_HW is None else enlarged(number_HW)
    pictures.append(
        overlay(large_HWC, predicted_HW, palette, background=background, number_HW=numbers_HW)
    )
    titles.append("prediction")
    if truth_HW is not None:
        errors_HWC, kinds = error_picture(
            large_HWC, true_HW, predicted_HW, ignore_index, background
        )
        pictures.append(errors_HWC)
        score = mean_iou(truth_HW, label_HW, len(classes), ignore_index)
        titles.append(f"errors, mean IoU {score:.3f}" if score == score else "errors")
    return with_legend(side_by_side(pictures, titles), rows, kinds)


def error_picture(
    picture_HWC: Picture,
    truth_HW: NDArray[np.integer],
    label_HW: NDArray[np.integer],
    ignore_index: int | None,
    background: int = 0,
) -> tuple[Picture, list[Row]]:
    """What was found, missed and invented, of all classes but the background, and its legend."""
    counts_HW = np.ones(truth_HW.shape, dtype=bool)
    if ignore_index is not None:
        counts_HW = truth_HW != ignore_index
    there_HW, said_HW = truth_HW != background, label_HW != background
    kinds: list[tuple[tuple[int, int, int], str, NDArray[np.bool_]]] = [
        (RIGHT, "right", there_HW & (label_HW == truth_HW)),
        (MISSED, "missed", there_HW & ~said_HW),
        (INVENTED, "invented", ~there_HW & said_HW),
        (CONFUSED, "wrong class", there_HW & said_HW & (label_HW != truth_HW)),
    ]
    colour_HWC = np.zeros((*truth_HW.shape, 3), dtype=np.uint8)
    rows: list[Row] = []
    for colour, name, anywhere_HW in kinds:
        where_HW = anywhere_HW & counts_HW
        colour_HWC[where_HW] = colour
        if where_HW.any() or colour != CONFUSED:
            rows.append((colour, f"{name}: {_share(where_HW.sum(), counts_HW.sum())}"))
    wrong_or_right_HW = np.asarray((colour_HWC > 0).any(axis=-1))
    drawn_HWC = tinted(picture_HWC, wrong_or_right_HW, colour_HWC, 0.6)
    return hatched(drawn_HWC, ~counts_HW), rows


def mean_iou(
    truth_HW: NDArray[np.integer],
    label_HW: NDArray[np.integer],
    num_classes: int,
    ignore_index: int | None,
) -> float:
    """Of one image, over the classes in its truth or prediction; NaN where all is ignored."""
    counted_HW = np.ones(truth_HW.shape, dtype=bool)
    if ignore_index is not None:
        counted_HW = truth_HW != ignore_index
    true_N, said_N = truth_HW[counted_HW], label_HW[counted_HW]
    scores = []
    for label in range(num_classes):
        one_N, other_N = true_N == label, said_N == label
        union = int((one_N | other_N).sum())
        if union and label != ignore_index:
            scores.append(int((one_N & other_N).sum()) / union)
    return float(np.mean(scores)) if scores else float("nan")


def legend_rows(
    label_HW: NDArray[np.integer],
    palette: Palette,
    classes: Sequence[str],
    ignore_index: int | None,
    background: int = 0,
) -> list[Row]:
    """(colour, "name: share") of every class that occurs, and of ignored pixels."""
    colours = palette_for(len(classes), palette)
    rows: list[Row] = []
    for label, count in zip(*np.unique(label_HW, return_counts=True), strict=True):
        share = _share(count, label_HW.size)
        if label == ignore_index:
            rows.append((None, f"hatched, ignored: {share}"))
        elif 0 <= label < len(classes):
            plain = label == background
            text = f"{classes[label]}: {share}{' (not coloured)' if plain else ''}"
            rows.append((None if plain else colours[label], text))
    return rows


def _share(part: int, whole: int) -> str:
    percent = 100 * part / max(whole, 1)
    return "<0.1%" if 0 < percent < 0.05 else f"{percent:.1f}%"


def with_legend(picture_HWC: Picture, rows: Sequence[Row], errors: Sequence[Row] = ()) -> Picture:
    """The picture above its legend, in as many columns as fit; kinds of errors, whose colours may
    be those of classes too, begin a line of their own."""
    width = picture_HWC.shape[1]
    scale = text_scale(width)
    font = ImageFont.load_default(12 * scale)
    line, swatch, margin = (round(each * scale) for each in (LINE, SWATCH, MARGIN))
    rows, errors = list(rows), [(None, "errors:"), *errors] if errors else []
    texts = [text for _, text in (*rows, *errors)]
    column = margin + swatch + margin + int(max((font.getlength(t) for t in texts), default=0))
    column = min(column + margin, width)
    columns = max(1, width // max(column, 1))
    if errors:
        rows += [(None, "")] * (-len(rows) % columns) + errors
    lines = -(-len(rows) // columns)
    sheet = Image.new("RGB", (width, picture_HWC.shape[0] + lines * line + (margin * bool(lines))))
    sheet.paste("white", (0, 0, *sheet.size))
    sheet.paste(Image.fromarray(picture_HWC), (0, 0))
    draw = ImageDraw.Draw(sheet)
    for place, (colour, text) in enumerate(rows):
        left = margin + place % columns * column
        top = picture_HWC.shape[0] + margin // 2 + place // columns * line
        if colour is not None:
            box = (left, top + 3, left + swatch, top + 3 + swatch)
            draw.rectangle(box, fill=colour, outline="black")
            left += swatch + margin
        draw.text((left, top + 1), text, fill="black", font=font)
    return np.asarray(sheet)


def text_scale(width: int) -> float:
    """How much larger than usual the text of a sheet is: wide ones are looked at from afar."""
    return max(1.0, width / WIDTH_OF_USUAL_TEXT)


def enlarged(map_HWX: NDArray[Kind]) -> NDArray[Kind]:
    """Each pixel repeated until the picture can be seen; large ones as they are."""
    times = max(1, -(-LEAST_SIDE // max(map_HWX.shape[1], 1)))
    return map_HWX.repeat(times, axis=0).repeat(times, axis=1)
