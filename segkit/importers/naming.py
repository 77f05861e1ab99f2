"""Where a plugin keeps the network of another library, under that library's own names."""

from __future__ import annotations

from collections.abc import Collection


def nested_in(ours: Collection[str], theirs: Collection[str]) -> str | None:
    """The prefix under which `ours` are names of `theirs`: "network." for network.conv1.weight.

    The one that leaves the fewest names unknown; None where no prefix gives a single known name.
    """
    known = set(theirs)
    prefixes = {""} | {".".join(name.split(".")[:n]) + "." for name in ours for n in range(1, 4)}
    fitting = {
        prefix: sum(n.startswith(prefix) and n.removeprefix(prefix) in known for n in ours)
        for prefix in sorted(prefixes)
    }
    best = max(fitting, key=lambda prefix: fitting[prefix])
    return best if fitting[best] else None
