"""What a machine is and the most it can do, found by a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segkit.bench.records.machine import Ceilings, Environment
from segkit.bench.runner.budget import Budget
from segkit.bench.runner.process import WorkerFailed, WorkerProcess
from segkit.errors import EnvironmentFault

ASK_SECONDS = 300.0


def survey(
    device: str, precisions: Sequence[str], threads: int | None, budget: Budget
) -> tuple[Environment, Ceilings | None]:
    """Conditions and ceilings, found by a worker of its own; no ceilings where no precision is
    named."""
    worker = WorkerProcess()
    try:
        asked: dict[str, Any] = {"do": "conditions", "device": device}
        timeout = min(ASK_SECONDS, budget.left)
        environment = Environment.model_validate(worker.ask(asked, timeout=timeout)["found"])
        ceilings = None
        if precisions:
            ceilings = _ceilings(worker, device, precisions, threads, budget)
        return environment, ceilings
    except WorkerFailed as error:
        raise EnvironmentFault(
            "SK-E002",
            f"the device '{device}' could not be measured: {error.reason}.",
            "`segkit doctor` checks this machine.",
        ) from error
    finally:
        worker.close()


def ceilings_again(device: str, before: Ceilings | None) -> Ceilings | None:
    """The higher of the ceilings before the cases and after them: a ceiling is the most seen."""
    if before is None:
        return None
    worker = WorkerProcess()
    try:
        after = _ceilings(worker, device, list(before.matmul_flops), before.threads, Budget())
    # What was seen before is a ceiling too; an impatient Ctrl-C must not cost the results.
    except (WorkerFailed, KeyboardInterrupt):
        return before
    finally:
        worker.close()
    return higher(before, after)


def higher(one: Ceilings, other: Ceilings) -> Ceilings:
    """The higher of each figure."""
    return Ceilings(
        matmul_flops={k: max(v, other.matmul_flops[k]) for k, v in one.matmul_flops.items()},
        convolution_flops={
            k: max(v, other.convolution_flops[k]) for k, v in one.convolution_flops.items()
        },
        copy_bytes=max(one.copy_bytes, other.copy_bytes),
        threads=one.threads,
    )


def _ceilings(
    worker: WorkerProcess,
    device: str,
    precisions: Sequence[str],
    threads: int | None,
    budget: Budget,
) -> Ceilings:
    wanted = list(dict.fromkeys(["fp32", *precisions]))
    if device == "cpu":
        wanted = [each for each in wanted if each != "fp16"]
    asked: dict[str, Any] = {"do": "ceilings", "device": device, "precisions": wanted}
    asked["threads"] = threads
    timeout = min(ASK_SECONDS, budget.left)
    return Ceilings.model_validate(worker.ask(asked, timeout=timeout)["found"])
