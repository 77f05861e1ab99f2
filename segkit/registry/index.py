"""What is installed, read from metadata alone: no plugin module is imported here, and so no torch.

A distribution offers components through entry points in the groups `segkit.<kind>`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache, cached_property
from importlib import metadata
from typing import TYPE_CHECKING, NamedTuple

from segkit.errors import PluginError, SegkitWarning, UnknownComponent, UsageError, did_you_mean
from segkit.kinds import KINDS, NAME

if TYPE_CHECKING:
    from segkit.registry.expression import ComponentExpression

CORE = "segkit-core"
# Those of this repository: where a stranger offers one of their names too, the name is theirs.
FIRST_PARTY = frozenset(
    f"segkit-{name}"
    for name in (
        *("unet", "densenet", "upsamplers", "losses", "metrics"),
        *("datasets", "timm", "smp", "bench-gpu", "launchers", "ray"),
    )
)
_NAME = re.compile(NAME)


class Entry(NamedTuple):
    """One component as its distribution's metadata declare it.

    module   what will be imported when it is named
    problem  why it cannot be used, or "" where nothing speaks against it: an ill-formed name, or a
             requirement on another version of segkit-core
    """

    kind: str
    name: str
    module: str
    distribution: str
    version: str
    problem: str = ""
    disabled: bool = False

    @property
    def qualified(self) -> str:
        return f"{self.distribution}:{self.name}"

    @property
    def state(self) -> str:
        if self.disabled:
            return "disabled"
        return "broken" if self.problem else "ok"


class Index:
    """All entries, and the rules by which a name finds one of them."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(
            sorted(entries, key=lambda e: (KINDS.index(e.kind), e.name, e.distribution))
        )

    @classmethod
    def of_installed(cls, disabled: Iterable[str] | None = None) -> Index:
        """Reads the metadata of every installed distribution.

        disabled   distributions to switch off; by default those of the environment variable
                   SEGKIT_DISABLE, separated by commas; "*" switches off all but the core's own
        """
        off = switched_off() if disabled is None else {canonical(name) for name in disabled}
        entries: dict[tuple[str, str, str], Entry] = {}
        for distribution in metadata.distributions():
            for entry in _entries_of(distribution, off):
                # The first on the path wins, as it does for imports.
                entries.setdefault((entry.kind, entry.name, entry.distribution), entry)
        return cls(entries.values())

    def of_kind(self, kind: str) -> tuple[Entry, ...]:
        return self._by_kind[checked_kind(kind)]

    def matching(self, kind: str, pattern: str) -> tuple[Entry, ...]:
        """The entries of a kind whose name fits a wildcard pattern such as `densenet*`."""
        return tuple(e for e in self.of_kind(kind) if fnmatchcase(e.name, pattern))

    def distributions(self) -> dict[str, tuple[Entry, ...]]:
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            found.setdefault(entry.distribution, []).append(entry)
        return {name: tuple(entries) for name, entries in sorted(found.items())}

    def find(self, kind: str, component: ComponentExpression) -> Entry:
        """The one entry that a name means.

        Raises UsageError SK-C003 (unknown) or SK-C004 (two distributions), PluginError SK-P002
        (another version of the core is required) or SK-P004 (switched off).
        """
        named = [e for e in self.of_kind(kind) if e.name == component.entry]
        if component.distribution:
            named = [e for e in named if e.distribution == canonical(component.distribution)]
        usable = [e for e in named if not e.disabled]
        if not named:
            raise self._unknown(kind, component)
        if not usable:
            raise PluginError(
                "SK-P004",
                f"{singular(kind)} '{component.name}' comes from {named[0].distribution}, "
                "which is switched off.",
                "Unset SEGKIT_DISABLE, or leave out --no-plugins.",
            )
        if len(usable) > 1:
            usable = [_preferred(kind, component, usable)]
        if usable[0].problem:
            raise PluginError(
                "SK-P002",
                f"{usable[0].distribution} {usable[0].version} offers the {singular(kind)} "
                f"'{component.entry}', but {usable[0].problem}.",
                f"python -m pip install --upgrade {usable[0].distribution} {CORE}",
            )
        return usable[0]

    def _unknown(self, kind: str, component: ComponentExpression) -> UnknownComponent:
        names = [e.name for e in self.of_kind(kind)]
        what = f"no {singular(kind)} is called '{component}'."
        if component.options or component.distribution:
            asked = (
                f"{component.distribution}:{component.entry}"
                if component.distribution
                else component.entry
            )
            what = f"no {singular(kind)} is called '{asked}'."
        elsewhere = [e.kind for e in self.entries if e.name == component.entry and e.kind != kind]
        if elsewhere:
            also = f"'{component.entry}' is the name of {a(singular(elsewhere[0]))}. "
        else:
            also = did_you_mean(component.entry, names)
        fix = f"{also}`segkit list {kind}` shows all {len(names)}."
        # Only those who name what is not there pay for the import.
        from segkit.registry.reinstalling import declared_since

        if since := declared_since(kind, component.entry):
            fix = f"{since}\n{fix}"
        elif not names:
            fix = f"No plugin that offers {kind} is installed; `segkit plugins` shows what is."
        return UnknownComponent(checked_kind(kind), component.name, what, fix)

    @cached_property
    def _by_kind(self) -> dict[str, tuple[Entry, ...]]:
        return {kind: tuple(e for e in self.entries if e.kind == kind) for kind in KINDS}


