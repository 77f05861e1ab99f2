"""What a benchmark found, with its conditions: one frozen object, read and written as JSON.

Seconds, bytes and FLOP/s throughout; one multiply-add is two FLOPs. `schema.json` beside this file
is the published JSON Schema of results.json; `json_schema` generates it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from segkit.bench.records.compact_json import compact
from segkit.bench.records.controls import Controls
from segkit.bench.records.machine import Ceilings, Environment
from segkit.bench.records.record import Record
from segkit.bench.records.row import Row
from segkit.errors import UsageError

FORMAT: Literal["segkit-bench/2"] = "segkit-bench/2"


class Method(Record):
    """How the times were taken."""

    rounds: int
    round_seconds: float
    workers_alive: int = Field(description="most processes kept at once, all but one paused")
    order: str
    seed: int
    minutes: float | None = Field(default=None, description="that all of it could take at most")
    jobs: int = Field(default=1, description="workers that shared the cases; minutes are of each")


class Run(Record):
    """One `segkit bench`: conditions, ceilings, A/A line and rows."""

    format: Literal["segkit-bench/2"] = FORMAT
    command: str
    started: str = Field(description="ISO 8601, UTC")
    seconds: float
    suite: str
    about: str = ""
    environment: Environment
    method: Method
    ceilings: Ceilings | None = None
    aa: Controls | None = None
    rows: tuple[Row, ...]
    interrupted: bool = Field(default=False, description="ended by hand before its end")

    def to_json(self) -> str:
        """The text of results.json; what is not known is left out."""
        return compact(self.model_dump(mode="json", exclude_none=True)) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "the text") -> Run:
        """Raises UsageError SK-B001 where the text is no result of this format."""
        try:
            content = json.loads(text)
        except ValueError as error:
            raise _unreadable(where, f"it is no JSON ({error})") from error
        found = content.get("format") if isinstance(content, dict) else None
        if found != FORMAT:
            raise _unreadable(where, f"its format is {found!r}, not {FORMAT!r}")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise _unreadable(where, f"{place}: {first['msg']}") from error


def read_run(path: Path) -> Run:
    """The run of a results.json, or of the folder that holds it; raises UsageError SK-B001."""
    file = path / "results.json" if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(str(file), f"{type(error).__name__}: {error}") from error
    return Run.from_json(text, str(file))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of results.json."""
    schema = Run.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _unreadable(where: str, why: str) -> UsageError:
    return UsageError(
        "SK-B001",
        f"{where} is no result of `segkit bench`: {why}.",
        "Give the results.json, or its folder, that `segkit bench --out DIR` wrote.",
    )
