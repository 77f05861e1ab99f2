"""Everything that needs a GPU, in one command and in parts.

    python benchmarks/on_gpu.py [PART ...] [--minutes 10] [--camvid DIR] [--wheels DIR]
    python benchmarks/on_gpu.py --rehearse

Parts, in this order, all of them by default: the tests marked `gpu`; a training of the demo set
and one of camvid (where --camvid names its folder); the suites; `plan`, what segkit predicts beside
what was allocated. Each has a share of the minutes that are left, and its result is written when it
is over: suites as results/gpu-NAME.json, all of it as results/gpu-run.json. Then run
`python benchmarks/write_readme.py`.

It needs no network. --wheels names a folder of wheels, of segkit and of what it needs and the
machine lacks; they are unpacked beside what is installed, so the torch found there stays. To make
one, where there is a network:

    for each in . plugins/* benchmarks/peers; do python -m pip wheel --no-deps -w wheels $each; done
    python -m pip download --no-deps -d wheels click rich pluggy timm segmentation-models-pytorch

--rehearse walks every part on a CPU, with a pretended GPU (benchmarks/rehearsal) and small sizes,
and writes into a folder that it names: no figure of it means anything.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results"
# Between the end of a part's time and the end of its process.
GRACE_SECONDS = 30.0
LAST_CHARACTERS = 1500
SEGKIT = (sys.executable, "-m", "segkit")
LARGE = ("--size", "512", "--batch", "16")
# In a rehearsal: small, short, few.
SMALL = ("--size", "32", "--batch", "2", "--rounds", "2", "--seconds", "0.01")


@dataclass(frozen=True)
class Part:
    """One part.

    share     of the whole time
    options   of a suite: what differs from its file on a GPU
    """

    name: str
    share: float
    options: tuple[str, ...] = ()


SUITES = (
    Part("quick", 0.08),
    Part("train-step", 0.12, LARGE),
    Part("inference", 0.10, ("--size", "512")),
    Part("losses", 0.10),
    Part("loss-tail", 0.06),
    Part("metrics", 0.06),
    Part("encoders", 0.14, LARGE),
    Part("upsamplers", 0.10, LARGE),
    Part("densenets", 0.04),
)
PARTS = (
    Part("tests", 0.08),
    Part("train-demo", 0.04),
    Part("train-camvid", 0.06),
    *SUITES,
    Part("plan", 0.02),
)


@dataclass
class Outcome:
    """What became of a part: ok, failed, slow (ended when its time was up), or skipped."""

    part: str
    status: str
    seconds: float = 0.0
    command: str = ""
    note: str = ""


@dataclass
class Machine:
    """Where and how the parts run.

    results   the folder that results are written to
    work      a folder for runs
    """

    results: Path
    work: Path
    rehearsal: bool
    camvid: Path | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def run(self, part: str, command: Sequence[str], seconds: float) -> Outcome:
        """A command within its time; its last words where it fails."""
        shown = " ".join(command[1:] if command[0] == sys.executable else command)
        print(f"== {part}: {shown}   (at most {seconds:.0f} s)", flush=True)
        start = time.monotonic()
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
            process = subprocess.Popen(
                command, cwd=ROOT, env=dict(self.environment), stdout=said, stderr=said
            )
            try:
                status = "ok" if process.wait(timeout=max(seconds, 1.0)) == 0 else "failed"
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                status = "slow"
            said.seek(0)
            words = said.read()[-LAST_CHARACTERS:].strip()
        return Outcome(part, status, round(time.monotonic() - start, 1), shown, words)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(p.name for p in PARTS))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--camvid", type=Path, help="the folder of the set")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels to take packages from")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, with a pretended GPU")
    given = parser.parse_args()
    known = [part.name for part in PARTS]
    if unknown := [name for name in given.parts if name not in known]:
        parser.error(f"there is no part '{unknown[0]}': there are {', '.join(known)}")
    if not given.rehearse and not has_gpu():
        print("torch finds no CUDA device here: nothing was run. --rehearse needs none.")
        return 3
    work = Path(tempfile.mkdtemp(prefix="segkit-gpu-"))
    machine = Machine(work if given.rehearse else RESULTS, work, given.rehearse, given.camvid)
    machine.environment = environment_of(given.wheels, given.rehearse, work)
    wanted = [part for part in PARTS if not given.parts or part.name in given.parts]
    outcomes = run_parts(wanted, machine, 60 * given.minutes)
    print(f"written to {machine.results}")
    return int(any(each.status in ("failed", "slow") for each in outcomes))


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def environment_of(wheels: Path | None, rehearsal: bool, work: Path) -> dict[str, str]:
    """The environment of every part: what the wheels hold, and in a rehearsal the pretended GPU."""
    first: list[str] = [str(HERE / "rehearsal")] * rehearsal
    if wheels is not None:
        first.append(str(unpacked(wheels, work / "site")))
    paths = [*first, *filter(None, [os.environ.get("PYTHONPATH", "")])]
    # Nothing is to be looked for where there is no network.
    offline = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(paths)}
    return {**os.environ, **offline}


def unpacked(wheels: Path, site: Path) -> Path:
    """The wheels of a folder, installed into a folder of their own; raises CalledProcessError."""
    files = sorted(map(str, wheels.glob("*.whl")))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*command, "--target", str(site), *files], check=True)
    return site


def run_parts(parts: Sequence[Part], machine: Machine, seconds: float) -> list[Outcome]:
    """All parts, each within its share of the time that is left; the record after each."""
    end = time.monotonic() + seconds
    outcomes: list[Outcome] = []
    for place, part in enumerate(parts):
        shares = sum(each.share for each in parts[place:])
        own = max((end - time.monotonic()) * part.share / shares, 1.0)
        outcome = HOW.get(part.name, suite)(part, machine, own)
        print(f"   {outcome.status}, {outcome.seconds:.0f} s", flush=True)
        if outcome.status == "failed":
            print(outcome.note, flush=True)
        outcomes.append(outcome)
        record = {"rehearsal": machine.rehearsal, "parts": [asdict(each) for each in outcomes]}
        machine.results.mkdir(parents=True, exist_ok=True)
        (machine.results / "gpu-run.json").write_text(json.dumps(record, indent=1) + "\n")
    return outcomes


def tests(part: Part, machine: Machine, seconds: float) -> Outcome:
    """The tests marked `gpu`; in a rehearsal they are collected, and those with fakes are run."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    # Only the files that hold such tests: to collect all others takes a minute.
    files = [file for folder in ("tests", "plugins") for file in (ROOT / folder).rglob("test_*.py")]
    marked = [str(f.relative_to(ROOT)) for f in files if "pytest.mark.gpu" in f.read_text("utf-8")]
    if not machine.rehearsal:
        return machine.run(part.name, [*command, "-m", "gpu", *marked], seconds)
    found = machine.run(part.name, [*command, "-m", "gpu", "--collect-only", *marked], seconds)
    if found.status != "ok":
        return found
    fakes = ["tests/gpu", "plugins/segkit-bench-gpu/tests", "-k", "not 100_mb and not clock_reads"]
    return machine.run(part.name, [*command, "-m", "gpu or not gpu", *fakes], seconds)


