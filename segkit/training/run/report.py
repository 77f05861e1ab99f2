"""The page of a training, from what lies in its run folder."""

from __future__ import annotations

import csv
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segkit.config import TrainConfig, read_config, to_yaml
from segkit.errors import UsageError
from segkit.reporting import charts
from segkit.reporting.pages import Figure
from segkit.reporting.report import Report, Section, case, drawn, score_text
from segkit.reporting.words import counted, duration
from segkit.storage import read_json, replace_text, storage_errors
from segkit.training.monitoring.events import Events
from segkit.training.monitoring.notebook import Notebook, read_notes
from segkit.training.run.run_folder import RunFolder

SAMPLES = (
    "Image, truth, prediction and errors: right, missed and invented pixels in three colours, a "
    "fourth where a class was taken for another, after the last epoch that has pictures."
)
MOST_SAMPLES, MOST_CURVES = 6, 16
BYTES = 2**30


def write_report(folder: Path) -> Path:
    """Writes RUN/report.html, one file that opens without a network; returns it.

    Raises UsageError SK-C009 where the folder is no run, or one that never ended an epoch, and
    StorageError.
    """
    run = RunFolder(folder)
    if not run.config_file.is_file() or not run.log.is_file():
        raise UsageError(
            "SK-C009",
            f"{folder} holds no run that has ended an epoch.",
            "Give the folder that `segkit train` printed.",
        )
    page = _page(run, read_config(run.config_file), run.reports()).as_html()
    with storage_errors(run.report):
        replace_text(run.report, page)
    return run.report


def conclude(run: RunFolder, notes: Notebook, events: Events) -> None:
    """Keeps what was decided and writes the page; that it cannot be written ends no training."""
    try:
        notes.keep(run.folder)
        write_report(run.folder)
    except Exception as error:  # A page is not worth a training, whatever a class's name did to it.
        events.warned(
            f"report.html could not be written ({error}). The training is complete; try again: "
            f"segkit report {run.folder}"
        )


def _page(run: RunFolder, config: TrainConfig, epochs: Sequence[Mapping[str, Any]]) -> Report:
    notes = read_notes(run.folder)
    decisions = [(str(subject), str(text)) for subject, text in notes.get("decisions", ())]
    best = next((each for each in reversed(epochs) if each.get("is_best")), epochs[-1])
    model, curves = f"{config.encoder}, {config.decoder}, {config.upsampler}", _curves(epochs, best)
    return Report(
        f"Training of {run.folder}",
        f"{model}, on {config.data or 'the built-in demo set'}.",
        _headline(run, epochs, best),
        notes.get("warnings", ()),
        [
            *([Section("Curves", _curves_note(best), figures=curves)] if curves else []),
            _classes(run, best),
            Section("Samples", SAMPLES, cases=_samples(run)),
            Section("The data", pairs=[each for each in decisions if each[0] == "data"]),
            Section("Decisions", pairs=[each for each in decisions if each[0] != "data"]),
            Section("Time and memory", pairs=_cost(epochs)),
            Section(
                "Settings",
                "As config.yaml beside this page holds them.",
                command=_plain(config),
                folded=True,
            ),
            Section("Versions", pairs=list(notes.get("versions", {}).items())),
            Section(
                "To repeat it",
                command=shlex.join(["segkit", "train", "--config", str(run.config_file)]),
            ),
        ],
    )


