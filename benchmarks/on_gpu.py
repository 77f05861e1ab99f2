"""Everything that needs a GPU, in one command: the tests marked `gpu`, then the suites on it.

    python benchmarks/on_gpu.py [--minutes 10] [--suites losses,peers] [--no-tests]

Run from the repository root. Suites run in the order below, most wanted first, at sizes that fill a
large GPU, each with a share of the time that is left; a suite that outruns its share is ended and
keeps the rows it has. Results are written to benchmarks/results/gpu-NAME.json, as `segkit bench`
left them; then run `python benchmarks/write_readme.py`.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
# An interrupted `segkit bench` ends at the second Ctrl-C, and then writes what it has.
INTERRUPTS, SECONDS_TO_END = 2, 30.0


@dataclass(frozen=True)
class Suite:
    """A suite and what differs from its file on a GPU; `share` of the whole time it may take."""

    name: str
    options: tuple[str, ...]
    share: float


LARGE = ("--size", "512", "--batch", "16")
SUITES = (
    Suite("losses", (), 0.14),
    Suite("train-step", LARGE, 0.14),
    Suite("inference", ("--size", "512"), 0.1),
    Suite("peers", LARGE, 0.2),
    Suite("upsamplers", LARGE, 0.14),
    Suite("encoders", LARGE, 0.14),
    Suite("densenets", (), 0.04),
    Suite("precision-compile", LARGE, 0.1),
)


def main() -> int:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--suites", default=",".join(suite.name for suite in SUITES))
    parser.add_argument("--no-tests", action="store_true")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("torch finds no CUDA device here: nothing was run.", file=sys.stderr)
        return 3
    end = time.monotonic() + 60 * given.minutes
    failed = 0 if given.no_tests else run_tests(60 * given.minutes / 4)
    wanted = [suite for suite in SUITES if suite.name in given.suites.split(",")]
    for place, suite in enumerate(wanted):
        left = end - time.monotonic() - SECONDS_TO_END
        seconds = left * suite.share / sum(each.share for each in wanted[place:])
        failed |= run_suite(suite, seconds)
    return failed


def run_tests(seconds: float) -> int:
    """The tests marked `gpu`; their status, 1 where they took longer than `seconds`."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "tests", "plugins"]
    print("==", *command[1:], flush=True)
    try:
        return subprocess.run(command, cwd=HERE.parent, timeout=seconds, check=False).returncode
    except subprocess.TimeoutExpired:
        print(f"the tests took more than {seconds:.0f} s and were ended", flush=True)
        return 1


def run_suite(suite: Suite, seconds: float) -> int:
    """One suite within `seconds`, its results copied; 1 where it left none."""
    with tempfile.TemporaryDirectory(dir=HERE.parent, prefix="bench-") as folder:
        out = Path(folder).relative_to(HERE.parent) / "gpu"
        command = ["bench", suite.name, "--device", "cuda", *suite.options, "--out", str(out)]
        print(f"== segkit {' '.join(command)}   (at most {seconds:.0f} s)", flush=True)
        process = subprocess.Popen([sys.executable, "-m", "segkit", *command], cwd=HERE.parent)
        try:
            process.wait(timeout=max(seconds, 1.0))
        except subprocess.TimeoutExpired:
            end(process)
        written = HERE.parent / out / "results.json"
        if not written.is_file():
            print(f"{suite.name}: no result within {seconds:.0f} s", flush=True)
            return 1
        shutil.copy(written, RESULTS / f"gpu-{suite.name}.json")
    return int(process.returncode != 0)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a benchmark as Ctrl-C twice does, which keeps its results; kills what stays."""
    for _ in range(INTERRUPTS):
        process.send_signal(signal.SIGINT)
        time.sleep(1.0)
    try:
        process.wait(timeout=SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    raise SystemExit(main())
