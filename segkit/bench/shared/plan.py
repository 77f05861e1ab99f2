"""What workers share: the cases, who has taken which, and what each has found. Files in a folder.

plan.json      what is to be measured, and how
claims/N       which worker has taken the N-th case
workers/N.json what the N-th worker has found so far
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError

from segkit.bench.records.case import Case
from segkit.bench.records.machine import Ceilings, Environment
from segkit.bench.records.record import Record
from segkit.bench.records.row import Row
from segkit.errors import UsageError, first_line
from segkit.storage import read_json, replace_text, storage_errors

Seconds = tuple[tuple[float, ...], ...]


class Plan(Record):
    """One benchmark for several workers.

    cases       in the order in which they are taken
    baselines   the name of each one's baseline, where it has one
    minutes     that each worker may take; None: no limit
    """

    command: str
    suite: str
    about: str
    device: str
    cases: tuple[Case, ...] = Field(min_length=1)
    baselines: Mapping[str, str]
    rounds: int = Field(ge=2)
    round_seconds: float = Field(gt=0)
    prepare_timeout: float = Field(gt=0)
    minutes: float | None = None
    threads: int | None = None
    trace_folder: str | None = None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Of a folder; raises UsageError SK-C012 where it holds none."""
        try:
            return cls.model_validate(read_json(folder / "plan.json"))
        except (OSError, ValueError) as error:
            raise UsageError(
                "SK-C012",
                f"{folder} holds no benchmark to join ({first_line(error)}).",
                "`segkit bench SUITE --launcher local --jobs 2` begins one.",
            ) from error

    def write(self, folder: Path) -> None:
        with storage_errors(folder):
            for name in ("claims", "workers"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            replace_text(folder / "plan.json", self.model_dump_json(indent=1) + "\n")


class Beside(Record):
    """The reference case while it had its turns beside another: the A/A control of all workers.

    rounds   seconds of its steps, by round
    """

    rounds: Seconds
    peak_bytes: int


class Share(Record):
    """What one worker has found.

    rows      of the cases it took, by name
    beside    the reference case in the rounds of each
    samples   the seconds of every step, by case, phase and round
    """

    environment: Environment
    ceilings: Ceilings | None = None
    rows: Mapping[str, Row] = Field(default_factory=dict)
    beside: Mapping[str, Beside] = Field(default_factory=dict)
    samples: Mapping[str, Mapping[str, Seconds]] = Field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, worker: int) -> Self | None:
        """None where the worker has found nothing yet."""
        try:
            return cls.model_validate(read_json(_file_of(folder, worker)))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise UsageError(
                "SK-C012",
                f"{_file_of(folder, worker)} is no worker's result ({first_line(error)}).",
                "Remove the file; what it held is measured again.",
            ) from error

    def write(self, folder: Path, worker: int) -> None:
        with storage_errors(folder):
            replace_text(_file_of(folder, worker), self.model_dump_json() + "\n")


def take(folder: Path, plan: Plan, worker: int, done: Mapping[str, Row]) -> Case | None:
    """The next case for a worker, its own from then on; None where no case is left.

    One that it had taken and that is not done comes first: it was started again.
    """
    for number, case in enumerate(plan.cases):
        if case.name not in done and owner(folder, number) == worker:
            return case
    for number, case in enumerate(plan.cases):
        if _claimed(folder / "claims" / str(number), worker):
            return case
    return None


def owner(folder: Path, number: int) -> int | None:
    """The worker that has taken a case; None while nobody has."""
    try:
        return int((folder / "claims" / str(number)).read_text())
    except (FileNotFoundError, ValueError):
        return None


def _claimed(file: Path, worker: int) -> bool:
    """Makes the file, unless it is there: of several workers it is made by one."""
    try:
        with file.open("x") as claim:
            claim.write(str(worker))
    except FileExistsError:
        return False
    return True


def _file_of(folder: Path, worker: int) -> Path:
    return folder / "workers" / f"{worker}.json"
