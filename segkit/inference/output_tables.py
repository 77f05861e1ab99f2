"""Tables over all images of a prediction: summary.csv, objects.csv and coco.json."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from segkit.inference.output import OBJECT_COLUMNS, Failed, Output
from segkit.reporting.tables import as_csv_text
from segkit.storage import new_file, replace_text, storage_errors

Lines = Callable[[], Iterator[dict[str, Any]]]


def write_tables(
    output: Output,
    failed: Sequence[Failed],
    classes: Sequence[str],
    background: int,
    lines: Lines,
) -> None:
    """Writes the tables that are wanted, image by image, so that none has to be held whole.

    lines   gives the lines of the journal, as often as it is called
    """
    with storage_errors(output.folder):
        text = as_csv_text([*_summary(output, classes, background, lines), *_failures(failed)])
        replace_text(output.folder / "summary.csv", text)
        if output.objects:
            with (
                new_file(output.folder / "objects.csv") as work,
                work.open("w", encoding="utf-8", newline="") as table,
            ):
                table.write(as_csv_text([("image", *OBJECT_COLUMNS)]))
                for line in lines():
                    file = line["image"]["file"]
                    table.write(as_csv_text([[file, *row] for row in line["objects"]]))
        if output.coco:
            with (
                new_file(output.folder / "coco.json") as work,
                work.open("w", encoding="utf-8") as coco,
            ):
                coco.writelines(_coco(output.folder, classes, background, lines))


def _summary(
    output: Output, classes: Sequence[str], background: int, lines: Lines
) -> Iterator[list[object]]:
    header: list[object] = ["image", "status", "height", "width", "mask"]
    header += ["pixel_height", "pixel_width", "unit"]
    header += ["doubt_mean", "doubt_p95"] * output.uncertainty
    header += ["mutual_information_mean", "mutual_information_p95"] * output.mutual_information
    header += [f"share/{name}" for name in classes]
    counted: list[str] = []
    if output.counts_objects:
        counted = [name for label, name in enumerate(classes) if label != background]
    for name in counted:
        header += [f"objects/{name}", f"mean_area_pixels/{name}"]
    yield header
    for line in lines():
        image = line["image"]
        row: list[object] = [image["file"], "ok", image["height"], image["width"], image["mask"]]
        row += [*(image["pixel_size"] or (None, None)), image["unit"]]
        if output.uncertainty:
            row += [image["doubt"]["mean"], image["doubt"]["p95"]]
        if output.mutual_information:
            row += [image["mutual_information"]["mean"], image["mutual_information"]["p95"]]
        row += [image["shares"].get(name) for name in classes]
        number, area = Counter[str](), Counter[str]()
        for each in line["objects"]:
            number[each[1]] += 1
            area[each[1]] += each[3]
        for name in counted:
            row += [number[name], round(area[name] / number[name], 2) if number[name] else None]
        yield row


def _failures(failed: Sequence[Failed]) -> list[list[object]]:
    return [[each.file, f"{each.code}: {each.what}"] for each in failed]


def _coco(folder: Path, classes: Sequence[str], background: int, lines: Lines) -> Iterator[str]:
    """The file's text, an annotation at a time: those of a large image are many."""
    yield '{"images": ['
    for number, line in enumerate(lines(), start=1):
        image = line["image"]
        size = {"height": image["height"], "width": image["width"]}
        told = {"id": number, "file_name": image["file"], **size}
        yield ", " * (number > 1) + json.dumps(told)
    yield '], "annotations": ['
    count = 0
    for number, line in enumerate(lines(), start=1):
        for each in _annotations(folder, line):
            count += 1
            told = {"id": count, "image_id": number, **each}
            yield ", " * (count > 1) + json.dumps(told)
    categories = [
        {"id": label, "name": name} for label, name in enumerate(classes) if label != background
    ]
    yield f'], "categories": {json.dumps(categories)}}}'


def _annotations(folder: Path, line: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Of one image, from the journal's line or from the file that it names."""
    if not isinstance(line["coco"], str):
        yield from line["coco"]
        return
    with (folder / line["coco"]).open(encoding="utf-8") as opened:
        for text in opened:
            yield json.loads(text)
