"""A grid of components and settings, and the cases it amounts to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from segkit.bench.records.case import Case, Compile, Mode, Precision, Task
from segkit.errors import UsageError, did_you_mean
from segkit.registry.expression import parse_sum
from segkit.registry.index import Index, singular

KIND_OF_AXIS = {
    "encoder": "encoders",
    "decoder": "decoders",
    "upsampler": "upsamplers",
    "loss": "losses",
    "benchmark": "benchmarks",
}
# What each task is measured with; the other axes mean nothing to it.
AXES_OF_TASK = {
    "network": ("encoder", "decoder", "upsampler", "loss"),
    "encoder": ("encoder",),
    "loss": ("loss",),
    "upsampler": ("upsampler",),
    "data": ("data",),
    "benchmark": ("benchmark",),
    "onnx": ("onnx",),
}
DEFAULTS = {
    "encoder": "densenet121",
    "decoder": "unet",
    "upsampler": "bilinear",
    "loss": "dice+ce",
    "data": "demo",
}
# Sizes and batches that `auto` chooses from, large enough to help to choose; and the FLOPs of a
# training step of the classic U-Net (64 to 1024 channels), by the pixel: forward 386e9 an image of
# 512 x 512, and three times that in training.
LADDER = ((256, 1), (256, 2), (256, 4), (256, 8), (512, 8), (512, 16))
UNET_TRAINING_FLOPS = 3 * 386e9 / 512**2
AUTO_STEP_SECONDS = 0.5

Auto = Literal["auto"]


class Grid(BaseModel):
    """Every combination of the values given; an axis takes one value or a list.

    Names of components may be patterns such as `densenet*`, or `all`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    task: Task = "network"
    encoder: tuple[str, ...] = ()
    decoder: tuple[str, ...] = ()
    upsampler: tuple[str, ...] = ()
    loss: tuple[str, ...] = ()
    benchmark: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    onnx: tuple[str, ...] = ()
    mode: tuple[Mode, ...] = ("train",)
    size: tuple[int | Auto, ...] = (256,)
    batch: tuple[int | Auto, ...] = (8,)
    classes: tuple[int, ...] = (21,)
    channels: tuple[int, ...] = ()
    precision: tuple[Precision, ...] = ("fp32",)
    compile: tuple[Compile, ...] = ("no",)
    channels_last: tuple[bool, ...] = (True,)
    workers: tuple[int, ...] = (0,)
    threads: tuple[int, ...] = ()
    only_installed: bool = Field(
        default=False, description="leave out encoders that no installed plugin offers"
    )
    baseline: str | dict[str, str | int | bool] | None = Field(
        default=None, description="the case that this grid's cases are held against"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _as_list(cls, value: Any, info: Any) -> Any:
        if info.field_name in ("task", "only_installed", "baseline"):
            return value
        values = value if isinstance(value, list | tuple) else [value]
        # YAML reads yes and no as truth values.
        if info.field_name == "compile":
            values = [{True: "yes", False: "no"}.get(each, each) for each in values]
        return tuple(values)


def cases_of(grid: Grid, *, device: str, flops: float | None, index: Index) -> tuple[Case, ...]:
    """All combinations, each once, in the grid's order.

    flops   the device's arithmetic ceiling, FLOP/s, from which `auto` chooses size and batch
    Raises UsageError SK-C003 where a pattern fits no component.
    """
    own = AXES_OF_TASK[grid.task]
    names = {axis: _names(grid, axis, index) for axis in own}
    sizes = _sizes(grid, flops)
    cases: dict[str, Case] = {}
    for parts in product(*names.values()):
        named = dict(zip(own, parts, strict=True))
        for mode, (size, batch), classes, precision, compiled, last, workers, threads in product(
            grid.mode,
            sizes,
            grid.classes,
            grid.precision,
            grid.compile,
            grid.channels_last,
            grid.workers,
            grid.threads or (None,),
        ):
            settings: dict[str, Any] = {"mode": mode, "size": size, "batch": batch}
            settings |= {"precision": precision, "compile": compiled, "channels_last": last}
            settings |= {"classes": classes, "workers": workers, "threads": threads}
            for channels in grid.channels or (64 if grid.task == "upsampler" else 3,):
                case = _case(grid.task, named, settings | {"channels": channels}, device)
                cases.setdefault(case.name, case)
    return tuple(cases.values())


def overridden(grids: Sequence[Grid], axes: Mapping[str, Sequence[Any]]) -> tuple[Grid, ...]:
    """The grids with the axes given on the command line in place of their own."""
    given = {axis: tuple(values) for axis, values in axes.items() if values}
    return tuple(Grid.model_validate(grid.model_dump() | given) for grid in grids)


def _case(task: str, named: Mapping[str, str], settings: dict[str, Any], device: str) -> Case:
    parts: dict[str, Any] = dict(named)
    if task == "network" and settings["mode"] == "infer":
        parts["loss"] = None
    if task == "data":
        settings = settings | {"mode": "train", "precision": "fp32", "compile": "no"}
    if task == "onnx":
        settings = settings | {"mode": "infer", "precision": "fp32", "compile": "no"}
    if task != "data":
        settings = settings | {"workers": 0}
    return Case.model_validate({"task": task, "device": device, **parts, **settings})


def _sizes(grid: Grid, flops: float | None) -> list[tuple[int, int]]:
    """Size and batch together; where either is `auto`, what fits this machine."""
    fitting = [
        (size, batch)
        for size, batch in LADDER
        if flops is None or UNET_TRAINING_FLOPS * size**2 * batch <= AUTO_STEP_SECONDS * flops
    ]
    auto_size, auto_batch = LADDER[0] if flops is None or not fitting else fitting[-1]
    return [
        (auto_size if size == "auto" else size, auto_batch if batch == "auto" else batch)
        for size, batch in product(grid.size, grid.batch)
    ]


def _names(grid: Grid, axis: str, index: Index) -> tuple[str, ...]:
    written: tuple[str, ...] = getattr(grid, axis)
    if not written:
        return (DEFAULTS[axis],) if axis in DEFAULTS else ()
    if axis in ("data", "onnx"):
        return written
    found: list[str] = []
    for each in written:
        found += _matching(each, KIND_OF_AXIS[axis], index, grid.only_installed)
    return tuple(dict.fromkeys(found))


def _matching(written: str, kind: str, index: Index, only_installed: bool) -> Iterable[str]:
    names = [entry.name for entry in index.of_kind(kind) if entry.state == "ok"]
    pattern = "*" if written == "all" else written
    if not _is_pattern(pattern):
        family = written.partition("(")[0].partition("/")[0]
        return [written] if not only_installed or family in names else []
    fitting = [name for name in names if fnmatchcase(name, pattern)]
    if not fitting:
        raise UsageError(
            "SK-C003",
            f"no installed {singular(kind)} fits '{written}'.",
            f"{did_you_mean(written, names)}`segkit list {kind}` shows all {len(names)}.",
        )
    return fitting


def refuse_unknown_names(axes: Mapping[str, Sequence[Any]], index: Index) -> None:
    """Raises as Index.find where a name given, which is no pattern, is that of no component."""
    for axis, kind in KIND_OF_AXIS.items():
        plain = [str(each) for each in axes.get(axis, ()) if each != "all"]
        for each in (each for each in plain if not _is_pattern(each)):
            for term in parse_sum(each):
                index.find(kind, term.component)


def _is_pattern(written: str) -> bool:
    """Whether it has wildcards; the star of 0.5*dice and the brackets of a list are none."""
    if "(" in written or "+" in written or re.match(r"[\d.]+\s*\*", written):
        return False
    return any(mark in written for mark in "*?[")


def split_list(text: str) -> list[str]:
    """`dice,focal(gamma=2, alpha=[1, 2]),dice+ce` at the commas outside brackets."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]