def train_demo(part: Part, machine: Machine, seconds: float) -> Outcome:
    """A short training of the built-in set."""
    return _trained(part, machine, [], seconds)


def train_camvid(part: Part, machine: Machine, seconds: float) -> Outcome:
    """A short training of camvid, where its folder is named."""
    if machine.camvid is None:
        return Outcome(part.name, "skipped", note="--camvid names no folder")
    return _trained(part, machine, ["--data", str(machine.camvid)], seconds)


def _trained(part: Part, machine: Machine, data: Sequence[str], seconds: float) -> Outcome:
    size, batch, encoder = (
        ("32", "32", "timm/resnet18") if machine.rehearsal else (*("256", "8", "densenet121"),)
    )
    command = [*SEGKIT, "train", *data, "--device", "cuda", "--weights", "none", "--encoder"]
    command += [encoder, "--epochs", "1", "--size", size, "--batch", batch, "--workers", "0"]
    command += ["--out", str(machine.work / part.name)]
    return machine.run(part.name, command, seconds)


def suite(part: Part, machine: Machine, seconds: float) -> Outcome:
    """One suite on the device within its time, its result copied; failed where it left none."""
    out = machine.work / f"bench-{part.name}"
    options = SMALL if machine.rehearsal else part.options
    command = [*SEGKIT, "bench", part.name, "--device", "cuda", *options]
    command += ["--minutes", f"{seconds / 60:.2f}", "--out", str(out)]
    outcome = machine.run(part.name, command, seconds + GRACE_SECONDS)
    written = out / "results.json"
    if not written.is_file():
        return outcome
    text = written.read_text(encoding="utf-8")
    (machine.results / f"gpu-{part.name}.json").write_text(text, encoding="utf-8")
    if outcome.status == "ok":
        statuses = [row["status"] for row in json.loads(text)["rows"]]
        counts = {status: statuses.count(status) for status in dict.fromkeys(statuses)}
        outcome.note = ", ".join(f"{number} {status}" for status, number in counts.items())
        # A crash is ours to explain; a case that is refused or has no time is not.
        if {"crashed", "wrong"} & set(counts):
            outcome.status = "failed"
    return outcome


def plan(part: Part, machine: Machine, seconds: float) -> Outcome:
    """What segkit predicts for every network the suites measured, beside what was allocated."""
    from segkit.bench.limits.counting import counted_case
    from segkit.bench.records.run import read_run

    start, rows = time.monotonic(), list[dict[str, Any]]()
    for file in sorted(machine.results.glob("gpu-*.json")):
        if '"segkit-bench/' not in file.read_text(encoding="utf-8")[:100]:
            continue
        for row in read_run(file).rows:
            if time.monotonic() - start > seconds:
                break
            if row.case.task != "network" or row.memory is None or not row.memory.allocated_bytes:
                continue
            predicted, allocated = counted_case(row.case).peak_bytes, row.memory.allocated_bytes
            percent = round(100 * (predicted / allocated - 1), 1)
            rows.append(
                {
                    **{"case": row.case.name, "file": file.name, "predicted_bytes": predicted},
                    **{"allocated_bytes": allocated, "difference_percent": percent},
                }
            )
    found = json.dumps({"rehearsal": machine.rehearsal, "rows": rows}, indent=1)
    (machine.results / "gpu-plan.json").write_text(found + "\n", encoding="utf-8")
    worst = max((abs(row["difference_percent"]) for row in rows), default=0.0)
    note = f"{len(rows)} cases, at most {worst} % apart" if rows else "no suite has measured one"
    return Outcome(part.name, "ok" if rows else "skipped", time.monotonic() - start, note=note)


HOW: dict[str, Callable[[Part, Machine, float], Outcome]] = {
    "tests": tests,
    "train-demo": train_demo,
    "train-camvid": train_camvid,
    "plan": plan,
}


if __name__ == "__main__":
    raise SystemExit(main())
