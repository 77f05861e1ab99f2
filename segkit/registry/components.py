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

from segkit.errors import EnvironmentFault, PluginError, SegkitError, UsageError, did_you_mean
from segkit.hookspecs import HOOKS, Factory, HookSpecs
from segkit.registry.environment import explain_import_error
from segkit.registry.expression import ComponentExpression, parse_component
from segkit.registry.index import Entry, Index, singular
from segkit.registry.options import Option, check_options, options_of


@dataclass(frozen=True)
class Component:
    """A component found and loaded, not built yet: its factory and all its options' values."""

    entry: Entry
    name: str
    factory: Factory
    options: tuple[Option, ...]
    values: Mapping[str, Any]

    @property
    def expression(self) -> ComponentExpression:
        """Every option spelled out, so that a later default cannot change what was built."""
        return ComponentExpression(self.name, dict(self.values))

    def build(self, **arguments: Any) -> Any:
        """Calls the factory; an error of its own becomes PluginError SK-P003, naming the plugin."""
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


class Registry:
    """Loads plugins one at a time; a broken one harms nobody but those who name it."""

    def __init__(self, index: Index | None = None) -> None:
        self.index = index if index is not None else Index.of_installed()
        self._manager = pluggy.PluginManager("segkit")
        self._manager.add_hookspecs(HookSpecs)
        self._loaded: dict[str, ModuleType] = {}
        # Every component asked for in this process, to tell whose fault a later error is.
        self.used: list[Component] = []

    def component(
        self,
        kind: str,
        written: str | ComponentExpression,
        options: Mapping[str, Any] | None = None,
    ) -> Component:
        """Finds, loads and checks what the user wrote; `options` win over those in the text."""
        expression = parse_component(written) if isinstance(written, str) else written
        entry = self.index.find(kind, expression)
        factory = self.factory(entry, expression.name)
        offered = self._options(entry, factory)
        given = check_options(expression.name, offered, {**expression.options, **(options or {})})
        values = {o.name: given.get(o.name, o.default) for o in offered}
        component = Component(entry, expression.name, factory, offered, values)
        self.used.append(component)
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
        module = None
        try:
            module = importlib.import_module(entry.module)
            self._manager.register(module, name=entry.module)
            self._manager.check_pending()
        # A stranger's module may raise anything at import, SystemExit included.
        except (Exception, SystemExit) as error:
            if module is not None and self._manager.is_registered(module):
                self._manager.unregister(module)
            what = (
                f"{entry.distribution} {entry.version} cannot be loaded: its entry point "
                f"'{entry.name} = {entry.module}' (segkit.{entry.kind}) failed "
                f"({type(error).__name__}: {error})."
            )
            if mismatch := explain_import_error(error):
                raise EnvironmentFault("SK-E001", what, mismatch) from error
            raise PluginError(
                "SK-P001",
                what,
                f"`segkit plugins --check` tests every plugin; reinstall or remove it with "
                f"`python -m pip uninstall {entry.distribution}`.",
            ) from error
        self._loaded[entry.module] = module
        return module

    def _options(self, entry: Entry, factory: Factory) -> tuple[Option, ...]:
        try:
            return options_of(factory, entry.kind)
        except PluginError as error:
            named = f"{entry.distribution} {entry.version}, '{entry.name}': {error.what}"
            raise PluginError(error.code, named, error.fix) from error

    def factory(self, entry: Entry, name: str) -> Factory:
        """What the entry's hook returns for a name; raises SK-P005, or SK-C003 for a family."""
        factory = self._ask(entry, HOOKS[entry.kind], name=name)
        if factory is not None:
            return factory
        members = self.members(entry)
        if not members:
            raise PluginError(
                "SK-P005",
                f"{entry.distribution} {entry.version} registers the {singular(entry.kind)} "
                f"'{entry.name}', but its hook {HOOKS[entry.kind]} returns nothing for '{name}'.",
                f"Please report it to the authors of {entry.distribution}.",
            )
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
