"""`segkit list`: what is installed, by metadata; --long and --compatible-with may load plugins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import click

from segkit.cli.options.completion import ComponentName, Kind
from segkit.cli.options.declaring import Command, announce, say
from segkit.errors import UsageError
from segkit.registry.index import FIRST_PARTY, Entry, Index, checked_kind, singular
from segkit.reporting.tables import aligned

NOT_LOADED = "not loaded"


@click.command("list", cls=Command)
@click.argument("kind", required=False, type=Kind())
@click.argument("pattern", default="*")
@click.option("--long", is_flag=True, help="Load each plugin; add summaries and capabilities.")
@click.option(
    "--compatible-with",
    metavar="NAME",
    type=ComponentName(),
    help="Only encoders, decoders or upsamplers that work together with NAME. [default: all]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    kind: str | None, pattern: str, long: bool, compatible_with: str | None, as_json: bool
) -> None:
    """List the components installed: all, of one KIND, or those that fit a PATTERN.

    \b
    segkit list                           everything; no plugin is loaded
    segkit list encoders 'densenet*'      wildcards * ? [abc]
    segkit list encoders 'timm/resnet*'   the members of a family
    segkit list decoders --compatible-with densenet121
    """
    _refuse_name_as_kind(kind, pattern)
    rows = _rows(Index.of_installed(), kind, pattern)
    if long or compatible_with:
        from segkit.describe.looking import detailed_rows, fitting_rows

        announce("segkit list: looking at each plugin ...")
        if compatible_with:
            rows = fitting_rows(rows, compatible_with)
        if long:
            rows = detailed_rows(rows)
    else:
        # Metadata alone promise nothing.
        rows = [row | {"state": NOT_LOADED} if row["state"] == "ok" else row for row in rows]
    if as_json:
        import json

        say(json.dumps(rows, indent=2))
    else:
        say(_table(rows) if rows else _nothing(kind, pattern, compatible_with))


def _refuse_name_as_kind(kind: str | None, pattern: str) -> None:
    """A pattern or a component's name where a kind is expected: SK-C002 with the whole command."""
    if kind is None or pattern != "*":
        return
    kinds = [e.kind for e in Index.of_installed().entries if fnmatchcase(e.name, kind)]
    if "/" in kind or kinds:
        of = kinds[0] if kinds else "encoders"
        show = f"segkit info {singular(of)} {kind}" if kind.isidentifier() else ""
        raise UsageError(
            "SK-C002",
            f"'{kind}' is no kind of component: the kind comes first.",
            f"segkit list {of} '{kind}'" + (f", or all about it: {show}" if show else ""),
        )


def _rows(index: Index, kind: str | None, pattern: str) -> list[dict[str, Any]]:
    entries = index.of_kind(checked_kind(kind)) if kind else index.entries
    if "/" in pattern:
        return _members(index, entries, pattern)
    shared = Counter((entry.kind, entry.name) for entry in entries if not entry.disabled)
    found = [
        _row(entry, entry.name, offers=shared[entry.kind, entry.name])
        for entry in entries
        if fnmatchcase(entry.name, pattern)
    ]
    # A member may be named without its family: resnet* finds timm/resnet50.
    return found or _members(index, entries, f"*/{pattern}", quiet=True)


def _members(
    index: Index, entries: Iterable[Entry], pattern: str, *, quiet: bool = False
) -> list[dict[str, Any]]:
    """The members of families that fit; `quiet` leaves out families that cannot be asked."""
    from segkit.describe.looking import members

    family, rows = pattern.partition("/")[0], []
    asked = [each for each in entries if each.state == "ok" and fnmatchcase(each.name, family)]
    announce("segkit list: asking families for their members ...")
    for entry, answer in zip(asked, members(asked), strict=True):
        problem = answer.failure or (answer.value.get("refused") or {}).get("what", "")
        if problem and not quiet:
            # One family that cannot be loaded must not hide the others.
            rows.append(_row(entry, entry.name) | {"state": "broken", "problem": problem})
        elif not problem:
            found = answer.value["found"]
            rows += [_row(entry, member) for member in found if fnmatchcase(member, pattern)]
    return rows


def _row(entry: Entry, name: str, offers: int = 1) -> dict[str, Any]:
    state, problem = entry.state, entry.problem
    if state == "ok" and offers > 1 and entry.distribution not in FIRST_PARTY:
        state, problem = "duplicate", f"write '{entry.distribution}:{name}' to name this one"
    return {
        "kind": singular(entry.kind),
        "name": name,
        "distribution": entry.distribution,
        "version": entry.version,
        "state": state,
        "problem": problem,
    }


def _table(rows: Iterable[dict[str, Any]]) -> str:
    rows = list(rows)
    columns = ["kind", "name", "distribution", "version", "state"]
    columns += [c for c in ("with", "capabilities", "weights", "summary") if c in rows[0]]
    lines = aligned([[row.get(column) for column in columns] for row in rows], columns).splitlines()
    notes = [f"{row['name']}: {row['problem'].rstrip('.')}." for row in rows if row["problem"]]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _nothing(kind: str | None, pattern: str, compatible_with: str | None) -> str:
    one = singular(checked_kind(kind)) if kind else "component"
    fits = f"fits '{pattern}'" if pattern != "*" else "is installed"
    also = f" and works with {compatible_with}" if compatible_with else ""
    see = f" `segkit list{f' {kind}' if kind else ''}` shows all." if pattern != "*" else ""
    return f"No {one} {fits}{also}.{see}"
