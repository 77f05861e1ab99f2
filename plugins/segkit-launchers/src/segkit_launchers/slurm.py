"""A SLURM cluster: one sbatch script for all jobs of equal needs, as an array where several."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segkit.api import EnvironmentFault, Job, JobNews
from segkit_launchers.script import script_of

# What one of SLURM's own programs may take to answer.
ASK_SECONDS = 120
SUBMITTED = "submitted.json"
UNKNOWN = "Invalid job id"
# Accounting is a little behind the queue.
LOOKS_AT_ACCOUNTS = 3
GONE = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL")


@dataclass
class Submitted:
    """A job in the queue: number of its array and place in it, and looks since it left."""

    job: Job
    array: str
    place: int
    looks: int = 0

    @property
    def where(self) -> str:
        return f"SLURM job {self.array}_{self.place}"


class SlurmLauncher:
    """Writes sbatch scripts into its folder, submits them and watches the queue.

    Folder, environment and logs are read on the compute nodes: they lie on a file system that all
    share. Jobs that are still in the queue from an earlier launch of the same folder are watched,
    not submitted again. A requeued job (--requeue: its node failed, or it was preempted) runs its
    command again.

    partition   as `sinfo` lists them
    account     to which the time is charged
    extra       further options of sbatch, such as "--constraint=a100 --exclusive"
    setup       a shell line before the command, such as "module load cuda"
    poll        seconds between looks at the queue
    """

    outlives = True

    def __init__(
        self,
        folder: Path,
        *,
        partition: str | None = None,
        account: str | None = None,
        extra: str = "",
        setup: str = "",
        poll: float = 10.0,
    ) -> None:
        self.folder, self.poll, self.setup = folder.absolute(), poll, setup
        self.options = [f"--partition={partition}"] * bool(partition)
        self.options += [f"--account={account}"] * bool(account)
        self.options += extra.split()

    def launch(self, jobs: Sequence[Job]) -> Iterator[JobNews]:
        """Submits what is not in the queue yet, then looks until every job has left it.

        Raises EnvironmentFault SK-L002 where SLURM is not there or refuses.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        waiting = self._still_queued(jobs)
        here = {each.job.name for each in waiting}
        for group in _of_equal_needs([job for job in jobs if job.name not in here]):
            waiting += self._submit(group)
        yield from (JobNews(each.job, "launched", each.where) for each in waiting)
        while waiting:
            queued = {array: _queued(array) for array in {each.array for each in waiting}}
            for each in list(waiting):
                places = queued[each.array]
                if places is None or each.place in places:
                    continue
                news = self._end_of(each)
                if news is not None:
                    waiting.remove(each)
                    yield news
            if waiting:
                time.sleep(self.poll)

    def _submit(self, jobs: Sequence[Job]) -> list[Submitted]:
        number = len(list(self.folder.glob("*.sbatch")))
        script = self.folder / f"{number:03}.sbatch"
        for job in jobs:
            job.log.parent.mkdir(parents=True, exist_ok=True)
            self._status(job).unlink(missing_ok=True)
        script.write_text(script_of(jobs, self.folder, self.options, self.setup), "utf-8")
        answer = _asked(["sbatch", "--parsable", str(script)])
        if answer.returncode or not answer.stdout.strip():
            raise EnvironmentFault(
                "SK-L002",
                f"sbatch refused {script}: {_said(answer)}.",
                "Correct the launcher's options (`segkit info launcher slurm`) or what a job asks "
                "for.",
            )
        array = answer.stdout.strip().partition(";")[0]
        known = self._known()
        for place, job in enumerate(jobs):
            known[job.name] = (array, place)
        (self.folder / SUBMITTED).write_text(json.dumps(known, indent=0) + "\n", "utf-8")
        return [Submitted(job, array, place) for place, job in enumerate(jobs)]

    def _still_queued(self, jobs: Sequence[Job]) -> list[Submitted]:
        """Those of an earlier launch that have not left the queue."""
        known = self._known()
        found = [Submitted(job, *known[job.name]) for job in jobs if job.name in known]
        queued = {array: _queued(array) for array in {each.array for each in found}}
        if None in queued.values():
            raise EnvironmentFault(
                "SK-L002",
                "squeue does not say which jobs of an earlier launch are still in the queue.",
                "Try again when `squeue` answers.",
            )
        return [each for each in found if each.place in (queued[each.array] or ())]

    def _known(self) -> dict[str, tuple[str, int]]:
        try:
            found: dict[str, tuple[str, int]] = json.loads((self.folder / SUBMITTED).read_text())
        except (OSError, ValueError):
            return {}
        return found

    def _status(self, job: Job) -> Path:
        return self.folder / f"{job.name}.status"

    def _end_of(self, left: Submitted) -> JobNews | None:
        """What became of a job that left the queue; None where it is not known yet."""
        try:
            status = int(self._status(left.job).read_text())
        except (OSError, ValueError):
            left.looks += 1
            state = _accounted(left)
            if not state.startswith(GONE) and left.looks < LOOKS_AT_ACCOUNTS:
                return None
            reason = f"SLURM says {state}" if state else "it left the queue without a word"
            return JobNews(left.job, "ended", left.where, None, reason)
        return JobNews(left.job, "ended", left.where, status)


def _of_equal_needs(jobs: Sequence[Job]) -> list[list[Job]]:
    groups: dict[object, list[Job]] = {}
    for job in jobs:
        needs = (job.processes, job.gpus, job.cpus, job.memory_gib, job.minutes)
        groups.setdefault(needs, []).append(job)
    return list(groups.values())


def _queued(array: str) -> set[int] | None:
    """Places of an array that are in the queue or running; None where SLURM does not answer."""
    answer = _asked(["squeue", "--noheader", "--array", f"--jobs={array}", "--format=%K"])
    if answer.returncode:
        return set() if UNKNOWN in answer.stderr else None
    return {int(line) for line in answer.stdout.split() if line.isdigit()}


def _accounted(left: Submitted) -> str:
    """The state that accounting has, such as NODE_FAIL; "" where there is no accounting."""
    asked = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=State"]
    try:
        answer = _asked([*asked, f"--jobs={left.array}_{left.place}"])
    except EnvironmentFault:
        return ""
    lines = answer.stdout.split("\n") if answer.returncode == 0 else [""]
    return lines[0].strip()


def _asked(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """What one of SLURM's programs says; raises EnvironmentFault SK-L002 where it is missing."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS)
    except FileNotFoundError as error:
        raise EnvironmentFault(
            "SK-L002",
            f"there is no {command[0]} on this machine.",
            "Log in to a machine of the SLURM cluster, or take another launcher: "
            "`segkit list launchers` shows those installed.",
        ) from error
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer in {ASK_SECONDS} s")


def _said(answer: subprocess.CompletedProcess[str]) -> str:
    text = " ".join((answer.stderr or answer.stdout).split()).rstrip(".")
    return text or f"it ended with status {answer.returncode}"
