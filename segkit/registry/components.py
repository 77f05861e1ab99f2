"""Loads the one plugin that is named, and builds one component from it.

The index has found the entry by metadata; here its module is imported, for the first time.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import pluggy

from segkit.errors import PluginError, SegkitError, UsageError, did_you_mean
from segkit.hookspecs import HOOKS, Factory, HookSpecs
from segkit.interfaces import REQUIRED_MEMBERS
from segkit.registry.broken import misplaced_object, missing_hook, unloadable
from segkit.registry.expression import ComponentExpression, parse_component
from segkit.registry.index import Entry, Index, a, checked_kind, singular
from segkit.registry.options import (
    Option,
    can_be_written,
    check_options,
    options_of,
    written_value,
)


@dataclass(frozen=True)
class Component:
    """A component found and loaded, not built yet: its factory and all its options' values."""

    entry: Entry
    name: str
    factory: Factory[Any]
    options: tuple[Option, ...]
    values: Mapping[str, Any]

    @property
    def expression(self) -> ComponentExpression:
        """Every option spelled out, so that a later default cannot change what was built.

        Left out are options that no expression can hold, such as a module: see `can_be_written`.
        """
        written = {k: written_value(v) for k, v in self.values.items() if can_be_written(v)}
        return ComponentExpression(self.name, written)

    def build(self, **arguments: Any) -> Any:
        """Calls the factory; raises PluginError SK-P003, naming the plugin, where it fails or
        returns what is no such component."""
        try:
            return self.factory(**arguments, **self.values)
        except SegkitError:
            raise
        except Exception as error:
            raise PluginError(
                "SK-P003",
                f"{self.entry.distribution} {self.entry.version} failed to build the "
                f"{singular(self.entry.kind)} '{self.expression}' "
                f"({type(error).__name__}: {error}).",
                "--debug shows where. Please report it to the authors of "
                f"{self.entry.distribution}.",
            ) from error

    def built(self, **arguments: Any) -> Any:
        """As `build`, where what comes is a component of its kind; raises PluginError SK-P003."""
        made = self.build(**arguments)
        needed = REQUIRED_MEMBERS[self.entry.kind]
        missing = [name for name in needed if not hasattr(made, name)]
        if not missing:
            return made
        kind, entry = singular(self.entry.kind), self.entry
        what = f"a {type(made).__name__} without {', '.join(missing)}"
        raise PluginError(
            "SK-P003",
            f"{entry.distribution} {entry.version}: the factory of the {kind} '{self.name}' gave "
            f"{'None' if made is None else what}.",
            f"{a(kind).capitalize()} has {', '.join(needed)}: docs/plugins/{kind}.md "
            f"shows one. Please report it to the authors of {entry.distribution}.",
        )


class Registry:
    """Loads plugins one at a time; a broken one harms nobody but those who name it."""

    def __init__(self, index: Index | None = None) -> None:
        self.index = index if index is not None else Index.of_installed()
        self._manager = pluggy.PluginManager("segkit")
        self._manager.add_hookspecs(HookSpecs)
        self._loaded: dict[str, ModuleType] = {}
        self._found: dict[tuple[str, str], Component] = {}
        # Every component asked for in this process, to tell whose fault a later error is.
        self.used: list[Component] = []

    def component(
        self,
        kind: str,
        written: str | ComponentExpression,
        options: Mapping[str, Any] | None = None,
    ) -> Component:
        """Finds, loads and checks what the user wrote; `options` win over those in the text.

        Once: a training asks before it reads the data, and again when it builds the parts.
        """
        expression = parse_component(written) if isinstance(written, str) else written
        asked = (checked_kind(kind), f"{expression} {dict(options or {})!r}")
        if asked in self._found:
            return self._found[asked]
        entry = self.index.find(kind, expression)
        factory = self.factory(entry, expression.name)
        offered = self.options(entry, factory)
        given = check_options(expression.name, offered, {**expression.options, **(options or {})})
        values = {o.name: given.get(o.name, o.default) for o in offered}
        component = Component(entry, expression.name, factory, offered, values)
        self.used.append(component)
        self._found[asked] = component
        return component

    def members(self, entry: Entry) -> tuple[str, ...]:
        """The members of a family (`timm/resnet18`, ...); empty for a single component."""
        found = self._ask(entry, "segkit_members", kind=entry.kind, family=entry.name)
        return tuple(sorted(found or ()))

    def load(self, entry: Entry) -> ModuleType:
        """Imports the entry's module and registers its hooks, once.

        Raises PluginError SK-P001, or EnvironmentFault SK-E001 where torch and torchvision, which
        it imports, do not fit each other.
        """
        if entry.module in self._loaded:
            return self._loaded[entry.module]
        if ":" in entry.module:
            raise misplaced_object(entry)
        module = None
        try:
            module = importlib.import_module(entry.module)
            self._manager.register(module, name=entry.module)
            self._manager.check_pending()
        # A stranger's module may raise anything at import, SystemExit included.
        except (Exception, SystemExit) as error:
            if module is not None and self._manager.is_registered(module):
                self._manager.unregister(module)
            raise unloadable(entry, error) from error
        self._loaded[entry.module] = module
        return module

    def options(self, entry: Entry, factory: Factory[Any]) -> tuple[Option, ...]:
        """The options of an entry's factory; raises PluginError SK-P003, naming the plugin."""
        try:
            return options_of(factory, entry.kind)
        except PluginError as error:
            named = f"{entry.distribution} {entry.version}, '{entry.name}': {error.what}"
            raise PluginError(error.code, named, error.fix) from error

    def factory(self, entry: Entry, name: str) -> Factory[Any]:
        """What the entry's hook returns for a name; raises SK-P005, or SK-C003 for a family."""
        factory = self._ask(entry, HOOKS[entry.kind], name=name)
        if factory is not None:
            return factory
        members = self.members(entry)
        if not members:
            module = self.load(entry)
            callers = self._manager.get_hookcallers(module) or ()
            raise missing_hook(entry, name, module, [caller.name for caller in callers])
        if name == entry.name:
            raise UsageError(
                "SK-C003",
                f"'{name}' is a family of {len(members)} {entry.kind}, not one of them.",
                f"Name a member, such as {members[0]}; "
                f"`segkit list {entry.kind} '{name}/*'` shows all.",
            )
        raise UsageError(
            "SK-C003",
            f"no {singular(entry.kind)} is called '{name}'.",
            f"{did_you_mean(name, members)}`segkit list {entry.kind} '{entry.name}/*'` "
            f"shows all {len(members)}.",
        )

    def _ask(self, entry: Entry, hook: str, **arguments: str) -> Any:
        module = self.load(entry)
        others = [p for p in self._manager.get_plugins() if p is not module]
        call = self._manager.subset_hook_caller(hook, remove_plugins=others)
        try:
            return call(**arguments)
        except SegkitError:
            raise
        except Exception as error:
            raise PluginError(
                "SK-P003",
                f"{entry.distribution} {entry.version}, '{entry.name}': its hook {hook} raised "
                f"{type(error).__name__}: {error}.",
                f"Please report it to the authors of {entry.distribution}.",
            ) from error


@cache
def default_registry() -> Registry:
    """The registry over what is installed, read once a process."""
    return Registry()
