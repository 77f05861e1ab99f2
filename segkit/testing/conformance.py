"""Turns an installed distribution into pytest cases: every component, every check of its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from segkit.errors import SegkitError, UsageError
from segkit.registry.components import Registry, default_registry
from segkit.registry.index import Entry, canonical
from segkit.testing.subject import (
    Breach,
    Check,
    MakeRoot,
    NotApplicable,
    Subject,
    claim_of,
    line_of,
    mend_of,
    shortened,
)

Test = TypeVar("Test", bound=Callable[..., Any])


@dataclass(frozen=True)
class Case:
    """One component and one claim about it."""

    subject: Subject
    check: Check

    @property
    def id(self) -> str:
        return f"{self.subject.kind}/{self.subject.written}/{self.check.__name__}"

    def run(self) -> None:
        """Runs the check under a fixed seed; raises Breach, or skips where it does not apply.

        The Breach says what was expected, what came and what to do, whatever went wrong.
        """
        import pytest
        import torch

        basic = basic_check_of(self.subject.kind)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            try:
                self.check(self.subject)
            except NotApplicable as reason:
                pytest.skip(str(reason))
            except Breach as breach:
                raise Breach(self._report(str(breach), breach.mend)) from None
            except Exception as error:
                if self.check is not basic and not _holds(basic, self.subject):
                    # One fault, one failure: what it brings down besides says nothing new.
                    pytest.skip(f"nothing can be said before {basic.__name__} holds")
                came, place = _crash(error)
                advice = ": ".join(filter(None, (place, mend_of(self.check))))
                raise Breach(self._report(came, advice)) from error

    def _report(self, came: str, mend: str = "") -> str:
        return (
            f"{self.id}\nexpected: {claim_of(self.check)}\ncame:     {came}\n"
            f"to do:    {mend or mend_of(self.check)}"
        )


def conformance(
    distribution: str,
    *,
    examples: Mapping[str, Sequence[str]] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    slow: Sequence[str] = (),
    make_root: MakeRoot | None = None,
    registry: Registry | None = None,
) -> Callable[[Test], Test]:
    """Parametrises a test, whose argument is `case`, over a distribution's components and checks.

    examples           how components are written in the tests, where their bare name does not do
                       (families, required options) or is not enough (variants), by entry:
                       {"timm": ["timm/resnet18", "timm/vgg11"], "losses/focal": ["focal(gamma=2)"]}
    expected_failures  a reason for each case that is known to fail: {"encoders/x/exports": "..."};
                       strict: a listed case that passes fails. Wildcards as in file names
    slow               patterns of cases that get the marker `slow`: "encoders/densenet201/*"
    make_root          for data sets: a function that fills the empty folder it is given with data
    registry           where the components come from; by default all that is installed

    Raises UsageError where the distribution offers nothing, or a pattern or an example names none.
    """
    cases = collect_cases(
        distribution,
        examples=examples,
        make_root=make_root,
        registry=registry or default_registry(),
    )
    reasons = dict(expected_failures or {})
    _refuse_stale([*reasons, *slow], [case.id for case in cases])

    def decorate(test: Test) -> Test:
        import pytest

        parameters = []
        for case in cases:
            marks = [
                pytest.mark.xfail(reason=reason, strict=True)
                for pattern, reason in reasons.items()
                if _matches(case.id, [pattern])
            ][:1]
            if _matches(case.id, slow):
                marks.append(pytest.mark.slow)
            parameters.append(pytest.param(case, id=case.id, marks=marks))
        return pytest.mark.parametrize("case", parameters)(test)

    return decorate


def collect_cases(
    distribution: str,
    *,
    examples: Mapping[str, Sequence[str]] | None,
    make_root: MakeRoot | None,
    registry: Registry,
) -> list[Case]:
    """Every (component, check) of a distribution, in the order of the index; see `conformance`."""
    entries = registry.index.distributions().get(canonical(distribution), ())
    if not entries:
        raise UsageError(
            "SK-C003",
            f"no installed distribution called '{distribution}' offers a component.",
            "Install it first (python -m pip install -e .), and see that its pyproject.toml has an "
            'entry point in a group such as [project.entry-points."segkit.encoders"].',
        )
    written = {key: tuple(texts) for key, texts in (examples or {}).items()}
    _refuse_stale(written, [key for entry in entries for key in _keys(entry)])
    cases = []
    for entry in entries:
        texts = next((written[key] for key in _keys(entry) if key in written), (entry.name,))
        for text in texts:
            subject = Subject(entry.kind, text, registry, make_root, entry.distribution)
            cases += [Case(subject, check) for check in checks_of(entry.kind)]
    return cases


def checks_of(kind: str) -> tuple[Check, ...]:
    """The checks of a kind, in the order in which they explain a failure best."""
    from segkit.testing.imports import CHECKS

    own: tuple[Check, ...] = import_module(f"segkit.testing.{kind}").CHECKS
    return (*CHECKS, *own)


def basic_check_of(kind: str) -> Check:
    """The check without which no other can say anything: that the component works at all."""
    basic: Check = import_module(f"segkit.testing.{kind}").BASIC
    return basic


@cache
def _holds(check: Check, subject: Subject) -> bool:
    try:
        check(subject)
    # Whatever it raised, its own run of the check shows.
    except Exception:
        return False
    return True


def _crash(error: Exception) -> tuple[str, str]:
    """What an error of a component's own says, and where to look."""
    if isinstance(error, SegkitError):
        return error.what, line_of(error.__cause__ or error)
    return f"{type(error).__name__}: {shortened(error)}", line_of(error)


def _keys(entry: Entry) -> tuple[str, str]:
    return f"{entry.kind}/{entry.name}", entry.name


def _matches(text: str, patterns: Iterable[str]) -> bool:
    return any(text == pattern or fnmatchcase(text, pattern) for pattern in patterns)


def _refuse_stale(patterns: Iterable[str], known: Sequence[str]) -> None:
    for pattern in patterns:
        if not any(_matches(text, [pattern]) for text in known):
            raise UsageError(
                "SK-C003",
                f"'{pattern}' names none of the {len(known)} conformance cases or components.",
                f"They are written like '{known[0]}'.",
            )
