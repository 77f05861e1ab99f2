"""results.json of a contest: scores with intervals, paired differences, and their conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segkit.bench.quality.counting import overlap_of, score_of
from segkit.bench.quality.preparing import Prepared
from segkit.bench.quality.table import Table
from segkit.bench.records.compact_json import compact
from segkit.scoring.intervals import METHOD, drawn, interval
from segkit.scoring.per_image import Scores

FORMAT = "segkit-quality/1"
RULES = (
    "Every tool trains from random weights on the same images, for the minutes of the row counted "
    "from the start of its command: planning, preparing and measuring are within them. It sees no "
    "test image before its model is written; what it holds apart of the training images to choose "
    "a model is its own affair. Prediction is not counted in the minutes. All masks are scored by "
    "the same code: one count over all test pixels that are not ignored. "
    + METHOD
    + " Of several seeds the scores are averaged within each draw. "
    "Differences are paired: both tools see the same draws."
)
# Beyond its minutes by this share a training is marked as late.
LATE = 0.05
LATE_ONE = "not counted: one was late"

Record = Mapping[str, Any]
Key = tuple[str, str, float]


def result(
    records: Sequence[Record],
    table: Table,
    prepared: Mapping[str, Prepared],
    conditions: Mapping[str, Any],
    of: str = "auto",
) -> dict[str, Any]:
    """What the records of sets that may be published say.

    conditions   command, date and machine
    of           the tool whose differences to every other are taken
    """
    shown = [each for each in records if table.sets[each["turn"]["set"]].publish]
    groups = _grouped(shown)
    sets = list(dict.fromkeys(each["turn"]["set"] for each in shown))
    return {
        "format": FORMAT,
        **conditions,
        "rules": RULES,
        "sets": {name: _about(table, prepared[name], name) for name in sets},
        "tools": {
            tool: table.tools[tool].about
            for tool in dict.fromkeys(each["turn"]["tool"] for each in shown)
        },
        "rows": [_row(key, group, table) for key, group in groups.items()],
        "differences": differences(groups, table, of),
    }


def as_json(found: Mapping[str, Any]) -> str:
    return compact(found) + "\n"


def _about(table: Table, prepared: Prepared, name: str) -> dict[str, Any]:
    one = table.sets[name]
    return {
        **{"train": prepared.trained, "test": prepared.tested, "classes": len(prepared.classes)},
        **{"score": one.score, "split": one.why},
    }


def _grouped(records: Sequence[Record]) -> dict[Key, list[Record]]:
    groups: dict[Key, list[Record]] = {}
    for each in records:
        turn = each["turn"]
        groups.setdefault((turn["set"], turn["tool"], turn["minutes"]), []).append(each)
    return groups


def _row(key: Key, group: Sequence[Record], table: Table) -> dict[str, Any]:
    name, tool, minutes = key
    row: dict[str, Any] = {"set": name, "tool": tool, "minutes": minutes}
    good = [each for each in group if each["status"] == "ok"]
    row["seeds"] = [each["turn"]["seed"] for each in good]
    if failed := [each for each in group if each["status"] != "ok"]:
        row["failed"] = failed[0]["reason"]
    if not good:
        return row
    one = table.sets[name].score
    scores = [_score(each, one) for each in good]
    low, high = _interval(draws_of(good, one), len(good[0]["images"]))
    row |= {"score": float(np.mean(scores)), "low": low, "high": high}
    if len(scores) > 1:
        row["of_each_seed"] = scores
    row["train_s"] = max(each["train_s"] for each in good)
    row["train_processor_s"] = min(each["train_processor_s"] for each in good)
    row["predict_s"] = max(each["predict_s"] for each in good)
    row["late"] = _late(good)
    return row


def _score(record: Record, written: str) -> float:
    return float(score_of(written)(overlap_of(record["counts"]).summed()))


def draws_of(group: Sequence[Record], written: str) -> Scores:
    """(D,) the score of every draw of the test images, mean over the seeds."""
    score = score_of(written)
    return np.mean([drawn(overlap_of(each["counts"]), score) for each in group], axis=0)


def _interval(values_D: Scores, images: int) -> tuple[float | None, float | None]:
    if images < 2:
        return None, None
    low, high = interval(values_D)
    return float(low), float(high)


def differences(
    groups: Mapping[Key, Sequence[Record]], table: Table, of: str
) -> list[dict[str, Any]]:
    """Of one tool's score less every other's, over the seeds that both have."""
    found = []
    for (name, tool, minutes), group in groups.items():
        ours = groups.get((name, of, minutes))
        if tool == of or ours is None:
            continue
        pairs = _by_seed(ours), _by_seed(group)
        seeds = sorted(pairs[0].keys() & pairs[1].keys())
        if not seeds:
            continue
        written = table.sets[name].score
        mine, others = ([pair[seed] for seed in seeds] for pair in pairs)
        low, high = _interval(
            draws_of(mine, written) - draws_of(others, written), len(mine[0]["images"])
        )
        each = [_score(a, written) - _score(b, written) for a, b in zip(mine, others, strict=True)]
        found.append(
            {
                **{
                    "set": name,
                    "minutes": minutes,
                    "of": of,
                    "less": tool,
                    "difference": float(np.mean(each)),
                },
                **{"low": low, "high": high},
                "verdict": LATE_ONE if _late([*mine, *others]) else verdict(low, high),
            }
        )
    return found


def _late(records: Sequence[Record]) -> bool:
    return any(each["train_s"] > each["turn"]["minutes"] * 60 * (1 + LATE) for each in records)


def _by_seed(group: Sequence[Record]) -> dict[int, Record]:
    return {each["turn"]["seed"]: each for each in group if each["status"] == "ok"}


def verdict(low: float | None, high: float | None) -> str:
    """In words: whether the interval of a difference leaves 0 out."""
    if low is None or high is None or not (low > 0 or high < 0):
        return "not told apart"
    return "higher" if low > 0 else "lower"
