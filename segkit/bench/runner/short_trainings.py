"""What a network reaches in a short training: the same budget for every case, one score each.

Every network is trained once, in a process of its own, by the engine of `segkit train` with the
same data, epochs, batch and seed; rows that differ only in size, batch, compilation or mode share
it. A case of inference names no loss: its network is trained with the suite's first loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit.bench.display.watching import Watcher
from segkit.bench.records.case import Case
from segkit.bench.records.row import Checkerboard, Quality, Row
from segkit.bench.runner.measuring import file_name
from segkit.bench.runner.process import WorkerFailed, WorkerProcess

DEFAULT_LOSS = "dice+ce"
TRAINING_TIMEOUT = 6 * 3600.0
# Pixels that a picture's title takes above it.
TITLE = 18

Key = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class QualitySettings:
    """The budget of each training.

    data           folder, or None for the demo set
    checkerboard   whether upsampling artefacts are measured before and after
    """

    data: str | None = None
    epochs: int = 4
    batch: int = 8
    metric: str = "miou"
    seed: int = 0
    device: str = "cpu"
    checkerboard: bool = False


def with_quality(
    rows: Sequence[Row], settings: QualitySettings, watcher: Watcher, folder: Path
) -> list[Row]:
    """The rows with the score of their network; rows that are not ok stay as they are."""
    keys = [key_of(row.case) if row.status == "ok" else None for row in rows]
    wanted = dict.fromkeys(key for key in keys if key is not None)
    found: dict[Key, dict[str, Any]] = {}
    for number, key in enumerate(wanted):
        case = next(row.case for row, own in zip(rows, keys, strict=True) if own == key)
        share = number / len(wanted)
        answer = _trained(case, key, settings, watcher, folder, share)
        if answer is not None:
            found[key] = answer
    if settings.checkerboard:
        _sheet(found, folder)
    return [
        _completed(row, found.get(key) if key else None)
        for row, key in zip(rows, keys, strict=True)
    ]


def key_of(case: Case) -> Key | None:
    """What decides a network's quality, or None for a case without a network."""
    if case.task != "network":
        return None
    loss = case.loss or DEFAULT_LOSS
    return (str(case.encoder), str(case.decoder), str(case.upsampler), loss, case.precision)


def _trained(
    case: Case,
    key: Key,
    settings: QualitySettings,
    watcher: Watcher,
    folder: Path,
    share: float,
) -> dict[str, Any] | None:
    parts = dict(zip(("encoder", "decoder", "upsampler", "loss", "precision"), key, strict=True))
    picture = folder / f"checkerboard-{file_name(case)}.png"
    request = {
        "do": "quality",
        "parts": parts,
        "settings": vars(settings),
        "picture": str(picture.resolve()),
    }
    worker = WorkerProcess()
    try:
        answer = worker.ask(
            request,
            timeout=TRAINING_TIMEOUT,
            stage=lambda name: watcher.working(case, name, share, None),
        )
        return dict(answer["found"])
    except WorkerFailed as error:
        watcher.noticed(f"No score for {' + '.join(key)}: {error.reason}.")
        return None
    except KeyboardInterrupt:
        watcher.noticed(f"Skipped the training of {' + '.join(key)}.")
        worker.kill()
        return None
    finally:
        worker.close()


def _completed(row: Row, found: Mapping[str, Any] | None) -> Row:
    if found is None:
        return row
    changes: dict[str, Any] = {"quality": Quality.model_validate(found["quality"])}
    if "checkerboard" in found:
        changes["checkerboard"] = Checkerboard.model_validate(found["checkerboard"])
    return row.model_copy(update=changes)


def _sheet(found: Mapping[Key, Mapping[str, Any]], folder: Path) -> None:
    """checkerboard.png: all pictures of artefacts, below one another, with their upsamplers."""
    from PIL import Image, ImageDraw

    opened = [
        (upsampler, Image.open(folder / each["checkerboard"]["picture"]).convert("RGB"))
        for (_, _, upsampler, _, _), each in found.items()
        if each.get("checkerboard", {}).get("picture")
    ]
    if not opened:
        return
    width = max(picture.width for _, picture in opened)
    height = sum(picture.height + TITLE for _, picture in opened)
    sheet = Image.new("RGB", (width, height), "white")
    pen, top = ImageDraw.Draw(sheet), 0
    for upsampler, picture in opened:
        pen.text((4, top + 3), upsampler, fill="black")
        sheet.paste(picture, (0, top + TITLE))
        top += picture.height + TITLE
    sheet.save(folder / "checkerboard.png")
