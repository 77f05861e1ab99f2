"""The contracts of what is run for its own sake: benchmarks, and jobs that a launcher runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable


@runtime_checkable
class Benchmark(Protocol):
    """One thing to measure, in a process of its own.

    unit  what one run processes, such as "image"

    Built with device ("cpu", "cuda", ...). set_up() prepares everything that is not to be measured;
    run() does the work once and returns how many units it processed.

    Options named mode, size, batch, classes, precision, channels_last, compile or loss receive the
    case's own, unless the user wrote another.

    Optional:
    check()   (error, largest error allowed) of what run() computes, against a reference in float64;
              no speed is shown where the first is the larger
    counts    {"parameters": ..., "multiply_adds": ..., "flops": ..., "fewest_bytes": ...} of a run
    """

    @property
    def unit(self) -> str: ...

    def set_up(self) -> None: ...

    def run(self) -> int: ...


@dataclass(frozen=True)
class Job:
    """One command line that a launcher runs somewhere, and what it needs there.

    name         among the jobs launched with it: letters, digits and ._+=-, a letter or digit first
    command      its words, the program first
    folder       where it runs, absolute
    log          file to which all that it prints is appended, absolute
    environment  variables that it has besides those of its launcher
    processes    that the command starts by itself, on one machine; all that follows is for all of
                 them together
    gpus         None: one a process where the machine has any
    cpus         cores; None: as many as the launcher usually gives
    memory_gib   GiB of memory; None: not known
    minutes      after which it may be asked to end (SIGTERM); None: never
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1
    gpus: int | None = None
    cpus: int | None = None
    memory_gib: float | None = None
    minutes: float | None = None


@dataclass(frozen=True)
class JobNews:
    """What became of a job.

    what     launched: it was handed over, and may have to wait yet; ended
    where    in words: "process 4711 on this machine", "SLURM job 128_3"
    status   of one that ended: its exit status, 128 + N where signal N ended it; None where nobody
             knows it, since its machine was lost or it never ran
    reason   why the status is not known, a half-sentence; else empty
    """

    job: Job
    what: Literal["launched", "ended"]
    where: str
    status: int | None = None
    reason: str = ""


@runtime_checkable
class Launcher(Protocol):
    """Runs command lines on this machine or on others: never functions, never pickled objects.

    outlives   whether jobs go on when the process that launched them ends

    Built with folder: an empty or earlier used one, for scripts and notes of its own. launch(jobs)
    gives two pieces of news of every job: that it was launched, before which everything is refused
    that cannot be run at all, and, once, that it ended; in any order of jobs. Where the iterator is
    closed early, jobs of a launcher that does not outlive are ended, by SIGTERM first.

    A command may be run again where its machine was lost: it must bear that, as
    `segkit train --resume-or-start RUN` does. No shell reads its words.
    """

    @property
    def outlives(self) -> bool: ...

    def launch(self, jobs: Sequence[Job]) -> Iterator[JobNews]: ...
