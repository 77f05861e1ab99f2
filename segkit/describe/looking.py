"""What `segkit list` and `info` show of plugins, looked at in a process of its own.

A plugin that hangs, ends the interpreter or prints costs its own row alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from segkit import errors
from segkit.describe.partners import kinds_of_part, partners, refuse_without_partner
from segkit.describe.setting import Setting
from segkit.errors import PluginError, SegkitError, UnknownComponent
from segkit.registry.asking import Answer, Argument, ask, serve
from segkit.registry.index import Entry, Index, checked_kind

Row = dict[str, Any]


def detailed_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows of `segkit list`, with summary, capabilities and licence, or why not."""
    asked = [row for row in rows if row["state"] == "ok"]
    answers = iter(ask(__name__, [{"ask": "details", "row": row} for row in asked]))
    return [_row(next(answers), row) if row["state"] == "ok" else _plain(row) for row in rows]


def fitting_rows(rows: Sequence[Row], name: str) -> list[Row]:
    """The rows of `segkit list` that work together with a component, families by their members."""
    index = Index.of_installed()
    refuse_without_partner(rows, name, index)
    kinds = kinds_of_part(index, name)
    # By itself first: where it is the one at fault, each row would wait for it.
    for kind in kinds:
        described(kind, name, Setting(height=64, width=64))
    able = [row for row in rows if partners(checked_kind(row["kind"]), kinds)]
    answers = ask(__name__, [{"ask": "fits", "row": row, "name": name} for row in able])
    found: list[Row] = []
    for answer, row in zip(answers, able, strict=True):
        if answer.failure:
            found.append(row | {"with": ""} | _broken(answer))
        else:
            found += _value(answer)
    return found


def members(entries: Sequence[Entry]) -> list[Answer]:
    """The members of each entry's family, as the value of an answer."""
    asked = [{"ask": "members", "kind": e.kind, "name": e.qualified} for e in entries]
    return ask(__name__, asked)


def described(kind: str | None, written: str, setting: Setting) -> dict[str, Any]:
    """What `segkit info` shows; raises the errors of `describe`, and PluginError SK-P006."""
    question = {"ask": "info", "kind": kind, "written": written, "setting": asdict(setting)}
    [answer] = ask(__name__, [question])
    if answer.failure:
        raise PluginError(
            "SK-P006",
            f"the plugin of '{written}' {answer.failure}.",
            "`segkit plugins --check` looks at every plugin; SEGKIT_DISABLE=DISTRIBUTION "
            "switches one off.",
        )
    facts: dict[str, Any] = _value(answer)
    return facts


def _row(answer: Answer, row: Row) -> Row:
    return _plain(row) | _broken(answer) if answer.failure else _value(answer)


def _plain(row: Row) -> Row:
    return row | {"capabilities": "", "weights": "", "summary": ""}


def _broken(answer: Answer) -> Row:
    return {"state": "broken", "problem": f"looked at by itself, it {answer.failure}"}


def _value(answer: Answer) -> Any:
    """What was answered; a refusal is raised as it was."""
    refusal = answer.value.get("refused")
    if refusal is not None:
        kind = getattr(errors, refusal["class"])
        raise kind(*refusal["arguments"])
    return answer.value["found"]


def answer(argument: Argument) -> Mapping[str, Any]:
    """In the process of its own."""
    try:
        return {"found": _found(argument)}
    except SegkitError as error:
        kind = next(each for each in type(error).__mro__ if each.__module__ == errors.__name__)
        arguments = [error.code, error.what, error.fix]
        if isinstance(error, UnknownComponent):
            arguments = [error.kind, error.name, error.what, error.fix]
        return {
            "refused": {"class": kind.__name__, "arguments": arguments, "what": error.what},
        }


def _found(argument: Argument) -> Any:
    from segkit.describe.catalogue import with_details
    from segkit.describe.compatibility import with_compatibility
    from segkit.describe.component import describe, kind_of
    from segkit.registry.components import default_registry
    from segkit.registry.expression import parse_component

    match argument["ask"]:
        case "details":
            return with_details([argument["row"]])[0]
        case "fits":
            return with_compatibility([argument["row"]], argument["name"])
        case "members":
            registry = default_registry()
            expression = parse_component(argument["name"])
            return registry.members(registry.index.find(argument["kind"], expression))
    written = argument["written"]
    kind = argument["kind"] or kind_of(written)
    return describe(kind, written, Setting(**argument["setting"]))


if __name__ == "__main__":
    serve(answer)
