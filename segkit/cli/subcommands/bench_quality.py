"""`segkit bench quality`: score against minutes, of segkit and of its peers, on real data."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segkit.cli.options.declaring import TorchCommand, say

if TYPE_CHECKING:
    from segkit.bench.quality.contest import Contest, Outcome
    from segkit.bench.quality.table import Table

HEADER = ("set", "tool", "minutes", "score", "95 %", "of", "trained s", "note")


@click.command("quality", cls=TorchCommand)
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder whose folders are the sets. [default: $SEGKIT_TEST_DATA]",
)
@click.option("--sets", metavar="NAMES", help="[default: all of the table that may be published]")
@click.option("--tools", metavar="NAMES", help="[default: all of the table]")
@click.option("--minutes", default="15", show_default=True, metavar="N,N", help="Of each training.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="1 to so many.")
@click.option("--levers", is_flag=True, help="Add auto with each of its levers left out.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Trainings at a time, each on as many cores of its own.",
)
@click.option(
    "--threads", type=click.IntRange(1), help="Of every tool. [default: cores it may use]"
)
@click.option("--peers", metavar="PYTHON", help="That has the peers installed. [default: this one]")
@click.option(
    "--table",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Other sets and tools. [default: segkit's own]",
)
@click.option("--out", default="bench-quality", show_default=True, metavar="DIR")
@click.option("--dry-run", is_flag=True, help="List the sets, their splits and the tools.")
@click.option("--json", "as_json", is_flag=True, help="Print results.json instead of the table.")
def command(data: Path | None, file: Path | None, as_json: bool, **given: Any) -> None:
    """Train tools on the same images for the same minutes, and score what they write.

    \b
    segkit bench quality --minutes 1,5,15 --out quality
    segkit bench quality --sets drive,isbi2012 --tools auto,smp --minutes 2 --seeds 1

    Each turn (set, tool, minutes, seed) is kept in OUT/records: the same command goes on where it
    was ended, on the same machine only. OUT/results.json and OUT/score-over-minutes.png are written
    after each turn, of all that OUT keeps. A tool that is not installed is left out, with the
    command that installs it.
    """
    from segkit.bench.quality.contest import hold, unpublished
    from segkit.bench.quality.table import OURS, read_table

    contest = _contest(read_table(file or OURS).with_levers(), data, given)
    if given["dry_run"]:
        _show(contest)
        return
    tell = (lambda line: say(line, err=True)) if as_json else say
    outcome = hold(contest, tell)
    if as_json:
        click.echo(json.dumps(outcome.found, indent=1))
        return
    _table_of(outcome)
    if hidden := unpublished(contest):
        say(f"Not in results.json, because their licence forbids it: {', '.join(hidden)}.")
    say(contest.place.folder / "results.json")


def _contest(table: Table, data: Path | None, given: dict[str, Any]) -> Contest:
    from segkit.bench.instruments.conditions import usable_cores
    from segkit.bench.quality.contest import Contest
    from segkit.bench.quality.running import Place
    from segkit.bench.quality.table import chosen
    from segkit.bench.suites.grid import split_list
    from segkit.errors import UsageError

    root = data or Path(os.environ.get("SEGKIT_TEST_DATA", ""))
    if not root.is_dir() or root == Path():
        raise UsageError(
            "SK-C009",
            f"'{root}' is no folder of data sets.",
            "Name it with --data, or set SEGKIT_TEST_DATA.",
        )
    sets, tools = (split_list(given[key]) if given[key] else None for key in ("sets", "tools"))
    cores = usable_cores() if hasattr(os, "sched_setaffinity") else 1
    if given["jobs"] > cores:
        raise UsageError(
            "SK-C009",
            f"--jobs {given['jobs']}: each training needs a core of its own, and "
            f"{cores} can be given out here.",
            "Give fewer --jobs.",
        )
    published = [name for name, each in table.sets.items() if each.publish]
    place = Place(
        Path(given["out"]).resolve(),
        Path(given["peers"] or sys.executable),
        given["threads"] or usable_cores() // given["jobs"],
        given["jobs"],
    )
    return Contest(
        table,
        root,
        place,
        chosen(sets, list(table.sets), "set") if sets else published,
        _tools(table, tools, given["levers"]),
        [_minutes(each) for each in split_list(given["minutes"])],
        range(1, given["seeds"] + 1),
    )


def _tools(table: Table, named: list[str] | None, levers: bool) -> list[str]:
    """Those named, or all but those that lack a lever, which --levers adds."""
    from segkit.bench.quality.table import chosen

    lacking = list(table.lever_names())
    whole = [name for name in table.tools if name not in lacking]
    return [*chosen(named or whole, list(table.tools), "tool"), *(lacking if levers else ())]


def _minutes(text: str) -> float:
    from segkit.errors import UsageError

    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < 1e6:
        raise UsageError(
            "SK-C009", f"--minutes cannot be '{text}'.", "Give numbers above 0, such as 1,5,15."
        )
    return found


def _show(contest: Contest) -> None:
    for name in contest.sets:
        one = contest.table.sets[name]
        hidden = "" if one.publish else " Not published."
        say(f"{name} ({one.score}): {one.why}{hidden}")
    for name in contest.tools:
        say(f"{name}: {contest.table.tools[name].about}")
    turns = contest.turns
    hours = sum(turn.minutes for turn in turns) / 60
    say(f"{len(turns)} turns, {hours:.1f} hours of training.")


def _table_of(outcome: Outcome) -> None:
    from segkit.reporting.tables import aligned

    rows = []
    for row in outcome.found["rows"]:
        score = f"{row['score']:.3f}" if "score" in row else ""
        between = f"{row['low']:.3f} to {row['high']:.3f}" if row.get("low") is not None else ""
        note = row.get("failed", "") or ("late" if row.get("late") else "")
        cells = (row["set"], row["tool"], f"{row['minutes']:g}", score, between)
        rows.append((*cells, len(row["seeds"]), row.get("train_s"), note))
    say(aligned(rows, HEADER))
    for each in outcome.found["differences"]:
        if each["low"] is not None:
            say(
                f"{each['set']}, {each['minutes']:g} min: {each['of']} less {each['less']} "
                f"{each['difference']:+.3f} ({each['low']:+.3f} to {each['high']:+.3f}), "
                f"{each['verdict']}"
            )
