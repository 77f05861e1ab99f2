"""The members of all families of a kind, `timm/resnet50`, asked for in a process of its own."""

from __future__ import annotations

from segkit.errors import SegkitError, UnknownComponent, UsageError, nearest
from segkit.registry.asking import Argument, ask, serve
from segkit.registry.components import Registry
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


def with_nearest_members(error: UnknownComponent) -> UsageError:
    """The refusal with the nearest members of families, where no plain name is near."""
    if "Did you mean" in error.fix or "/" in error.name:
        return error
    found = all_members(Index.of_installed(), error.kind)
    by_end = {each.partition("/")[2]: each for members in found.values() for each in members}
    same = [m for members in found.values() for m in members if m.partition("/")[2] == error.name]
    near = same or [by_end[end] for end in nearest(error.name, by_end)]
    if not near:
        return error
    meant = f"Did you mean {' or '.join(repr(each) for each in near[:3])}?"
    see = f"`segkit list {error.kind} '{error.name}*'` shows members of families."
    return UsageError(error.code, error.what, f"{meant} {see}")


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
