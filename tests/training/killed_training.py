"""Trains as the settings of a JSON file say, again and again killed, until it ends by itself.

    python killed_training.py SETTINGS RUN KIND SEED KILLS

KIND is `instants` (any) or `saving` (just before a change to the run's files). Prints how often it
was killed. Each life is a fork of one process that has imported everything and computed nothing.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from disk_watch import watched

from segkit.config import layered
from segkit.training.run import report
from segkit.training.training import resume, train

LONGEST = 300.0


def life(settings: dict, run: Path, fatal: int | None) -> None:
    """Trains or goes on; dies before the change of that number to the run's files."""
    changes = 0

    def tell(name: str, path: str) -> None:
        nonlocal changes
        # Until the settings are there, there is no run to go on with.
        changes += (run / "config.yaml").is_file()
        if fatal is not None and changes >= fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    report.write_report = lambda folder: folder  # a page takes longer than this training
    with watched(run, tell):
        if (run / "config.yaml").is_file():
            resume(run)
        else:
            train(layered(None, settings), in_place=True)


def ended(settings: dict, run: Path, fatal: int | None, seconds: float | None) -> bool:
    """Whether one life, killed after so many seconds or by `fatal`, came to the end."""
    child = os.fork()
    if not child:
        status = 1
        try:
            life(settings, run, fatal)
            status = 0
        finally:
            os._exit(status)
    began = time.monotonic()
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        if time.monotonic() - began > (seconds or LONGEST):
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.001)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    assert status == 0, f"it failed: {status}"
    return True


def main() -> None:
    settings, run = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    kind, chance, wanted = sys.argv[3], random.Random(int(sys.argv[4])), int(sys.argv[5])
    kills, done = 0, False
    while not done:
        if kills >= wanted:
            done = ended(settings, run, None, None)
        elif kind == "saving":
            done = ended(settings, run, chance.randrange(1, 90), None)
        else:
            done = ended(settings, run, None, chance.uniform(0.05, 1.5))
        kills += not done
    sys.stdout.write(json.dumps({"kills": kills}) + "\n")


if __name__ == "__main__":
    main()
