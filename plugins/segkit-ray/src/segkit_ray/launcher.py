"""Hands each job to Ray as one task that runs its command line on whichever node has room."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from segkit.api import EnvironmentFault, Job, JobNews

GIB = 2**30
# A cluster that is there answers within so many seconds.
SECONDS = 10


class RayLauncher:
    """Tasks of Ray Core, one a job. Ray chooses the node, and runs a task again whose node is lost.

    The nodes have segkit, its plugins and this one installed at the same place, and see the same
    folders. A job without a number of cores has one.

    address   of the cluster, "host:port"; auto: this machine's; local: a new one, of this machine
    retries   how often a job whose node is lost is run again
    """

    outlives = False

    def __init__(self, folder: Path, *, address: str = "auto", retries: int = 3) -> None:
        self.folder, self.address, self.retries = folder, address, retries

    def launch(self, jobs: Sequence[Job]) -> Iterator[JobNews]:
        """Raises EnvironmentFault: SK-L002 without a cluster, SK-L001 where no node could run a
        job."""
        ray: Any = import_module("ray")
        joins = not ray.is_initialized()
        if joins:
            self._join(ray)
        tasks: dict[Any, Job] = {}
        try:
            nodes = [each["Resources"] for each in ray.nodes() if each["Alive"]]
            for job in jobs:
                _refuse_too_large(job, nodes)
            for job in jobs:
                tasks[self._task(ray, job, nodes)] = job
            yield from (JobNews(job, "launched", f"Ray task {job.name}") for job in jobs)
            while tasks:
                for task in ray.wait(list(tasks), num_returns=1)[0]:
                    yield _end_of(ray, task, tasks.pop(task))
        finally:
            for task in tasks:
                ray.cancel(task, force=False)
            ray.wait(list(tasks), num_returns=len(tasks), timeout=600) if tasks else None
            if joins:
                ray.shutdown()

    def _join(self, ray: Any) -> None:
        # Ray would report how it is used to its makers.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            _refuse_silence(self.address)
            ray.init(address=self.address, log_to_driver=False, logging_level="error")
        except ConnectionError as error:
            raise EnvironmentFault(
                "SK-L002",
                "no Ray cluster runs here."
                if self.address == "auto"
                else f"no Ray cluster answers at {self.address}.",
                "Start one with `ray start --head`, give its address as "
                "ray(address='host:6379'), or take ray(address=local).",
            ) from error

    def _task(self, ray: Any, job: Job, nodes: Sequence[Mapping[str, float]]) -> Any:
        from segkit_ray.command import run_command

        gpus, cpus, memory = _needs(job, nodes)
        remote = ray.remote(run_command).options(
            name=job.name,
            num_cpus=cpus,
            num_gpus=gpus,
            memory=memory or None,
            max_retries=self.retries,
            retry_exceptions=False,
        )
        environment = dict(job.environment)
        environment.setdefault("OMP_NUM_THREADS", str(max(1, cpus // job.processes)))
        return remote.remote(list(job.command), str(job.folder), str(job.log), environment)


def _needs(job: Job, nodes: Sequence[Mapping[str, float]]) -> tuple[int, int, int]:
    """GPUs, cores and bytes of memory that Ray is asked for."""
    most = max((node.get("GPU", 0) for node in nodes), default=0)
    gpus = int(min(job.processes, most)) if job.gpus is None else job.gpus
    cpus = job.processes if job.cpus is None else job.cpus
    return gpus, cpus, int((job.memory_gib or 0) * GIB)


def _refuse_too_large(job: Job, nodes: Sequence[Mapping[str, float]]) -> None:
    """Ray itself would let such a task wait for ever."""
    gpus, cpus, memory = _needs(job, nodes)
    needed = {"GPU": gpus, "CPU": cpus, "memory": memory}
    if any(all(node.get(k, 0) >= n for k, n in needed.items()) for node in nodes):
        return
    raise EnvironmentFault(
        "SK-L001",
        f"{job.name} needs {cpus} cores, {gpus} GPUs and {memory / GIB:g} GiB on one node, and "
        f"none of the {len(nodes)} nodes of the Ray cluster has them.",
        "Ask for less, or add a node; `ray status` shows what there is.",
    )


def _end_of(ray: Any, task: Any, job: Job) -> JobNews:
    try:
        status, node = ray.get(task)
    except ray.exceptions.RayError as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        return JobNews(job, "ended", f"Ray task {job.name}", None, f"Ray says: {first}")
    return JobNews(job, "ended", f"Ray node {node}", status)


def _refuse_silence(address: str) -> None:
    """Raises ConnectionError where nothing answers at host:port, for which Ray waits minutes."""
    if not re.fullmatch(r"[^/]+:\d+", address):
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(str(error)) from error
