"""A worker's process seen from outside: started, asked, waited for, ended; its death explained."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

EVENTS = Path("/sys/fs/cgroup/memory.events")
VM_STATISTICS = Path("/proc/vmstat")
POLL_SECONDS = 0.2
STDERR_CHARACTERS = 300


class WorkerFailed(Exception):
    """The worker answered with a failure, died or did not answer in time.

    status, reason   as in a Row
    """

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status, self.reason = status, reason


class NoAnswer(WorkerFailed):
    """The worker did not answer in time, and was ended."""


class WorkerProcess:
    """One `python -m segkit.bench.worker.main`; in a process group of its own, so that Ctrl-C on
    the terminal reaches the benchmark alone, which then decides."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        # Open as long as the process lives; `close` closes it.
        self._stderr = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._killed_before = _killed_for_memory()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "segkit.bench.worker.main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            encoding="utf-8",
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def ask(
        self,
        request: Mapping[str, Any],
        *,
        timeout: float,
        stage: Callable[[str], None] = lambda name: None,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> Mapping[str, Any]:
        """The answer to a request; raises WorkerFailed.

        stage         hears of progress on the way
        interrupted   asked while waiting; where it is so, KeyboardInterrupt is raised
        """
        self.tell(request)
        return self.hear(timeout=timeout, stage=stage, interrupted=interrupted)

    def tell(self, request: Mapping[str, Any]) -> None:
        """Hands a request over, to be heard of later; that of a dead worker is not."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin().write(json.dumps(request) + "\n")
            self._stdin().flush()

    def hear(
        self,
        *,
        timeout: float,
        stage: Callable[[str], None] = lambda name: None,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> Mapping[str, Any]:
        """The answer to the oldest request that was told and not heard; raises as `ask` does."""
        deadline = time.monotonic() + timeout
        while True:
            event = self._next(deadline, timeout, interrupted)
            if event["event"] == "stage":
                stage(event["stage"])
            elif event["event"] == "failed":
                raise WorkerFailed(event["status"], event["reason"])
            else:
                return event

    def close(self) -> None:
        """Ends the process: politely where it waits, by force where it works."""
        with contextlib.suppress(OSError, ValueError):
            self._stdin().write('{"do": "end"}\n')
            self._stdin().close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.kill()
        self._stderr.close()

    def kill(self) -> None:
        """Ends the process and all it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()

    def _stdin(self) -> Any:
        return self._process.stdin

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line)
        self._lines.put(None)

    def _next(
        self, deadline: float, timeout: float, interrupted: Callable[[], bool]
    ) -> Mapping[str, Any]:
        while True:
            if interrupted():
                raise KeyboardInterrupt
            try:
                line = self._lines.get(timeout=POLL_SECONDS)
            except queue.Empty:
                if self._process.poll() is not None and self._lines.empty():
                    raise self._death() from None
                if time.monotonic() > deadline:
                    self.kill()
                    raise NoAnswer("crashed", f"no answer in {timeout:.0f} s") from None
                continue
            if line is None:
                raise self._death()
            event: Mapping[str, Any] = json.loads(line)
            return event

    def _death(self) -> WorkerFailed:
        code = self._process.wait()
        if code < 0:
            name = signal.Signals(-code).name
            if -code == signal.SIGKILL and _killed_for_memory() > self._killed_before:
                return WorkerFailed("oom", "the system ended the process: no memory was left")
            return WorkerFailed("crashed", f"the process was ended by {name}")
        self._stderr.seek(0)
        words = self._stderr.read()[-STDERR_CHARACTERS:].strip().splitlines()
        last = words[-1] if words else "nothing on stderr"
        return WorkerFailed("crashed", f"the process ended with status {code}: {last}")


def _killed_for_memory() -> int:
    """How many processes the kernel has ended for want of memory, as far as it tells."""
    count = 0
    for file, field in ((EVENTS, "oom_kill "), (VM_STATISTICS, "oom_kill ")):
        with contextlib.suppress(OSError, ValueError):
            for line in file.read_text().splitlines():
                if line.startswith(field):
                    count += int(line.split()[1])
    return count
