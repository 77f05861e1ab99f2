"""`segkit plugins`: the installed plugin distributions, by metadata; --check imports each."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click

from segkit.cli.options.declaring import Command, announce, say
from segkit.errors import PluginError, UsageError, did_you_mean
from segkit.registry.index import Entry, Index, canonical, singular
from segkit.reporting.tables import aligned

COLUMNS = ("distribution", "version", "offers", "names", "state")


@click.command("plugins", cls=Command)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--check", is_flag=True, help="Import every plugin, each in a process of its own.")
@click.option("--available", is_flag=True, help="Show the directory: what can be installed.")
@click.option(
    "--directory",
    metavar="FILE|URL",
    help="Another directory; a URL is fetched. [default: the one that is shipped]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    check: bool,
    available: bool,
    directory: str | None,
    as_json: bool,
) -> None:
    """Show the installed plugins, or those NAMED; test each, or show which there are.

    \b
    segkit plugins --available    what `segkit install NAME` can install
    segkit plugins            from metadata: nothing is imported
    segkit plugins --check    builds what each offers, in a process of its own;
                              exit status 9 if one is broken
    """
    index = Index.of_installed()
    if available or directory:
        say(_directory(index, directory, as_json))
        return
    rows = [_row(entries, index) for entries in _chosen(index, names)]
    if check:
        announce("segkit plugins: building what each offers, in a process of its own ...")
        rows = _checked(rows)
    if as_json:
        say(json.dumps(rows, indent=2))
    else:
        say(_text(rows, check))
    if check and any(row["state"] == "broken" for row in rows):
        ctx.exit(PluginError.exit_code)


def _chosen(index: Index, names: tuple[str, ...]) -> list[tuple[Entry, ...]]:
    """The entries of each plugin that is named, or of all."""
    installed = index.distributions()
    for name in names:
        if canonical(name) not in installed:
            raise UsageError(
                "SK-C003",
                f"no plugin called '{name}' is installed.",
                f"{did_you_mean(name, installed)}`segkit plugins` shows all {len(installed)}.",
            )
    wanted = [canonical(name) for name in names] or list(installed)
    return [installed[name] for name in wanted]


def _directory(index: Index, source: str | None, as_json: bool) -> str:
    from segkit.registry.directory import LIFECYCLES, read_directory

    installed = {name: entries[0].version for name, entries in index.distributions().items()}
    rows = [
        {
            "name": each.name,
            "lifecycle": each.lifecycle,
            "kinds": each.kinds,
            "versions": each.versions,
            "installed": installed.get(each.name),
            "summary": each.summary,
        }
        for each in read_directory(source)
    ]
    if as_json:
        return json.dumps(rows, indent=2)
    columns = ("name", "lifecycle", "kinds", "versions", "installed", "summary")
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    used = dict.fromkeys(str(row["lifecycle"]) for row in rows)
    notes = [f"{word}: {LIFECYCLES[word]}." for word in used]
    return "\n".join([aligned(cells, columns), "", *notes, "`segkit install NAME` installs one."])


def _cell(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value or "-")


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
