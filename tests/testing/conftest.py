"""What the tests of the conformance kit share: a component that no distribution offers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from segkit.hookspecs import HOOKS, hookimpl
from segkit.registry.components import Registry
from segkit.registry.index import Entry, Index
from segkit.testing import Subject

SubjectOf = Callable[..., Subject]


@pytest.fixture
def subject_of(monkeypatch: pytest.MonkeyPatch) -> SubjectOf:
    """subject_of("encoders", Factory): the factory as a plugin's only component, called `fake`."""

    def make(
        kind: str, factory: Callable[..., Any], make_root: Callable[[Path], object] | None = None
    ) -> Subject:
        module = ModuleType("fake_plugin")

        def hook(name: str) -> Callable[..., Any]:
            return factory

        setattr(module, HOOKS[kind], hookimpl(hook))
        monkeypatch.setitem(sys.modules, "fake_plugin", module)
        entry = Entry(kind, "fake", "fake_plugin", "fake-plugin", "1.0")
        return Subject(kind, "fake", Registry(Index([entry])), make_root)

    return make
