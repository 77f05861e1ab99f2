"""Checks of a launcher's contract, with command lines that take a moment."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segkit.interfaces import Job, JobNews
from segkit.testing.conduct import Use, conduct_checks
from segkit.testing.subject import Check, NotApplicable, Subject, require

# Whatever a shell would do something with.
AWKWARD = ("two words", "it's", "$HOME", "*", ";exit 9", '"', "`false`", "", "ä")
TELL = "import json, os, sys; print(json.dumps([os.getcwd(), os.environ.get({!r}), sys.argv[1:]]))"
VARIABLE = "SEGKIT_CONFORMANCE"
SECONDS_TO_BEGIN, SECONDS_TO_END = 30.0, 5.0


def tells_launch_and_end_of_every_job(subject: Subject) -> None:
    """launch() gives, for every job, the news that it was launched and then once that it ended.

    Mend: yield JobNews(job, "launched", where) when a job is handed over and JobNews(job, "ended",
    where, status) when it is over, with the very Job that was given.
    """
    with _place() as place:
        jobs = [_job(place, f"job-{number}", "pass") for number in range(3)]
        news = list(_build(subject, place).launch(jobs))
    told = [(each.job.name, each.what) for each in news]
    for job in jobs:
        own = [what for name, what in told if name == job.name]
        require(own == ["launched", "ended"], f"of {job.name} it told {own}")
    require(all(each.where for each in news), "where a job is was left empty")


def gives_the_exit_status(subject: Subject) -> None:
    """The status of an end is the command's own: 0, 3, and 128 + N where signal N ended it.

    Mend: wait for the command itself and pass its status on; a negative one of Python's is the
    signal's number.
    """
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    expected = {"well": 0, "badly": 3, "killed": 137}
    with _place() as place:
        programs = {"well": "pass", "badly": "raise SystemExit(3)", "killed": killed}
        jobs = [_job(place, name, program) for name, program in programs.items()]
        ends = _ends(subject, place, jobs)
    require(ends == expected, f"the statuses were {ends}, not {expected}")


def runs_the_very_words(subject: Subject) -> None:
    """The command gets its words as they are, in its folder, with its environment's variables.

    Mend: pass the words as a list, without a shell, or quote each with shlex.quote; set cwd and
    the variables of job.environment beside those that are there.
    """
    with _place() as place:
        (place / "inner folder").mkdir()
        job = _job(place, "words", TELL.format(VARIABLE), *AWKWARD, folder=place / "inner folder")
        ends = _ends(subject, place, [job])
        printed = job.log.read_text("utf-8") if job.log.is_file() else ""
    require(ends == {"words": 0}, f"the status was {ends['words']}")
    require(bool(printed.strip()), "nothing was in the log")
    folder, variable, words = json.loads(printed.splitlines()[-1])
    require(Path(folder).name == "inner folder", f"it ran in {folder}")
    require(variable == "it's set", f"{VARIABLE} was {variable!r}")
    require(tuple(words) == AWKWARD, f"the words were {words}, not {list(AWKWARD)}")


def appends_to_the_log(subject: Subject) -> None:
    """What the command prints, errors too, is added to the job's log, whose folder may be new.

    Mend: open job.log for appending ("ab"), after making its folder, for stdout and stderr alike.
    """
    program = "import sys; print('out'); print('err', file=sys.stderr)"
    with _place() as place:
        job = _job(place, "printing", program)
        _ends(subject, place, [job])
        require(job.log.is_file(), "there was no log")
        _ends(subject, place, [job])
        lines = sorted(job.log.read_text("utf-8").split())
    require(lines == ["err", "err", "out", "out"], f"after two runs the log held {lines}")


def closing_ends_what_does_not_outlive(subject: Subject) -> None:
    """Unless it outlives, closing the iterator ends the jobs that run, by SIGTERM first.

    Mend: end them in a `finally` around the loop that yields; or say outlives = True where they go
    on by themselves.
    """
    program = (
        "import os, signal, sys, time; from pathlib import Path; here = Path({!r})\n"
        "signal.signal(signal.SIGTERM, lambda *_: (here.with_name('asked').touch(), sys.exit(1)))\n"
        "here.write_text(str(os.getpid())); time.sleep(600)"
    )
    with _place() as place:
        launcher = _build(subject, place)
        if launcher.outlives:
            raise NotApplicable("its jobs outlive it")
        begun = place / "begun"
        news: Iterator[JobNews] = launcher.launch(
            [_job(place, "sleeping", program.format(str(begun)))]
        )
        next(news)
        has_begun = _comes(lambda: begun.is_file() and begun.read_text() != "", SECONDS_TO_BEGIN)
        require(has_begun, "it never began")
        process = int(begun.read_text())
        news.close()  # type: ignore[attr-defined]
        ended = _comes(lambda: not _is_there(process), SECONDS_TO_END)
        asked = (place / "asked").is_file()
        if not ended:
            os.kill(process, 9)
    require(ended, "the job went on")
    require(asked, "the job was ended without being asked to")


@contextmanager
def use(subject: Subject) -> Iterator[Use]:
    """A launcher that is built; what it does when it launches is its own affair."""
    with _place() as place:
        yield Use(lambda: _build(subject, place), lambda launcher: None)


BASIC = tells_launch_and_end_of_every_job
CHECKS: tuple[Check, ...] = (
    tells_launch_and_end_of_every_job,
    gives_the_exit_status,
    runs_the_very_words,
    appends_to_the_log,
    closing_ends_what_does_not_outlive,
    *conduct_checks(use),
)


def _build(subject: Subject, place: Path) -> Any:
    return subject.build(folder=place / "launcher")


@contextmanager
def _place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder).resolve()


def _job(place: Path, name: str, program: str, *words: str, folder: Path | None = None) -> Job:
    return Job(
        name=name,
        command=(sys.executable, "-c", program, *words),
        folder=folder or place,
        log=place / "logs" / f"{name}.log",
        environment={VARIABLE: "it's set"},
        gpus=0,
        cpus=1,
    )


def _ends(subject: Subject, place: Path, jobs: Sequence[Job]) -> dict[str, int | None]:
    news = _build(subject, place).launch(jobs)
    return {each.job.name: each.status for each in news if each.what == "ended"}


def _comes(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it holds within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except OSError:
        return sys.platform != "linux"
    return state != "Z"
