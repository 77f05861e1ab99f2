"""All turns of a contest, one after the other or some at a time, each on cores of its own; what was
done before is taken from its records."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segkit.bench.quality.machine import check_same, machine
from segkit.bench.quality.picture import draw
from segkit.bench.quality.preparing import Prepared, prepare
from segkit.bench.quality.result import Record, as_json, result
from segkit.bench.quality.running import Place, Turn, kept, missing, run, turns_kept
from segkit.bench.quality.table import Table
from segkit.errors import UsageError
from segkit.reporting.figures import LIGHT
from segkit.storage import new_file, replace_text

RESULTS, PICTURE = "results.json", "score-over-minutes.png"


@dataclass(frozen=True)
class Contest:
    """Which sets, tools, times and seeds, and where.

    root     the folder whose folders are the sets
    """

    table: Table
    root: Path
    place: Place
    sets: Sequence[str]
    tools: Sequence[str]
    minutes: Sequence[float]
    seeds: Sequence[int]

    @property
    def turns(self) -> list[Turn]:
        """Seeds outermost: when it is ended early, there is something of everything."""
        return [
            Turn(name, tool, minutes, seed)
            for seed in self.seeds
            for minutes in self.minutes
            for name in self.sets
            for tool in self.tools
        ]


@dataclass
class Outcome:
    """What came of it, earlier starts in the same folder included.

    records   by turn
    found     what results.json holds
    """

    records: dict[Turn, Record] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)


Say = Callable[[str], None]


def hold(contest: Contest, say: Say) -> Outcome:
    """Runs every turn, and writes results.json and the picture after each.

    A tool that is not installed is left out, and said; raises UsageError SK-C009 where none is, or
    the folder keeps turns of another machine.
    """
    tools = _those_installed(contest, say)
    table, place = contest.table, contest.place
    # Asked here, where all cores are seen: a turn sees its share.
    place = replace(place, machine=machine(place.peers, place.threads, place.jobs))
    contest = replace(contest, place=place)
    prepared = {name: _prepared(contest, name) for name in contest.sets}
    outcome = Outcome()
    for turn in turns_kept(place.folder):
        if turn.set not in table.sets or turn.tool not in table.tools:
            continue
        if turn.set not in prepared:
            prepared[turn.set] = _prepared(contest, turn.set)
        if (known := kept(turn, table.tools[turn.tool], prepared[turn.set], place)) is not None:
            check_same(place.machine, known.get("machine", {}), place.folder)
            outcome.records[turn] = known
    turns = [turn for turn in contest.turns if turn.tool in tools]
    earlier = set(outcome.records)
    for number, (turn, record) in enumerate(_records(contest, turns, prepared), 1):
        before = turn in earlier
        outcome.records[turn] = record
        say(f"{number}/{len(turns)}  {turn.name}: {_sentence(record, table, before)}")
        ordered = _ordered(outcome.records, table)
        records = [outcome.records[each] for each in ordered]
        shown = [each for each in records if table.sets[each["turn"]["set"]].publish]
        about = _conditions(shown, place)
        outcome.found = result(records, table, prepared, about)
        _write(outcome, place.folder)
    return outcome


def _records(
    contest: Contest, turns: Sequence[Turn], prepared: Mapping[str, Prepared]
) -> Iterator[tuple[Turn, Record]]:
    """Each turn with its record, as they end."""
    place, tools = contest.place, contest.table.tools

    def ran(turn: Turn) -> tuple[Turn, Record]:
        return turn, run(turn, tools[turn.tool], prepared[turn.set], place)

    if place.jobs == 1:
        yield from map(ran, turns)
        return
    shares = _shares_of_cores(place.jobs)
    taken = threading.Lock()

    def begin() -> None:
        # Of this thread alone; what it starts inherits it.
        with taken:
            os.sched_setaffinity(0, shares.pop())

    pool = ThreadPoolExecutor(place.jobs, initializer=begin)
    try:
        for done in as_completed([pool.submit(ran, turn) for turn in turns]):
            yield done.result()
    finally:
        place.ended.set()
        pool.shutdown(cancel_futures=True)


def _shares_of_cores(jobs: int) -> list[set[int]]:
    cores = sorted(os.sched_getaffinity(0))
    each = len(cores) // jobs
    return [set(cores[job * each : (job + 1) * each]) for job in range(jobs)]


def _prepared(contest: Contest, name: str) -> Prepared:
    folder = contest.place.folder / "data"
    return prepare(contest.root, name, contest.table.sets[name], folder)


def _ordered(turns: Iterable[Turn], table: Table) -> list[Turn]:
    """As the table has sets and tools."""
    sets, tools = list(table.sets), list(table.tools)
    return sorted(turns, key=lambda t: (sets.index(t.set), t.minutes, tools.index(t.tool), t.seed))


def unpublished(contest: Contest) -> list[str]:
    """The sets whose figures stay in this terminal."""
    return [name for name in contest.sets if not contest.table.sets[name].publish]


def _those_installed(contest: Contest, say: Say) -> list[str]:
    tools = []
    for name in contest.tools:
        reason = missing(contest.table.tools[name], contest.place.peers)
        if reason is None:
            tools.append(name)
        else:
            say(f"{name} is left out: {reason}.")
    if not tools:
        raise UsageError(
            "SK-C009", "none of the tools can run here.", "Install one, as the lines above say."
        )
    return tools


def _conditions(records: Sequence[Record], place: Place) -> dict[str, Any]:
    """The command that would run all these, when they were run, and the machine."""

    def written(values: Iterable[object]) -> str:
        return ",".join(dict.fromkeys(map(str, values)))

    turns = [Turn(**each["turn"]) for each in records]
    command = (
        f"segkit bench quality --sets {written(turn.set for turn in turns)} "
        f"--tools {written(turn.tool for turn in turns)} "
        f"--minutes {written(format(turn.minutes, 'g') for turn in turns)} "
        f"--seeds {max((turn.seed for turn in turns), default=1)} --threads {place.threads}"
    )
    if place.jobs > 1:
        command += f" --jobs {place.jobs}"
    days = sorted({each["date"] for each in records})
    return {
        "command": command,
        "date": " to ".join(dict.fromkeys((days[0], days[-1]))) if days else None,
        "machine": place.machine,
    }


def _sentence(record: Record, table: Table, known: bool) -> str:
    from segkit.bench.quality.counting import overlap_of, score_of

    if record["status"] != "ok":
        return f"failed: {record['reason']}"
    written = table.sets[record["turn"]["set"]].score
    score = float(score_of(written)(overlap_of(record["counts"]).summed()))
    took = f"{record['train_s']:.0f} s of training, {record['predict_s']:.0f} s of prediction"
    return f"{written} {score:.3f} ({took}{', from an earlier start' if known else ''})"


def _write(outcome: Outcome, folder: Path) -> None:
    replace_text(folder / RESULTS, as_json(outcome.found))
    if any("score" in row for row in outcome.found["rows"]):
        with new_file(folder / PICTURE) as file:
            file.write_bytes(draw(outcome.found, LIGHT))
