"""Suites: named grids, from YAML files, or from components of kind `benchmarks`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segkit.bench.suites.grid import AXES_OF_TASK, Grid
from segkit.errors import SegkitError, UsageError, did_you_mean, nearest
from segkit.registry.index import Index, singular

QUICK = "quick"
# Of exported files: the side of their images, pixels.
EXPORTED, ROUNDS, ROUND_SECONDS = 512, 5, 1.0
LARGEST_FILE = 1_000_000
SUFFIXES = (".yaml", ".yml")


class Suite(BaseModel):
    """What is measured together.

    rounds         how often every case has its turn, at least
    round_seconds  how long a turn lasts, at least
    minutes        that all of it may take; null: no limit
    baseline       the case that all others are held against (comparison/baselines.py); a grid's
                   own comes first
    needs          the command that installs what it measures beside segkit, where something is
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    about: str = ""
    rounds: int = Field(default=5, ge=2)
    round_seconds: float = Field(default=1.0, gt=0)
    minutes: float | None = Field(default=None, gt=0)
    baseline: str | dict[str, str | int | bool] | None = None
    needs: str | None = None
    grids: tuple[Grid, ...] = Field(min_length=1)


def find_suite(written: str, index: Index) -> Suite:
    """A file's path, the name of a suite, or a component of kind benchmarks, in this order.

    Raises UsageError SK-B003 where there is none, SK-C008 to SK-C010 where a file is wrong.
    """
    if written.endswith(SUFFIXES):
        return read_suite(Path(written))
    suites = known_suites()
    if written in suites:
        return read_suite(suites[written])
    benchmarks = [entry.name for entry in index.of_kind("benchmarks")]
    if written.partition("(")[0].partition("/")[0] in benchmarks:
        return _of_component(written, index)
    names = list(dict.fromkeys([*suites, *benchmarks]))
    axes = [singular(each.kind) for each in index.entries if each.name == written]
    axes = [axis for axis in axes if axis in AXES_OF_TASK["network"]]
    meant = f"Did you mean --{axes[0]} {written}? " if axes else ""
    raise UsageError(
        "SK-B003",
        f"there is no suite called '{written}'.",
        f"{meant or did_you_mean(written, names)}There are: {', '.join(names)}; "
        "or give a YAML file.",
    )


def suite_of_files(files: Sequence[str]) -> Suite:
    """The files as cases, all held against the first.

    Raises UsageError SK-C009 for a path that is no .onnx file.
    """
    for file in map(Path, files):
        if not file.is_file() or file.suffix != ".onnx":
            raise _no_onnx(file)
    grid = Grid(task="onnx", onnx=tuple(files), mode=("infer",), size=(EXPORTED,), batch=(1,))
    return Suite(
        name="export",
        about="Exported files, run by onnxruntime on the CPU.",
        rounds=ROUNDS,
        round_seconds=ROUND_SECONDS,
        baseline=files[0],
        grids=(grid,),
    )


def _no_onnx(file: Path) -> UsageError:
    where = file if file.is_dir() else file.parent
    beside = [str(each) for each in sorted(where.glob("*.onnx"))]
    if file.is_file():
        what = f"{file} is no .onnx file."
    else:
        what = f"{file} is a folder." if file.is_dir() else f"there is no file {file}."
    likely = beside if file.is_dir() else nearest(str(file), beside)
    meant = f"Did you mean {' or '.join(likely[:3])}?\n" if likely else ""
    fix = f"{meant}`segkit export RUN` writes such a file."
    return UsageError("SK-C009", f"--onnx {file}: {what}", fix)


def known_suites() -> dict[str, Path]:
    """The suites by name: this package's own, then those of a checkout."""
    here = Path(__file__).parent
    folders = [here, here.parents[2] / "benchmarks" / "suites", Path("benchmarks") / "suites"]
    found: dict[str, Path] = {}
    for folder in folders:
        for file in sorted(folder.glob("*.yaml")):
            found.setdefault(file.stem, file)
    return found


def read_suite(file: Path) -> Suite:
    """The suite a YAML file describes."""
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise UsageError(
                "SK-C010", f"{file} is larger than {LARGEST_FILE:,} bytes.", "Give a suite's file."
            )
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            "SK-C010", f"{file} cannot be read ({error}).", "A suite is a YAML file with `grids:`."
        ) from error
    if not isinstance(content, dict):
        raise UsageError(
            "SK-C010", f"{file} holds no settings.", "A suite is a YAML file with `grids:`."
        )
    try:
        return Suite.model_validate({"name": file.stem, **content})
    except ValidationError as error:
        raise _refused(file, error) from error


def _of_component(written: str, index: Index) -> Suite:
    from segkit.registry.components import Registry
    from segkit.registry.expression import parse_component

    registry = Registry(index)
    expression = parse_component(written)
    entry = index.find("benchmarks", expression)
    members: Iterable[str] = [written]
    if "/" not in expression.name and not expression.options:
        try:
            members = registry.members(entry) or [written]
        except SegkitError:
            # The case itself will be the row that says why.
            members = [written]
    about = f"{entry.distribution} {entry.version}"
    grid = Grid(task="benchmark", benchmark=tuple(members))
    return Suite(name=written, about=about, grids=(grid,))


def _refused(file: Path, error: ValidationError) -> UsageError:
    first: Any = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        known = [*Grid.model_fields, *Suite.model_fields]
        return UsageError(
            "SK-C008",
            f"{file}: '{place}' is no setting of a suite.",
            f"{did_you_mean(key, known)}A suite has: {', '.join(Suite.model_fields)}; "
            f"a grid: {', '.join(Grid.model_fields)}.",
        )
    return UsageError(
        "SK-C009",
        f"{file}: '{place}' cannot be {first['input']!r} ({first['msg']}).",
        "The suites in benchmarks/suites show every setting.",
    )
