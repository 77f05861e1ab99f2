"""What is held against what: sets with their splits, tools with their commands, as a YAML file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from segkit.errors import UsageError, did_you_mean

OURS = Path(__file__).with_name("sets_and_tools.yaml")
# Between a tool and the lever that it lacks.
WITHOUT = "-without-"
SCORE = re.compile(r"(miou)|(iou|dice)\((\d+)\)")


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSet(_Entry):
    """A data set, and which of its images are tested; the file says what each field means."""

    test: Literal["given"] | tuple[str, ...]
    why: str
    score: str
    mirrored: Literal["none", "horizontally", "both"]
    left_out: tuple[str, ...] = ()
    field_of_view: str | None = None
    publish: bool = True
    options: Mapping[str, Any] = Field(default_factory=dict)

    @field_validator("score")
    @classmethod
    def _known(cls, score: str) -> str:
        if not SCORE.fullmatch(score):
            raise ValueError("give miou, iou(CLASS) or dice(CLASS)")
        return score


class Tool(_Entry):
    """Two commands, and what they need; the file says what may stand in them."""

    about: str
    train: tuple[str, ...]
    predict: tuple[str, ...]
    needs: str | None = None
    install: str | None = None


class Table(_Entry):
    """All that a contest can be about, and the levers of a tool: options that turn one off."""

    sets: Mapping[str, DataSet]
    tools: Mapping[str, Tool]
    levers: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    levers_of: str = "auto"

    @model_validator(mode="after")
    def _levers_of_a_tool(self) -> Table:
        if self.levers and self.levers_of not in self.tools:
            raise ValueError(f"levers_of is '{self.levers_of}', which is no tool")
        return self

    def with_levers(self) -> Table:
        """The table with a tool more for every lever: the tool without it."""
        if not self.levers:
            return self
        whole = self.tools[self.levers_of]
        less = {
            name: whole.model_copy(
                update={
                    "train": (*whole.train, *options),
                    "about": f"{self.levers_of} with {' '.join(options)}",
                }
            )
            for name, options in self.lever_names().items()
        }
        return self.model_copy(update={"tools": {**self.tools, **less}})

    def lever_names(self) -> dict[str, tuple[str, ...]]:
        """By the tool's name: what is added to the whole tool's command."""
        return {f"{self.levers_of}{WITHOUT}{name}": each for name, each in self.levers.items()}


def read_table(file: Path = OURS) -> Table:
    """The table in a file; raises UsageError SK-C010 where it cannot be read, SK-C009 else."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            "SK-C010", f"{file} cannot be read ({error}).", f"A table looks like {OURS}."
        ) from error
    try:
        return Table.model_validate(content)
    except ValidationError as error:
        first: Any = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        given = repr(first["input"]) if isinstance(first["input"], str | float) else "so"
        raise UsageError(
            "SK-C009",
            f"{file}: {place} cannot be {given} ({first['msg']}).",
            f"A table looks like {OURS}.",
        ) from error


def chosen(names: Sequence[str] | None, known: Sequence[str], what: str) -> list[str]:
    """The names asked for, or all; raises UsageError SK-B003 for one that is not there."""
    for name in names or ():
        if name not in known:
            raise UsageError(
                "SK-B003",
                f"there is no {what} called '{name}' in the table.",
                f"{did_you_mean(name, known)}There are: {', '.join(known)}.",
            )
    return list(dict.fromkeys(names or known))
