"""One tool, one set, one seed: its two commands run, timed, and its masks counted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segkit.bench.quality.counting import WrongMasks, count
from segkit.bench.quality.preparing import Prepared
from segkit.bench.quality.table import Tool
from segkit.storage import read_json, replace_text

SCRIPTS = Path("benchmarks") / "quality"
# A training that takes so many times its minutes, and a minute more, is ended from outside.
PATIENCE, GRACE = 1.5, 60.0
# What prediction may take: it is not what is compared.
PREDICTION = 1800.0
# Seconds between looks whether a command has ended.
POLLED = 0.05
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Turn:
    """What is run: one tool on one set, for so many minutes, from one seed."""

    set: str
    tool: str
    minutes: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.set}-{self.tool}-{self.minutes:g}min-seed{self.seed}"


@dataclass(frozen=True)
class Place:
    """Where turns are run, and with what.

    peers    the Python that peers are installed in
    threads  of every tool
    jobs     turns that run at a time
    ended    set where those that still run are to be ended, without a record
    machine  what each record says of where it was run
    """

    folder: Path
    peers: Path
    threads: int
    jobs: int = 1
    ended: threading.Event = field(default_factory=threading.Event)
    machine: Mapping[str, Any] = field(default_factory=dict)

    def record_of(self, turn: Turn) -> Path:
        return self.folder / "records" / f"{turn.name}.json"


@dataclass(frozen=True)
class Taken:
    """Seconds on the wall and of the processor: fewer of these where others were at work."""

    wall: float
    processor: float


class CommandFailed(Exception):
    """A tool's command ended badly, or not in time."""


class Ended(Exception):
    """A command was ended because the contest was."""


def scripts() -> Path | None:
    """benchmarks/quality of the checkout this is, or of the one stood in; None without one."""
    for root in (Path(__file__).parents[3], Path.cwd()):
        if (root / SCRIPTS).is_dir():
            return root / SCRIPTS
    return None


def missing(tool: Tool, peers: Path) -> str | None:
    """Why a tool cannot run here, and what to type; None where it can."""
    if tool.train[0].endswith(".py") and scripts() is None:
        return "its script lies in benchmarks/quality: run this in a checkout"
    if tool.needs is None:
        return None
    asked = [str(peers), "-c", f"import importlib.util as u; assert u.find_spec('{tool.needs}')"]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        return f"{peers} has no {tool.needs}: {tool.install}, or name another with --peers"
    return None


def run(turn: Turn, tool: Tool, prepared: Prepared, place: Place) -> dict[str, Any]:
    """The turn's record, from an earlier start or made now, and written."""
    if (known := kept(turn, tool, prepared, place)) is not None:
        return known
    asked = _asked(tool, prepared, place)
    where = {"date": time.strftime("%Y-%m-%d"), "machine": place.machine}
    found = {"turn": vars(turn), "asked": asked, **where}
    found |= _attempt(turn, tool, prepared, place)
    file = place.record_of(turn)
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_text(file, json.dumps(found))
    return found


def kept(turn: Turn, tool: Tool, prepared: Prepared, place: Place) -> dict[str, Any] | None:
    """The record of an earlier start that ran the same commands on as many images and threads."""
    file = place.record_of(turn)
    if not file.is_file():
        return None
    found: dict[str, Any] = read_json(file)
    return found if found.get("asked") == _asked(tool, prepared, place) else None


def turns_kept(folder: Path) -> list[Turn]:
    """Every turn that has a record, whatever it was asked with."""
    return [Turn(**read_json(file)["turn"]) for file in sorted((folder / "records").glob("*.json"))]


def _asked(tool: Tool, prepared: Prepared, place: Place) -> dict[str, Any]:
    commands = {"train": list(tool.train), "predict": list(tool.predict)}
    return {**commands, "threads": place.threads, "images": [prepared.trained, prepared.tested]}


def _attempt(turn: Turn, tool: Tool, prepared: Prepared, place: Place) -> dict[str, Any]:
    logs = place.folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="segkit-quality-") as scratch,
        _log(logs / f"{turn.name}.txt") as log,
    ):
        work = Path(scratch)
        words = {
            **{"train": prepared.train, "images": prepared.images, "out": work / "out"},
            **{"model": work / "model", "minutes": f"{turn.minutes:g}", "seed": turn.seed},
            **{"threads": place.threads, "classes": len(prepared.classes)},
            "mirrored": read_json(prepared.folder / "prepared.json")["asked"]["mirrored"],
        }
        environment = _environment(place, work)
        limit = turn.minutes * 60 * PATIENCE + GRACE
        try:
            train = _command(tool.train, words, place)
            predict = _command(tool.predict, words, place)
            trained = timed(train, environment, limit, log, place.ended)
            predicted = timed(predict, environment, PREDICTION, log, place.ended)
            counts = count(prepared, work / "out" / "masks")
        except (CommandFailed, WrongMasks) as error:
            return {"status": "failed", "reason": str(error)}
    overlap = counts.overlap
    per_image = zip(overlap.hit_XK, overlap.truth_XK, overlap.predicted_XK, strict=True)
    return {
        "status": "ok",
        "train_s": round(trained.wall, 1),
        "train_processor_s": round(trained.processor, 1),
        "predict_s": round(predicted.wall, 1),
        "images": list(counts.names),
        "counts": [[part.tolist() for part in each] for each in per_image],
    }


def _log(file: Path) -> Any:
    return file.open("w", encoding="utf-8")


def _command(words: Sequence[str], values: Mapping[str, object], place: Place) -> list[str]:
    filled = [word.format_map(values) for word in words]
    if filled[0] == "segkit":
        return [sys.executable, "-m", "segkit", *filled[1:]]
    if filled[0].endswith(".py"):
        home = scripts()
        return [str(place.peers), str(home / filled[0] if home else filled[0]), *filled[1:]]
    return filled


def _environment(place: Place, work: Path) -> dict[str, str]:
    """As this process has it, but nothing kept from an earlier turn, and nothing downloaded."""
    (work / "cache").mkdir()
    own = {"SEGKIT_CACHE": str(work / "cache"), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    own |= dict.fromkeys(THREADS, str(place.threads))
    return {**os.environ, **own, "PYTHONUNBUFFERED": "1"}


def timed(
    command: Sequence[str],
    environment: Mapping[str, str],
    limit: float,
    log: Any,
    ended: threading.Event,
    clock: Callable[[], float] = time.perf_counter,
) -> Taken:
    """What a command took, with all it started and waited for; raises CommandFailed, or Ended."""
    log.write(f"$ {' '.join(command)}\n")
    log.flush()
    start = clock()
    with subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            processor = _awaited(process, limit, ended)
        finally:
            # Also what it has left behind, which would slow the next one down.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    taken = Taken(clock() - start, processor)
    if process.returncode:
        raise CommandFailed(f"status {process.returncode}: see logs/{Path(log.name).name}")
    return taken


def _awaited(process: subprocess.Popen[bytes], limit: float, ended: threading.Event) -> float:
    """Seconds of the processor that it took, with all that it started and waited for."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        # wait() does not tell them, and os.times() adds up those of turns that run beside.
        gone, status, used = os.wait4(process.pid, os.WNOHANG)
        if gone:
            process.returncode = os.waitstatus_to_exitcode(status)
            return used.ru_utime + used.ru_stime
        if ended.wait(POLLED):
            raise Ended
    raise CommandFailed(f"it had not ended after {limit:.0f} s")
