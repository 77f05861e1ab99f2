"""Who may import whom: the rules of the house, each with a test that shows it can fail."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "segkit"

# A file may import from its own floor and from those below, never from those above.
FLOORS = [
    [
        *["errors", "interfaces", "hookspecs", "expression", "options"],
        *["kinds", "index", "installed", "environment"],
    ],
    [
        "confusion",
        "labels",
        "weights",
        "recomputing",
        "prepared",
        "convolutions",
        "dense_layers",
        "checkpointing",
        "streams",
        "registry",
        "model",
        "compose",
        "model_folder",
        "storage",
        "config",
        "api",
    ],
    ["data", "report", "engine", "inference", "foreign", "bench", "testing", "scaffold"],
    ["cli"],
]
TORCH_FREE = [
    "errors",
    "kinds",
    "expression",
    "options",
    "index",
    "config",
    "environment",
    "interfaces",
]


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def floor_of(room: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room in rooms)


def imported(source: str) -> Iterator[str]:
    """Every module that a source names in an import, wherever it stands, unless for types only."""
    tree = ast.parse(source)
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def upward_imports(room: str, source: str) -> list[str]:
    return [
        module
        for module in imported(source)
        if module.startswith("segkit.") and floor_of(room_of(module)) > floor_of(room)
    ]


def foreign_imports(source: str, allowed: set[str]) -> list[str]:
    return [
        module
        for module in imported(source)
        if module.split(".")[0] == "segkit" and module not in allowed
    ]


def rooms() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.stem[0] != "_")


@pytest.mark.parametrize("path", rooms(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_room_imports_from_above(path):
    if "templates" in path.parts:
        return
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert upward_imports(room, path.read_text()) == []


def test_the_rule_would_notice_an_import_from_above():
    assert upward_imports("model", "def f():\n    from segkit.cli.main import main") == [
        "segkit.cli.main"
    ]


def plugin_files(folder: str) -> list[Path]:
    return sorted(ROOT.glob(f"plugins/*/{folder}/**/*.py"))


@pytest.mark.parametrize("path", plugin_files("src"), ids=lambda p: str(p.relative_to(ROOT)))
def test_plugins_import_the_api_alone(path):
    assert foreign_imports(path.read_text(), {"segkit.api"}) == []


@pytest.mark.parametrize("path", plugin_files("tests"), ids=lambda p: str(p.relative_to(ROOT)))
def test_plugin_tests_import_what_a_stranger_could(path):
    assert foreign_imports(path.read_text(), {"segkit", "segkit.api", "segkit.testing"}) == []


def test_the_rule_would_notice_a_plugin_that_reaches_inside():
    source = "from segkit.model.network import SegmentationModel\nfrom segkit.api import hookimpl"
    assert foreign_imports(source, {"segkit.api"}) == ["segkit.model.network"]


def modules_after(statement: str) -> set[str]:
    """The modules that a fresh interpreter holds after one statement."""
    probe = f"{statement}\nimport sys\nprint(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_the_lower_floor_and_the_commands_import_no_torch():
    names = [f"segkit.{name}" for name in TORCH_FREE]
    names += [f"segkit.cli.{p.stem}" for p in sorted((PACKAGE / "cli").glob("*.py"))]
    assert "torch" not in modules_after(f"import segkit, {', '.join(names)}")


def test_the_probe_would_notice_torch():
    assert "torch" in modules_after("import segkit\nsegkit.build_model")
