"""`segkit plugins`: the installed plugin distributions, by metadata; --check imports each."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click

from segkit.cli.declaring import Command, announce, say
from segkit.errors import PluginError
from segkit.registry.index import Entry, Index, singular
from segkit.reporting.tables import aligned

COLUMNS = ("distribution", "version", "offers", "names", "state")


@click.command("plugins", cls=Command)
@click.option("--check", is_flag=True, help="Import every plugin, each in a process of its own.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(ctx: click.Context, check: bool, as_json: bool) -> None:
    """Show the installed plugins, or test each of them.

    \b
    segkit plugins            from metadata: nothing is imported
    segkit plugins --check    builds what each offers, in a process of its own;
                              exit status 9 if one is broken
    """
    index = Index.of_installed()
    rows = [_row(entries, index) for entries in index.distributions().values()]
    if check:
        announce("segkit plugins: building what each offers, in a process of its own ...")
        rows = _checked(rows)
    if as_json:
        say(json.dumps(rows, indent=2))
    else:
        say(_text(rows, check))
    if check and any(row["state"] == "broken" for row in rows):
        ctx.exit(PluginError.exit_code)


def _row(entries: tuple[Entry, ...], index: Index) -> dict[str, Any]:
    names: dict[str, list[str]] = {}
    for entry in entries:
        names.setdefault(entry.kind, []).append(entry.name)
    disabled = entries[0].disabled
    broken = [e for e in entries if e.problem]
    return {
        "distribution": entries[0].distribution,
        "version": entries[0].version,
        "names": names,
        "state": "disabled" if disabled else "broken" if broken else "ok",
        "problems": [_problem(_named(e), e.problem) for e in broken],
        "notes": [] if disabled else _shared_names(entries, index),
    }


def _shared_names(entries: tuple[Entry, ...], index: Index) -> list[str]:
    offers = Counter((e.kind, e.name) for e in index.entries if not e.disabled)
    return [
        f"the {singular(entry.kind)} '{entry.name}' is offered by another distribution too: "
        f"write '{entry.qualified}' to name this one"
        for entry in entries
        if offers[entry.kind, entry.name] > 1
    ]


def _checked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from concurrent.futures import ThreadPoolExecutor

    from segkit.testing.imports import probe

    def checked(row: dict[str, Any]) -> dict[str, Any]:
        if row["state"] == "disabled":
            return row
        found = [_problem(f.entry, f.cause, f.fix) for f in probe(row["distribution"])]
        return row | {"state": "broken" if found else "ok", "problems": found}

    # Each waits for a process of its own, most of whose time goes into importing torch.
    with ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(checked, rows))


def _problem(entry: str, cause: str, fix: str = "") -> dict[str, str]:
    return {"entry": entry, "cause": cause, "fix": fix}


def _named(entry: Entry) -> str:
    return f"{entry.kind}/{entry.name}"


def _text(rows: list[dict[str, Any]], check: bool) -> str:
    if not rows:
        return "No plugin is installed, or SEGKIT_DISABLE switches all of them off."
    lines = [aligned([_cells(row) for row in rows], COLUMNS)]
    for row in rows:
        title = f"{row['distribution']} {row['version']}"
        for problem in row["problems"]:
            where = f"{title}, {problem['entry']}" if problem["entry"] else title
            cause = problem["cause"].removeprefix(f"{title}: ").rstrip(".")
            lines += ["", f"{where}: {cause}."]
            lines += [f"  {line}" for line in problem["fix"].splitlines()]
        lines += [f"\n{title}: {note}." for note in row["notes"]]
    if check:
        broken = sum(row["state"] == "broken" for row in rows)
        lines += ["", f"{broken} of {len(rows)} plugins are broken." if broken else "All is well."]
    return "\n".join(lines)


def _cells(row: dict[str, Any]) -> list[Any]:
    offers = ", ".join(
        f"{len(names)} {kind if len(names) > 1 else singular(kind)}"
        for kind, names in row["names"].items()
    )
    count = sum(len(names) for names in row["names"].values())
    return [row["distribution"], row["version"], offers, count, row["state"]]
