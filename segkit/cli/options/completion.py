"""Shell completion for the names of components, from metadata alone.

Switch it on with one of these lines in the shell's start-up file:

    eval "$(_SEGKIT_COMPLETE=bash_source segkit)"      bash
    eval "$(_SEGKIT_COMPLETE=zsh_source segkit)"       zsh
    _SEGKIT_COMPLETE=fish_source segkit | source       fish

A command's option completes names by its type: `type=ComponentName("encoders")`.
"""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from segkit.kinds import KINDS


class ComponentName(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """A component's name, or an expression with options; the value stays the text that was typed.

    kind   one of segkit.interfaces.KINDS, or "" for all of them
    """

    name = "name"

    def __init__(self, kind: str = "") -> None:
        self.kind = kind

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from segkit.registry.index import Index

        usable = [
            entry
            for entry in Index.of_installed().entries
            if entry.state == "ok" and (not self.kind or entry.kind == self.kind)
        ]
        names = dict.fromkeys(entry.name for entry in usable)
        # Only the last of "dice + ce" or "miou,dice" is being typed.
        cut = max(incomplete.rfind(mark) for mark in "+*, ") + 1
        before, typed = incomplete[:cut], incomplete[cut:]
        return [CompletionItem(before + name) for name in names if name.startswith(typed)]


class Kind(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """A kind of component, in its plural or singular form."""

    name = "kind"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(kind) for kind in KINDS if kind.startswith(incomplete)]
