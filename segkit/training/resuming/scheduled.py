"""One command line for a scheduler: it starts a run, and goes on with it when given again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from segkit.config import CHANGEABLE, TrainConfig, layered
from segkit.training.resuming.identity import word

PATHS = ("data", "weights")


def contradictions(
    run: TrainConfig,
    file: Path | None = None,
    options: Mapping[str, Any] | None = None,
    assignments: Iterable[str] = (),
) -> tuple[dict[str, Any], list[str]]:
    """What a command line that also starts runs says of one that is there already.

    Gives the settings that may change and do, and a sentence for each that may not and would.
    What is left to segkit ("auto" or none) contradicts nothing. Raises as `layered` does.
    """
    wanted = layered(file, options, assignments)
    said = wanted.model_dump(exclude_unset=True)
    changes: dict[str, Any] = {}
    against: list[str] = []
    for key, value in said.items():
        was = getattr(run, key)
        same = value == was or (key in PATHS and _resolved(value) == _resolved(was))
        if same or value in (None, "auto") or key == "out":
            continue
        if key in CHANGEABLE:
            changes[key] = value
        else:
            against.append(f"{key} is to be {word(value)} and was {word(was)}")
    return changes, against


def _resolved(path: Any) -> str:
    return str(Path(str(path)).expanduser().resolve())
