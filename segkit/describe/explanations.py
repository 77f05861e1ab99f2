"""Why each error happens, an example, the repair, and where to read on: `segkit explain`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

# By the letter of the code; pages below docs/ lie in segkit's repository.
READ_ON = {
    "C": "`segkit COMMAND --help`, and the comments of any RUN/config.yaml",
    "D": "docs/data.md, and `segkit data check DIR`",
    "E": "`segkit doctor`",
    "W": "`segkit info ENCODER` names the weights; `segkit doctor` where they are looked for",
    "M": "`segkit import --help`, `segkit export --help`, docs/export.md",
    "T": "`segkit train --help`, `segkit plan --help`",
    "S": "`segkit doctor` shows disk, memory and shared memory",
    "B": "`segkit bench --help`, benchmarks/README.md",
    "L": "`segkit list launchers`, docs/launch.md",
    "P": "`segkit plugins --check`, CONTRIBUTING.md",
    "X": "CONTRIBUTING.md",
}


@dataclass(frozen=True)
class Explanation:
    """Three sentences on a code, in plain words."""

    cause: str
    example: str
    repair: str


@cache
def explanations() -> dict[str, Explanation]:
    """By code, from explanations.txt: `code | cause | example | repair` a line."""
    text = Path(__file__).with_name("explanations.txt").read_text(encoding="utf-8")
    parts = [[part.strip() for part in line.split(" | ")] for line in text.splitlines()]
    return {code: Explanation(cause, example, repair) for code, cause, example, repair in parts}


def explained(code: str, meaning: str) -> str:
    """What `segkit explain CODE` prints."""
    known = explanations()[code]
    lines = [
        f"{code}  {meaning}",
        "",
        f"cause    {known.cause}",
        f"example  {known.example}",
        f"repair   {known.repair}",
        f"read on  {READ_ON[code[3]]}",
    ]
    return "\n".join(lines)
