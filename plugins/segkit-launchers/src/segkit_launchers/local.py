"""This machine: as many jobs at once as its GPUs, cores and memory allow."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segkit.api import EnvironmentFault, Job, JobNews
from segkit_launchers.machine import Machine

SECONDS_BETWEEN_LOOKS = 0.2
# A training that is asked to end saves after its step under way, which may be long.
SECONDS_TO_SAVE = 600
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


@dataclass(frozen=True)
class Share:
    """What one job has of the machine."""

    gpus: tuple[str, ...]
    cpus: int
    memory_gib: float


@dataclass
class Running:
    """A job's process, and when it is to be asked to end, by the clock."""

    job: Job
    share: Share
    process: subprocess.Popen[bytes]
    until: float | None

    @property
    def where(self) -> str:
        on = f", GPU {','.join(self.share.gpus)}" if self.share.gpus else ""
        return f"process {self.process.pid} on this machine{on}"


class LocalLauncher:
    """Processes on this machine, so many at once as fit; the others wait for their turn.

    A job without a number of cores has all of them, or with GPUs its share. Where it has a number,
    torch computes with as many threads. Where the launching process is stopped or dies, every job
    is asked to end (SIGTERM), so that trainings save.

    at_once   jobs at the same time, at most; None: as many as fit
    """

    outlives = False

    def __init__(self, folder: Path, *, at_once: int | None = None) -> None:
        self.folder, self.at_once = folder, at_once
        self.machine = Machine.this()

    def launch(self, jobs: Sequence[Job]) -> Iterator[JobNews]:
        """Runs the jobs in their order, a later one first where only it fits.

        Raises EnvironmentFault SK-L001 where one could never run here.
        """
        for job in jobs:
            self._refuse_too_large(job)
        waiting, running = list(jobs), list[Running]()
        try:
            while waiting or running:
                yield from self._start_those_that_fit(waiting, running)
                for each in [each for each in running if each.process.poll() is not None]:
                    running.remove(each)
                    status = each.process.returncode
                    code = status if status >= 0 else 128 - status
                    yield JobNews(each.job, "ended", each.where, code)
                _end_overdue(running)
                if running:
                    time.sleep(SECONDS_BETWEEN_LOOKS)
        finally:
            _end([each.process for each in running])

    def _start_those_that_fit(
        self, waiting: list[Job], running: list[Running]
    ) -> Iterator[JobNews]:
        for job in list(waiting):
            share = self._share_for(job, running)
            if share is None:
                continue
            waiting.remove(job)
            try:
                process = _started(job, share)
            except OSError as error:
                yield JobNews(job, "launched", "this machine")
                reason = f"{job.command[0]} cannot be run ({error.strerror})"
                yield JobNews(job, "ended", "this machine", None, reason)
                continue
            until = None if job.minutes is None else time.monotonic() + 60 * job.minutes
            running.append(Running(job, share, process, until))
            yield JobNews(job, "launched", running[-1].where)

    def _share_for(self, job: Job, running: Sequence[Running]) -> Share | None:
        """What the job gets now, or None where it has to wait."""
        if self.at_once is not None and len(running) >= self.at_once:
            return None
        needed = self._needed(job)
        taken = {gpu for each in running for gpu in each.share.gpus}
        free = [gpu for gpu in self.machine.gpus if gpu not in taken]
        cpus = self.machine.cpus - sum(each.share.cpus for each in running)
        memory = (self.machine.memory_gib or 0.0) - sum(e.share.memory_gib for e in running)
        fits = len(needed.gpus) <= len(free) and needed.cpus <= cpus
        if not fits or (self.machine.memory_gib and needed.memory_gib > memory):
            return None
        return Share(tuple(free[: len(needed.gpus)]), needed.cpus, needed.memory_gib)

    def _needed(self, job: Job) -> Share:
        """What it asks for, with what it leaves open decided; GPUs by number, their names aside."""
        have = len(self.machine.gpus)
        gpus = min(job.processes, have) if job.gpus is None else job.gpus
        cpus = job.cpus
        if cpus is None:
            cpus = max(1, self.machine.cpus * gpus // have) if gpus and have else self.machine.cpus
        return Share(("",) * gpus, cpus, job.memory_gib or 0.0)

    def _refuse_too_large(self, job: Job) -> None:
        needed = self._needed(job)
        for what, wanted, there in (
            ("GPUs", len(needed.gpus), len(self.machine.gpus)),
            ("cores", needed.cpus, self.machine.cpus),
            ("GiB of memory", needed.memory_gib, self.machine.memory_gib),
        ):
            if there is not None and wanted > there:
                raise EnvironmentFault(
                    "SK-L001",
                    f"{job.name} needs {wanted:g} {what}, and this machine has {there:g}.",
                    "Ask for less, or launch on other machines; `segkit list launchers` shows how.",
                )


def _started(job: Job, share: Share) -> subprocess.Popen[bytes]:
    environment = os.environ | dict(job.environment)
    if share.gpus or job.gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(share.gpus)
    if job.cpus is not None:
        environment["OMP_NUM_THREADS"] = str(max(1, job.cpus // job.processes))
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        # In a session of its own, so that Ctrl-C comes to it once, from here.
        return subprocess.Popen(
            job.command,
            cwd=job.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_dying_with_parent(),
        )


def _dying_with_parent() -> Callable[[], None] | None:
    """Run in the new process: the system sends it SIGTERM when this one dies (Linux only)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(DIE_WITH_PARENT, int(signal.SIGTERM))


def _end_overdue(running: Sequence[Running]) -> None:
    for each in running:
        if each.until is not None and time.monotonic() > each.until:
            each.process.terminate()
            each.until = time.monotonic() + SECONDS_TO_SAVE


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Asks all to end, and waits; after SECONDS_TO_SAVE, or a second Ctrl-C, kills them."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + SECONDS_TO_SAVE
    try:
        for process in processes:
            process.wait(max(0.0, deadline - time.monotonic()))
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
