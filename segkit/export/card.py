"""The card of a model that is handed on: what it is, what it learnt from, how well it does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import yaml

from segkit.model.network import SegmentationModel
from segkit.version import __version__

LIBRARY, TASK = "segkit", "image-segmentation"
# Rows of a table of classes; the others are named in model.json.
MOST_CLASSES = 100


def model_card(
    model: SegmentationModel, name: str, licence: str, scores: Mapping[str, Any] | None = None
) -> str:
    """README.md with the front matter that the Hugging Face hub reads.

    name     of the model there, owner/name
    licence  as its author says
    scores   what scores.json of an evaluation holds; None: those of the training are told
    """
    front = {
        "library_name": LIBRARY,
        "pipeline_tag": TASK,
        "license": licence,
        "tags": [LIBRARY, "semantic-segmentation"],
        **_index(name, scores),
    }
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---",
        f"# {plain(name.rpartition('/')[2])}",
        _what(model),
        _use(model, name),
        "## What it was trained on\n\n" + _listed(_training(model)),
        "## Scores\n\n" + (_evaluated(scores) if scores else _validated(model)),
        "## Licence\n\n" + _licence(model, licence),
    ]
    return "\n\n".join(parts) + "\n"


def plain(text: object) -> str:
    """Words from elsewhere, which are neither markup nor another cell of a table."""
    shown = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    for sign in "\\`*_[]|#":
        shown = shown.replace(sign, f"\\{sign}")
    return shown


def _index(name: str, scores: Mapping[str, Any] | None) -> dict[str, Any]:
    """An evaluation in the form that the hub shows beside the model."""
    if scores is None:
        return {}
    found = [
        {"type": key.lower().replace(" ", "_"), "name": key, "value": round(each["value"], 6)}
        for key, each in scores["intervals"].items()
        if each["value"] is not None
    ]
    data = {"name": PurePath(scores["data"]).name, "type": "custom", "split": scores["split"]}
    result = {"task": {"type": TASK}, "dataset": data, "metrics": found}
    return {"model-index": [{"name": name.rpartition("/")[2], "results": [result]}]}


def _what(model: SegmentationModel) -> str:
    record = model.record
    names = record.label_names
    count = len(model.networks)
    kind = f"An ensemble of {count} networks" if count > 1 else "A network"
    lines = [
        f"{kind} that gives every pixel of an image one of {len(names)} classes, made with segkit "
        f"{__version__}.",
        "",
        "| label | class |",
        "|---|---|",
        *(f"| {label} | {plain(each)} |" for label, each in enumerate(names[:MOST_CLASSES])),
    ]
    if len(names) > MOST_CLASSES:
        lines.append(f"| … | {len(names) - MOST_CLASSES} more |")
    facts = [
        ("encoder", record.encoder.expression),
        ("decoder", record.decoder.expression),
        ("upsampler", record.upsampler.expression),
        ("channels of the image", record.in_channels),
        ("black and white of a pixel", _scale(record.training)),
    ]
    if record.separation:
        facts.append(("objects that touch are told apart by", record.separation))
    if record.mirrors:
        facts.append(("mean over mirrored images", record.mirrors))
    return "\n".join([*lines, "", _listed(facts)])


def _scale(training: Mapping[str, Any]) -> str:
    said = training.get("intensity") or {}
    if said.get("white") is not None:
        return f"{said.get('black', 0):g} and {said['white']:g} ({said.get('scaling')})"
    return str(said.get("scaling") or "by the type of its numbers")


def _use(model: SegmentationModel, name: str) -> str:
    records = [each.record for each in model.networks]
    parts = [part for r in records for part in (r.encoder, r.decoder, r.upsampler)]
    plugins = sorted({f"'{p.distribution}=={p.version}'" for p in parts})
    return (
        "## Use\n\n```\npython -m pip install " + " ".join(["segkit-core", *plugins]) + "\n```\n\n"
        f'```python\nimport segkit\n\nmodel = segkit.load_model("hf:{name}")\n'
        'answer = model.predict("image.png")\n'
        "answer.labels, answer.classes, answer.overlay()\n```\n\n"
        f"or `segkit predict hf:{name} IMAGES... --out DIR`. The files hold numbers and names, and "
        "nothing that is executed."
    )


def _training(model: SegmentationModel) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for place, network in enumerate(model.networks, start=1):
        told, weights = network.record.training, network.record.weights
        before = f"member {place}: " if len(model.networks) > 1 else ""
        named = {
            "data": told.get("data"),
            "epoch": told.get("epoch"),
            "crops": f"{told['size']} pixels a side" if told.get("size") else None,
            "encoder started from": weights.get("used"),
            "trained with segkit": told.get("segkit"),
            "on": told.get("device"),
        }
        found += [(f"{before}{key}", value) for key, value in named.items() if value is not None]
    ignored = model.record.ignore_index
    found.append(("ignored label of the masks", "none" if ignored is None else ignored))
    fitted = model.record.training.get("calibration")
    if fitted and model.record.temperature != 1:
        found.append(
            (
                "temperature",
                f"{model.record.temperature:.4g}, fitted on {fitted['images']} images of "
                f"{fitted['data']}, split {fitted['split']}: expected calibration error "
                f"{fitted['error_before']:.4f} before, {fitted['error']:.4f} after, there",
            )
        )
    return found


def _evaluated(scores: Mapping[str, Any]) -> str:
    """Of an evaluation, with its intervals and its conventions."""
    intervals = scores["intervals"]
    rows = [
        f"| {plain(name)} | {_number(each['value'])} | {_number(each['low'])} to "
        f"{_number(each['high'])} |"
        for name, each in intervals.items()
    ]
    head = [
        f"On {scores['images']} images of {plain(PurePath(scores['data']).name)}, split "
        f"{plain(scores['split'])}.",
        "",
        "| score | value | 95 % interval |",
        "|---|---|---|",
        *rows,
        "",
    ]
    known = set(intervals)
    others = [(name, _number(v)) for name, v in scores["scores"].items() if name not in known]
    told = [plain(scores["interval_method"]), *(f"{plain(c)}" for c in scores["cautions"])]
    return "\n".join([*head, _listed(others), *_conventions(scores["conventions"]), "", *told])


def _validated(model: SegmentationModel) -> str:
    """Of the training, which chose its best epoch by them."""
    told = model.record.training
    if not told.get("scores"):
        return "None are known: `segkit evaluate` gives them, with intervals."
    found = [(name, _number(value)) for name, value in told["scores"].items()]
    return "\n".join(
        [
            f"On the {told.get('images', 'unknown number of')} validation images of the training, "
            "which chose its best epoch by the first of them: on new images expect less. No "
            "interval is known; `segkit evaluate` gives one.",
            "",
            _listed(found),
            *_conventions(told.get("conventions", {})),
        ]
    )


def _conventions(said: Mapping[str, str]) -> Sequence[str]:
    return ["", *(f"{plain(name)}: {plain(text)}." for name, text in said.items() if text)]


def _licence(model: SegmentationModel, licence: str) -> str:
    started = dict.fromkeys(str(each.record.weights.get("used", "")) for each in model.networks)
    others = [each for each in started if each not in ("", "none")]
    said = f"`{licence}`, as its author says."
    if others:
        said += (
            f" The encoder started from weights of others ({plain(', '.join(others))}), whose "
            "licence and data may bind too."
        )
    return said


def _listed(pairs: Sequence[tuple[str, object]]) -> str:
    return "\n".join(f"- {plain(name)}: {plain(value)}" for name, value in pairs)


def _number(value: float | None) -> str:
    return "n/a" if value is None or math.isnan(value) else f"{value:.4f}"