def _headline(
    run: RunFolder, epochs: Sequence[Mapping[str, Any]], best: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    last = epochs[-1]
    found = []
    if name := best.get("score_name"):
        place = f"epoch {best['epoch']} of {last['epochs']}{_scored_on(run)}"
        found.append((f"best {name}", score_text(best["scores"].get(name)), place))
    found.append(("loss", score_text(last["loss"]), f"of training, epoch {last['epoch']}"))
    seconds = sum(each["seconds"] for each in epochs)
    speed = np.median([each["images_per_second"] for each in epochs])
    found.append(("time", duration(seconds), f"{speed:.3g} images a second"))
    return found


def _scored_on(run: RunFolder) -> str:
    """How many images the score is of: it means little where they are few."""
    if not run.samples_list.is_file():
        return ""
    images = len(read_json(run.samples_list).get("val", ()))
    return f", on {counted(images, 'image')}" if images else ""


def _curves_note(best: Mapping[str, Any]) -> str:
    named = best.get("score_name")
    return f"Dotted: epoch {best['epoch']}, the best by {named}." if named else ""


def _curves(epochs: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> list[Figure]:
    x = [float(each["epoch"]) for each in epochs]
    mark = float(best["epoch"]) if best.get("score_name") else None

    def figure(name: str, lines: Mapping[str, list[float]], unit: str, note: str = "") -> Figure:
        return drawn(
            name,
            lambda theme: charts.curves(
                x, lines, theme, name=name[0].upper() + name[1:], unit=unit, note=note, mark=mark
            ),
        )

    losses = {"training": _series(epochs, "loss")}
    validation = _series(epochs, "val_loss")
    if not np.isnan(validation).all():
        losses["validation"] = validation
    found = [figure("loss", losses, "loss")] if len(epochs) > 1 else []
    # A single evaluation is no curve: its scores stand above and in the table of the classes.
    scored = [each for each in epochs if each["scores"]]
    names = dict.fromkeys(name for each in scored for name in each["scores"] if "/" not in name)
    if names and len(scored) > 1:
        lines = {name: _series(epochs, "scores", name) for name in names}
        found.append(figure("scores", lines, "score", "on the validation images"))
    classes = dict.fromkeys(name for each in epochs for name in each.get("class_iou", {}))
    if classes and len(scored) > 1:
        worst = sorted(classes, key=lambda name: best["class_iou"].get(name) or 0.0)
        shown = [name for name in classes if name in worst[:MOST_CURVES]]
        left = len(classes) - len(shown)
        note = f"the {len(shown)} lowest of {len(classes)} classes" if left else ""
        lines = {name: _series(epochs, "class_iou", name) for name in shown}
        found.append(figure("IoU of each class", lines, "IoU", note))
    if len(epochs) > 1:
        rates = {"rate": _series(epochs, "learning_rate")}
        found.append(figure("learning rate", rates, "at the epoch's end"))
    return found


def _series(epochs: Sequence[Mapping[str, Any]], key: str, name: str = "") -> list[float]:
    values = [each.get(key, {}).get(name) if name else each.get(key) for each in epochs]
    return [math.nan if value is None else float(value) for value in values]


def _classes(run: RunFolder, best: Mapping[str, Any]) -> Section:
    """The best model's confusion matrix, and the IoU of every class."""
    table = read_confusion(run.confusion)
    if table is None:
        return Section("Classes", "No confusion matrix was kept: nothing was evaluated.")
    classes, counts_KK = table
    truth_K, iou = counts_KK.sum(axis=1), best.get("class_iou", {})
    if len(iou) == len(classes):
        # The log has the names as they are; a table changes those that a spreadsheet would run.
        classes = list(iou)
    rows = [
        [name, score_text(iou.get(name)), f"{100 * pixels / max(truth_K.sum(), 1):.1f} %"]
        for name, pixels in zip(classes, truth_K.tolist(), strict=True)
    ]
    figure = drawn("confusion", lambda theme: charts.confusion(counts_KK, classes, theme))
    note = f"On the validation images, of the model of epoch {best['epoch']}."
    header = ["class", "IoU", "share of the truth"]
    return Section("Classes", note, header=header, rows=rows, figures=[figure])


def read_confusion(file: Path) -> tuple[list[str], np.ndarray] | None:
    """(classes, counts_KK) of a confusion.csv; None where there is none that can be read."""
    try:
        with file.open(newline="", encoding="utf-8") as opened:
            _, *rows = csv.reader(opened)
        return [row[0] for row in rows], np.array([row[1:] for row in rows], dtype=np.int64)
    except (OSError, ValueError, IndexError):
        return None


def _samples(run: RunFolder) -> list[Figure]:
    folders = sorted(run.samples.glob("epoch-*"))
    files = sorted(folders[-1].glob("*.png"))[:MOST_SAMPLES] if folders else []
    found = []
    for file in files:
        with Image.open(file) as picture:
            sheet_HWC = np.asarray(picture.convert("RGB"))
        found.append(case(file.stem, sheet_HWC, f"{file.stem}, {file.parent.name}"))
    return found


def _cost(epochs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    seconds = [each["seconds"] for each in epochs]
    memory = [each["memory"] for each in epochs if each.get("memory")]
    waited = np.median([each.get("data_share", 0.0) for each in epochs])
    pairs = [
        ("epochs", f"{len(epochs)} in {duration(sum(seconds))}, evaluations included"),
        ("an epoch", f"{duration(float(np.median(seconds)))}, the median"),
        ("waiting for data", f"{100 * waited:.0f} % of an epoch's training, the median"),
    ]
    if memory:
        pairs.append(("memory", f"{max(memory) / BYTES:.2f} GiB in use at most"))
    if skipped := sum(each.get("skipped", 0) for each in epochs):
        pairs.append(("steps skipped", f"{skipped}, since fp16's gradient was no finite number"))
    return pairs


def _plain(config: TrainConfig) -> str:
    lines = to_yaml(config).splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.startswith("#"))
