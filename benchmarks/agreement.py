"""Whether two runs of a suite agree, and whether a slow-down is caught: `segkit bench` on trial.

    python benchmarks/agreement.py [--suite agreement] [--again 2] [--threads 1] [--out FOLDER]

Runs the suite once, `again` times more unchanged, and once with the cases `peers/steady` slowed
down by a fifth. Then `segkit bench compare --fail-if slower>1.10` holds each run against the first.
Unchanged runs should agree in 95 % of rows and pass the gate; of the slowed run exactly the slowed
cases should fail it. Ends with status 1 where that is not so. Writes results/agreement.json. Runs
that the folder holds already, of a trial that was broken off, are not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULT = HERE / "results" / "agreement.json"
SEGKIT = [sys.executable, "-m", "segkit"]
SLOWED, FACTOR, GATE = "peers/steady", 1.2, "slower>1.10"
WANTED = 0.95
GATE_FAILED = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="agreement")
    parser.add_argument("--again", type=int, default=2)
    parser.add_argument("--threads", type=int, help="of torch; by default its own choice")
    parser.add_argument("--out", type=Path, default=Path("agreement"))
    given = parser.parse_args()
    command = [given.suite] + (["--threads", str(given.threads)] if given.threads else [])
    first = measure(command, given.out / "first")
    same = [
        compare(first, measure(command, given.out / f"again-{number + 1}"))
        for number in range(given.again)
    ]
    slowed = compare(first, measure(command, given.out / "slowed", {"PEERS_SLOWER": str(FACTOR)}))
    found = verdict(same, slowed)
    conditions = json.loads((first / "results.json").read_text())
    hardware = {k: conditions["environment"][k] for k in ("processor", "cores", "packages")}
    command_line = f"python benchmarks/agreement.py --suite {given.suite} --again {given.again}"
    if given.threads:
        command_line += f" --threads {given.threads}"
    content = {"command": command_line, "started": conditions["started"], **hardware, **found}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(content, indent=1) + "\n")
    print("\n".join(lines(found)))
    return 0 if found["passed"] else 1


def measure(
    command: Sequence[str], out: Path, environment: Mapping[str, str] | None = None
) -> Path:
    """One run of the suite; its folder."""
    if (out / "results.json").is_file():
        return out
    subprocess.run(
        [*SEGKIT, "bench", *command, "--out", str(out)],
        env={**os.environ, **(environment or {})},
        check=True,
    )
    return out


def compare(a: Path, b: Path) -> dict[str, Any]:
    """What `segkit bench compare` says, and its exit status."""
    words = ["bench", "compare", str(a), str(b), "--fail-if", GATE, "--json"]
    ran = subprocess.run([*SEGKIT, *words], capture_output=True, text=True, check=False)
    if ran.returncode not in (0, GATE_FAILED):
        raise RuntimeError(ran.stderr)
    facts: dict[str, Any] = json.loads(ran.stdout)
    return facts | {"status": ran.returncode}


def verdict(same: Sequence[Mapping[str, Any]], slowed: Mapping[str, Any]) -> dict[str, Any]:
    """How many rows agree, what the gate said of the unchanged, and what of the slowed."""
    rows = [row for each in same for row in each["comparisons"]]
    agree = [row for row in rows if row["verdict"] == "tie"]
    within = [row for row in rows if row["low"] is not None and row["low"] <= 1 <= row["high"]]
    caught = {case for case, _ in slowed["failures"]}
    expected = {c["case"] for c in slowed["comparisons"] if c["case"].startswith(SLOWED)}
    ratios = {c["case"]: c["ratio"] for c in slowed["comparisons"] if c["case"] in expected}
    false_alarms = sum(len(each["failures"]) for each in same)
    passed = (
        len(agree) >= WANTED * len(rows)
        and false_alarms == 0
        and bool(expected)
        and caught == expected
    )
    return {
        "runs": len(same) + 2,
        "rows_compared": len(rows),
        "rows_agree": len(agree),
        "rows_whose_interval_holds_1": len(within),
        "bands": [each["band"] for each in same],
        "rows_failing_the_gate_unchanged": false_alarms,
        "gate": GATE,
        "slowed_by": FACTOR,
        "slowed_cases": len(expected),
        "slowed_caught": len(caught & expected),
        "others_failing_the_gate": sorted(caught - expected),
        "slowed_ratios": ratios,
        "passed": passed,
    }


def lines(found: Mapping[str, Any]) -> list[str]:
    """The verdict in words."""
    rows, agree = found["rows_compared"], found["rows_agree"]
    return [
        f"{agree} of {rows} rows of unchanged runs agree ({agree / max(rows, 1):.1%}), "
        f"{found['rows_whose_interval_holds_1']} by their interval alone; "
        f"{found['rows_failing_the_gate_unchanged']} fail {found['gate']}.",
        f"{found['slowed_caught']} of {found['slowed_cases']} cases slowed by "
        f"{found['slowed_by'] - 1:.0%} are caught; other rows that failed: "
        f"{len(found['others_failing_the_gate'])}.",
        "Passed." if found["passed"] else "NOT passed.",
    ]


if __name__ == "__main__":
    sys.exit(main())
