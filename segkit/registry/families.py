"""The members of all families of a kind, `timm/resnet50`, asked for in a process of its own."""

from __future__ import annotations

from segkit.errors import SegkitError, UsageError, nearest
from segkit.registry.asking import Argument, ask, serve
from segkit.registry.components import Registry
from segkit.registry.expression import ComponentExpression
from segkit.registry.index import Entry, Index


def members_of(entry: Entry) -> Argument:
    """The question that `ask` puts to this module."""
    return {"kind": entry.kind, "name": entry.name, "distribution": entry.distribution}


def all_members(index: Index, kind: str) -> dict[Entry, tuple[str, ...]]:
    """By entry; a plugin that cannot be asked has none."""
    entries = [entry for entry in index.of_kind(kind) if entry.state == "ok"]
    answers = ask(__name__, [members_of(entry) for entry in entries])
    return {
        entry: tuple(answer.value)
        for entry, answer in zip(entries, answers, strict=True)
        if answer.value
    }


def with_members_named(
    error: UsageError, index: Index, kind: str, asked: ComponentExpression
) -> UsageError:
    """The refusal of an unknown name, with the nearest members of families where none is nearer."""
    if "Did you mean" in error.fix or asked.distribution or "/" in asked.name:
        return error
    members = [each for found in all_members(index, kind).values() for each in found]
    same = [each for each in members if each.partition("/")[2].lower() == asked.name.lower()]
    by_end = {each.partition("/")[2]: each for each in members}
    near = same or [by_end[end] for end in nearest(asked.name, by_end)]
    if not near:
        return error
    meant = f"Did you mean {' or '.join(repr(each) for each in near[:3])}? "
    more = f"`segkit list {kind} '*/{asked.name}*'` shows more." if not same else ""
    return UsageError(error.code, error.what, f"{meant}{more or error.fix}")


def _answer(argument: Argument) -> list[str]:
    index = Index.of_installed()
    for entry in index.of_kind(argument["kind"]):
        if members_of(entry) == argument:
            try:
                return list(Registry(index).members(entry))
            except SegkitError:
                return []
    return []


if __name__ == "__main__":
    serve(_answer)
