"""What is wrong with a plugin that does not answer, said so that its author can mend it."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from pluggy import PluginValidationError

from segkit.errors import EnvironmentFault, PluginError, SegkitError, did_you_mean
from segkit.hookspecs import HOOKS
from segkit.registry.environment import explain_import_error
from segkit.registry.index import Entry, singular


def misplaced_object(entry: Entry) -> PluginError:
    """SK-P001 for an entry point that names a class, `tiny = "package:Tiny"`."""
    module, _, named = entry.module.partition(":")
    return PluginError(
        "SK-P001",
        f"{entry.distribution} {entry.version}: its entry point '{entry.name} = {entry.module}' "
        f"(segkit.{entry.kind}) names {named} in a module, and segkit asks a module's hook.",
        f'Write {entry.name} = "{module}" in pyproject.toml, and in {module} a function '
        f"{HOOKS[entry.kind]}(name) with @hookimpl that returns {named} for '{entry.name}'. Then "
        "install it again: entry points are read when a package is installed.",
    )


def unloadable(entry: Entry, error: BaseException) -> SegkitError:
    """SK-P001 for a module that cannot be imported or has an unknown hook; SK-E001 where torch
    and torchvision, which it imports, do not fit each other."""
    what = (
        f"{entry.distribution} {entry.version} cannot be loaded: its entry point "
        f"'{entry.name} = {entry.module}' (segkit.{entry.kind}) failed "
        f"({type(error).__name__}: {error})."
    )
    if mismatch := explain_import_error(error):
        return EnvironmentFault("SK-E001", what, mismatch)
    return PluginError("SK-P001", what, _mend(entry, error))


def _mend(entry: Entry, error: BaseException) -> str:
    others = (
        f"`segkit plugins --check` tests every plugin; reinstall or remove it with "
        f"`python -m pip uninstall {entry.distribution}`."
    )
    if isinstance(error, PluginValidationError):
        written = str(error).partition("unknown hook '")[2].partition("'")[0]
        near = did_you_mean(written, [*HOOKS.values(), "segkit_members"])
        return f"{near}A function with @hookimpl is called {HOOKS[entry.kind]}.\n{others}"
    if isinstance(error, ModuleNotFoundError) and error.name == entry.module.partition(".")[0]:
        return (
            f"There is no module {error.name}: correct the entry point in its pyproject.toml, and "
            f"install it again.\n{others}"
        )
    return others


def missing_hook(entry: Entry, name: str, module: ModuleType, hooks: Sequence[str]) -> PluginError:
    """SK-P005 for a module whose hook returns nothing for a name that it registers, or has none.

    hooks   of the module, by name
    """
    hook, kind = HOOKS[entry.kind], singular(entry.kind)
    what = (
        f"{entry.distribution} {entry.version} registers the {kind} '{entry.name}', but its "
        f"module {entry.module} has no hook {hook}"
    )
    report = f"Please report it to the authors of {entry.distribution}."
    groups = {own: group for group, own in HOOKS.items()}
    others = [each for each in hooks if each in groups]
    if hook in hooks:
        what = (
            f"{entry.distribution} {entry.version} registers the {kind} '{entry.name}', but its "
            f"hook {hook} returns nothing for '{name}'."
        )
        return PluginError("SK-P005", what, f"It has to return a class or a function. {report}")
    if hasattr(module, hook):
        mend = f"Its function {hook} lacks the line @hookimpl (from segkit.api) above it."
    elif others:
        what += f", and has {' and '.join(others)}"
        mend = (
            f"Write {hook}(name) with @hookimpl, or move the entry point to the group "
            f"segkit.{groups[others[0]]}."
        )
    else:
        mend = (
            f"Write there, with @hookimpl from segkit.api, {hook}(name), which returns the class "
            f"for '{name}': docs/plugins/{kind}.md shows one."
        )
    return PluginError("SK-P005", f"{what}.", f"{mend} {report}")
