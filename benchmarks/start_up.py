"""How long segkit takes to start, beside the bare interpreter.

    python benchmarks/start_up.py [--repeats 30] [--plugins 50]

Installs so many plugins of four components each into a folder of its own, beside those that are
there, and runs each command in a process of its own, all commands in turn within a repeat, so that
a busy moment of the machine hits them alike; the first repeat, which fills the file cache, is not
counted.
Prints medians and quartiles, of wall time and of processor time (which a busy machine changes
little), and writes results/start_up.json beside this file. Not for Windows, which has no wait4.
Needs: python -m pip install -e benchmarks/peers
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from segkit_bench_peers.start import SCRIPT, environment_with, install_plugins

BARE = "bare interpreter"
COMMANDS = {
    BARE: ["-c", "pass"],
    "import segkit": ["-c", "import segkit"],
    "segkit --help": [SCRIPT, "--help"],
    "segkit list": [SCRIPT, "list"],
    "segkit list encoders": [SCRIPT, "list", "encoders"],
    "segkit plugins": [SCRIPT, "plugins"],
    "import torch, for comparison": ["-c", "import torch"],
}
RESULT = Path(__file__).parent / "results" / "start_up.json"


class Taken(NamedTuple):
    """Seconds of one run: on the clock, and of the processor (its own and the system's for it)."""

    wall: float
    processor: float


def run(arguments: list[str], site: Path) -> Taken:
    """Starts a fresh interpreter and waits for its end; raises RuntimeError where it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.DEVNULL,
        env=environment_with(site),
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{arguments} ended with status {process.returncode}")
    return Taken(wall, usage.ru_utime + usage.ru_stime)


def measure(repeats: int, site: Path) -> dict[str, list[Taken]]:
    """What each command took, `repeats` times, in turn."""
    taken: dict[str, list[Taken]] = {name: [] for name in COMMANDS}
    for repeat in range(repeats + 1):
        for name, arguments in COMMANDS.items():
            once = run(arguments, site)
            if repeat:
                taken[name].append(once)
    return taken


def summary(taken: dict[str, list[Taken]]) -> dict[str, dict[str, Any]]:
    """In milliseconds: medians, quartiles, and the median difference to the bare interpreter."""
    rows: dict[str, dict[str, Any]] = {}
    for name, runs in taken.items():
        rows[name] = {}
        for clock in Taken._fields:
            times = [getattr(each, clock) * 1e3 for each in runs]
            bare = [getattr(each, clock) * 1e3 for each in taken[BARE]]
            low, middle, high = statistics.quantiles(times, n=4)
            over = statistics.median(t - b for t, b in zip(times, bare, strict=True))
            rows[name][clock] = {
                "median_ms": round(middle, 1),
                "quartiles_ms": [round(low, 1), round(high, 1)],
                "over_bare_ms": round(over, 1),
            }
    return rows


def conditions(repeats: int, plugins: int) -> dict[str, object]:
    """What the figures depend on."""
    versions = {
        name: importlib.metadata.version(name) for name in ("segkit-core", "click", "torch")
    }
    return {
        "command": f"python benchmarks/start_up.py --repeats {repeats} --plugins {plugins}",
        "repeats": repeats,
        "order": "commands in turn within a repeat; the first repeat not counted",
        "python": platform.python_version(),
        "versions": versions,
        "distributions_installed": len(list(importlib.metadata.distributions())),
        "plugins_added": plugins,
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "date": time.strftime("%Y-%m-%d"),
    }


def processor() -> str:
    """The processor's name as the system gives it."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--plugins", type=int, default=50)
    given = parser.parse_args()
    # Taken before the measurement, which is itself a load.
    under = conditions(given.repeats, given.plugins)
    with tempfile.TemporaryDirectory(prefix="segkit-start-") as folder:
        install_plugins(Path(folder), given.plugins)
        rows = summary(measure(given.repeats, Path(folder)))
    print(f"{'milliseconds':30}{'wall':>8}{'quartiles':>18}{'over bare':>11}", end="")
    print(f"{'processor':>11}{'over bare':>11}")
    for name, row in rows.items():
        wall, processor_time = row["wall"], row["processor"]
        low, high = wall["quartiles_ms"]
        print(f"{name:30}{wall['median_ms']:8}{f'{low} to {high}':>18}", end="")
        print(f"{wall['over_bare_ms']:11}{processor_time['median_ms']:11}", end="")
        print(f"{processor_time['over_bare_ms']:11}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"conditions": under, "results": rows}, indent=2) + "\n")
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
