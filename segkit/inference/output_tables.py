"""Tables over all images of a prediction: summary.csv, objects.csv and coco.json."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
            replace_text(output.folder / "coco.json", json.dumps(_coco(classes, background, lines)))


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


def _coco(classes: Sequence[str], background: int, lines: Lines) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, line in enumerate(lines(), start=1):
        image = line["image"]
        size = {"height": image["height"], "width": image["width"]}
        images.append({"id": number, "file_name": image["file"], **size})
        for each in line["coco"]:
            annotations.append({"id": len(annotations) + 1, "image_id": number, **each})
    categories = [
        {"id": label, "name": name} for label, name in enumerate(classes) if label != background
    ]
    return {"images": images, "annotations": annotations, "categories": categories}
