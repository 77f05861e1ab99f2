"""What files of `segkit bench quality` hold, joined for the page and its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from segkit.bench.quality.table import WITHOUT

Results = Mapping[str, Mapping[str, Any]]  # by file name


class Machine(NamedTuple):
    """What figures must share to stand in one picture; jobs: trainings at a time."""

    processor: str
    precision: str
    threads: int
    jobs: int

    @property
    def picture(self) -> str:
        """The name of its picture, without theme and ending."""
        return f"quality-{self.precision}-{self.threads}x{self.jobs}"


def contests(results: Results) -> Results:
    """Those in which tools meet, and not one tool and what it is without its levers."""
    return {
        name: found
        for name, found in results.items()
        if len(whole_tools(found)["tools"]) > 1 or not has_levers(found)
    }


def has_levers(found: Mapping[str, Any]) -> bool:
    return any(WITHOUT in tool for tool in found["tools"])


def by_machine(results: Results) -> dict[Machine, list[Mapping[str, Any]]]:
    """The contests, without the tools that lack a lever."""
    found: dict[Machine, list[Mapping[str, Any]]] = {}
    for each in contests(results).values():
        told = {"jobs": 1, **each["machine"]}
        same = Machine(*(told[field] for field in Machine._fields))
        found.setdefault(same, []).append(whole_tools(each))
    return found


def joined(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several results of one machine as one."""
    return {
        "sets": {name: about for each in results for name, about in each["sets"].items()},
        "tools": tools_of(results),
        "rows": [row for each in results for row in each["rows"]],
    }


def whole_tools(found: Mapping[str, Any]) -> dict[str, Any]:
    """The result without the tools that lack a lever."""
    return {
        **found,
        "tools": {name: about for name, about in found["tools"].items() if WITHOUT not in name},
        "rows": [row for row in found["rows"] if WITHOUT not in row["tool"]],
    }


def tools_of(results: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Name and what it is, of all that ran."""
    return {name: about for each in results for name, about in each["tools"].items()}


def minutes_of(found: Mapping[str, Any]) -> list[float]:
    return sorted({row["minutes"] for row in found["rows"]})
