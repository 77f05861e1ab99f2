"""The points of a sweep: every combination of a grid, or a list, each a whole configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from segkit.config import TrainConfig, layered, load_yaml
from segkit.errors import UsageError
from segkit.launchers.jobs import plain_name

MOST_POINTS = 10_000


@dataclass(frozen=True)
class Point:
    """One training of a sweep.

    name      of its folder: "lr=0.001_loss=dice_seed=0"
    settings  what the sweep varies, as it was written
    """

    name: str
    settings: Mapping[str, str]
    config: TrainConfig


def points_of(
    grid: Sequence[tuple[str, Sequence[str]]],
    listed: Sequence[Mapping[str, str]] = (),
    *,
    file: Path | None = None,
    options: Mapping[str, Any] | None = None,
    assignments: Iterable[str] = (),
) -> list[Point]:
    """Each point of the list with each combination of the grid, over the settings they share.

    Raises UsageError: SK-L004 for what clashes, and as `segkit.config.layered` does.
    """
    fixed = [text.partition("=")[0].strip().replace("-", "_") for text in assignments]
    _refuse_clashes(grid, listed, [*fixed, *(options or {})])
    combinations = product(*[[(key, value) for value in values] for key, values in grid])
    chosen = [{**own, **dict(each)} for each in combinations for own in (listed or [{}])]
    if len(chosen) > MOST_POINTS:
        raise UsageError(
            "SK-L004", f"the sweep has {len(chosen):,} points.", f"At most {MOST_POINTS:,} can be."
        )
    points: list[Point] = []
    for settings in chosen:
        config = _config(settings, file, options, assignments)
        if config.folds and not config.fold:
            raise UsageError(
                "SK-L004",
                f"folds is {config.folds}, and a point of a sweep is one training.",
                f"Make each fold a point: --grid fold=1,2,...,{config.folds} --folds "
                f"{config.folds}; or cross-validate by segkit train --folds {config.folds}.",
            )
        twin = next((each for each in points if each.config == config), None)
        name = _name(settings)
        if twin:
            raise UsageError(
                "SK-L004",
                f"two points are the same training: {twin.name} and {name}.",
                "Leave one of the values out.",
            )
        points.append(Point(name, settings, config))
    return points


def grid_of(written: Iterable[str]) -> list[tuple[str, list[str]]]:
    """`lr=1e-3,3e-4` as (key, values), for each; values are split at commas outside brackets."""
    grid = []
    for text in written:
        key, equals, values = text.partition("=")
        key, found = key.strip().replace("-", "_"), split_values(values)
        if not equals or not key or not found:
            raise UsageError(
                "SK-L004", f"--grid {text} names no values.", "Write --grid lr=0.001,0.0003."
            )
        grid.append((key, found))
    return grid


def listed_in(file: Path) -> list[dict[str, str]]:
    """The points of a YAML file: a list of `{setting: value}`; raises UsageError SK-C010."""
    try:
        content = load_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _unreadable(file, " ".join(str(error).split())) from error
    if not isinstance(content, list) or not content:
        raise _unreadable(file, "it is no list")
    for each in content:
        plain = isinstance(each, dict) and all(
            value is None or isinstance(value, str | int | float) for value in each.values()
        )
        if not plain or not each:
            raise _unreadable(file, f"{each!r} is no point")
    return [{str(key): _written(value) for key, value in each.items()} for each in content]


def split_values(text: str) -> list[str]:
    """`focal(gamma=2, alpha=[1, 2]), ce` at the commas outside brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _config(
    settings: Mapping[str, str],
    file: Path | None,
    options: Mapping[str, Any] | None,
    assignments: Iterable[str],
) -> TrainConfig:
    own = [f"{key}={value}" for key, value in settings.items()]
    try:
        return layered(file, options, [*assignments, *own])
    except UsageError as error:
        what = error.what
        for key in settings:
            what = what.replace(f"--set {key}:", f"the sweep's {key}:")
        raise UsageError(error.code, what, error.fix) from error


def _refuse_clashes(
    grid: Sequence[tuple[str, Sequence[str]]],
    listed: Sequence[Mapping[str, str]],
    fixed: Sequence[str],
) -> None:
    keys = [key for key, _ in grid]
    in_list = {key for each in listed for key in each}
    for key in {*keys, *in_list}:
        if key == "out":
            raise UsageError(
                "SK-L004", "a sweep names its runs' folders itself.", "Give --out for all of them."
            )
        twice = keys.count(key) > 1 or (key in keys and key in in_list)
        if twice or key in fixed:
            also = "as a point's" if key in in_list and key in keys else "by an option or --set"
            also = "twice" if keys.count(key) > 1 else f"by --grid or a list and {also}"
            raise UsageError("SK-L004", f"{key} is given {also}.", "Give it once.")


def _name(settings: Mapping[str, str]) -> str:
    return plain_name("_".join(f"{key}={value}" for key, value in settings.items()) or "point")


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def _unreadable(file: Path, why: str) -> UsageError:
    return UsageError(
        "SK-C010",
        f"{file} holds no points of a sweep ({why}).",
        "Write a list, a point a line: - {lr: 0.001, loss: dice}",
    )