def _preferred(kind: str, component: ComponentExpression, usable: list[Entry]) -> Entry:
    """The first-party one of several of one name, said aloud; SK-C004 between strangers."""
    ours = [e for e in usable if e.distribution in FIRST_PARTY]
    others = [e for e in usable if e not in ours]
    if len(ours) == 1:
        import warnings

        named = " and ".join(f"'{e.qualified}'" for e in others)
        warnings.warn(
            f"'{component.entry}' is the {singular(kind)} of {ours[0].distribution}; to use the "
            f"one of another distribution, write {named}.",
            SegkitWarning,
            stacklevel=3,
        )
        return ours[0]
    both = " and ".join(f"'{e.qualified}'" for e in usable)
    raise UsageError(
        "SK-C004",
        f"{len(usable)} installed distributions offer the {singular(kind)} '{component.entry}'.",
        f"Say which: {both}. SEGKIT_DISABLE={usable[-1].distribution} switches one off.",
    )


def singular(kind: str) -> str:
    return {"losses": "loss"}.get(kind, kind.removesuffix("s"))


def a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def checked_kind(kind: str) -> str:
    """The kind in its plural form, from either form; raises UsageError SK-C002."""
    for known in KINDS:
        if kind in (known, singular(known)):
            return known
    raise UsageError(
        "SK-C002",
        f"there is no kind of component called '{kind}'.",
        f"{did_you_mean(kind, KINDS)}The kinds: {', '.join(KINDS)}.",
    )


def switched_off() -> set[str]:
    """The distributions that SEGKIT_DISABLE names, separated by commas; "*" stands for all."""
    names = os.environ.get("SEGKIT_DISABLE", "").split(",")
    return {canonical(name) for name in names if name.strip()}


def canonical(distribution: str) -> str:
    """A distribution's name in its one normal form: lower case, single hyphens."""
    return re.sub(r"[-_.]+", "-", distribution.strip()).lower()


def version_of(distribution: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _entries_of(distribution: metadata.Distribution, off: set[str]) -> Iterator[Entry]:
    points = [p for p in distribution.entry_points if p.group.startswith("segkit.")]
    points = [p for p in points if p.group.partition(".")[2] in KINDS]
    if not points:
        return
    # Read once: `name`, `version` and `requires` would each parse the file again.
    headers = distribution.metadata
    name, version = canonical(headers["Name"]), headers["Version"]
    problem = _requirement_problem(headers.get_all("Requires-Dist") or ())
    disabled = name in off or "*" in off
    for point in points:
        wrong = "" if _NAME.fullmatch(point.name) else f"the name '{point.name}' is not {NAME}"
        kind = point.group.partition(".")[2]
        yield Entry(kind, point.name, point.value, name, version, wrong or problem, disabled)


def _requirement_problem(requirements: Iterable[str]) -> str:
    ours = (text for text in requirements if canonical(text).startswith(CORE))
    return next((problem for text in ours if (problem := _unmet(text))), "")


@cache
def _unmet(text: str) -> str:
    """Why this requirement, if it is one on the core, is not met here; or an empty text."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        return f"its requirement '{text}' cannot be read ({error})"
    if canonical(requirement.name) != CORE:
        return ""
    if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
        return ""
    installed = _core_version()
    if requirement.specifier.contains(installed, prereleases=True):
        return ""
    return f"needs {CORE}{requirement.specifier}, and {installed} is installed"


@cache
def _core_version() -> str:
    from segkit.version import __version__

    return version_of(CORE) or __version__
