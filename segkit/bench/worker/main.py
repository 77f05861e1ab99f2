"""The process of one case: `python -m segkit.bench.worker.main`, told what to do line by line.

A line of JSON in, lines of JSON out, each with the key "event". What a component prints goes to
stderr. The process ends when its input does, so that none outlives the benchmark.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

Say = Callable[[Mapping[str, Any]], None]


def main() -> None:
    # The pipe is kept for the protocol alone; prints of others would break its lines.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    _go_first_when_memory_ends()

    def say(event: Mapping[str, Any]) -> None:
        channel.write(json.dumps(event) + "\n")
        channel.flush()

    serve(sys.stdin, say)
    # Nothing is left to be saved, and taking torch down piece by piece takes more than a second.
    sys.stderr.flush()
    atexit._run_exitfuncs()
    os._exit(0)


def serve(requests: TextIO, say: Say) -> None:
    """Answers requests until they end, or one says so; a failure is an answer, and the last."""
    worker = _Worker(say)
    for line in requests:
        request = json.loads(line)
        if request["do"] == "end":
            return
        try:
            say(worker.answer(request))
        # The row says what happened; whatever a stranger's component raises belongs in it.
        except BaseException as error:
            from segkit.bench.worker.trial import failure

            traceback.print_exc()
            say({"event": "failed", **failure(error)})
            return


class _Worker:
    def __init__(self, say: Say) -> None:
        self.say = say
        self.trial: Any = None

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        answers = {
            "load": self._load,
            "prepare": self._prepare,
            "turn": self._turn,
            "trace": self._trace,
            "ceilings": self._ceilings,
            "conditions": self._conditions,
            "quality": self._quality,
        }
        return answers[request["do"]](request)

    def _load(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        # What every case imports before it is measured; the optimizers take the second by
        # themselves, at their first step. Nothing is computed yet: the case says on which threads.
        for module in ("segkit.bench.worker.trial", "torch._dynamo"):
            import_module(module)
        return {"event": "loaded"}

    def _prepare(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self._stage("starting")
        from segkit.bench.records.case import Case
        from segkit.bench.worker.trial import Trial, refuse_impossible

        case = Case.model_validate(request["case"])
        refuse_impossible(case)
        self.trial = Trial(case)
        found = self.trial.prepare(self._stage)
        return {"event": "prepared", "found": found}

    def _turn(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"event": "turned", **self.trial.turn(request["seconds"])}

    def _trace(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        files = self.trial.trace(Path(request["folder"]), request["name"])
        return {"event": "traced", "files": files}

    def _ceilings(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        from segkit.bench.worker.ceilings import measure_ceilings

        found = measure_ceilings(request["device"], request["precisions"], request["threads"])
        return {"event": "ceilings", "found": found.model_dump()}

    def _conditions(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        from segkit.bench.instruments.conditions import conditions

        return {"event": "conditions", "found": conditions(request["device"]).model_dump()}

    def _quality(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        from segkit.bench.worker.short_training import train_briefly

        return {"event": "trained", "found": train_briefly(request, self._stage)}

    def _stage(self, name: str) -> None:
        self.say({"event": "stage", "stage": name})


def _go_first_when_memory_ends() -> None:
    """Asks the kernel to end this process, and no other, when the machine's memory runs out."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        return


if __name__ == "__main__":
    main()
