"""Who may import whom: the rules of the house, each with violations that it must catch."""

from __future__ import annotations

import ast
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "segkit"
TORCH_FREE = ["errors", "version", "kinds", "interfaces", "hookspecs", "config", "registry.index"]
TORCH_FREE += ["registry.expression", "registry.options", "registry.environment", "cli"]
MOST_FILES_AT_THE_TOP = 12
MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION = 300, 60
# Files that may be longer, so many lines at most, and why.
LONGER = {
    "segkit/bench/limits/counting.py": (360, "one step, counted for every device it may run on"),
    "segkit/bench/display/terminal.py": (310, "one table, live and in plain lines"),
    "segkit/bench/limits/tracing.py": (330, "one rule for each kind of PyTorch's operations"),
    "segkit/data/files/decoding.py": (340, "every format, and what may be wrong with it"),
    "segkit/describe/doctor.py": (335, "one check after the other"),
    "segkit/importers/smp.py": (320, "a table of another library's names"),
}


def _house() -> type:
    spec = importlib.util.spec_from_file_location("house", Path(__file__).with_name("house.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["house"] = module
    spec.loader.exec_module(module)
    return module.House


House = _house()


@pytest.fixture
def plant(tmp_path: Path) -> Callable[[str, str], House]:
    """plant("errors.py", "from segkit import cli"): a copy of segkit with a line more."""

    def make(file: str, line: str) -> House:
        copy = tmp_path / "segkit"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        target = copy / file
        target.write_text(target.read_text() + f"\n\ndef planted():\n    {line}\n")
        return House(copy)

    return make


def test_rooms_import_from_below_only():
    assert House(PACKAGE).upward() == []


def test_no_files_import_each_other_in_a_circle():
    assert House(PACKAGE).circles() == []


def test_few_files_import_by_a_computed_name():
    assert House(PACKAGE).computed() == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("errors.py", "from segkit import cli"),
        ("errors.py", "from .cli import main"),
        ("errors.py", "from . import cli"),
        ("storage.py", "import segkit.cli.main"),
        ("registry/index.py", "from ..cli import main"),
        ("registry/index.py", "from .. import cli"),
        ("data/files/masks.py", "from segkit.data.opening import folder"),
        ("data/files/masks.py", "from ...training.loop.loop import Loop"),
        ("training/loop/learner.py", "from segkit.training.run.writer import Writer"),
        ("bench/records/case.py", "from segkit.bench.runner.session import Session"),
        ("cli/options/declaring.py", "from segkit.cli.running.launching import tell"),
        ("cli/list_command.py", "from segkit.cli.info_command import command"),
        ("model/network.py", "import segkit; segkit.build_model"),
        ("model/network.py", "from segkit import build_model"),
        ("model/network.py", "from segkit.api import Encoder"),
        ("errors.py", "from importlib import import_module; import_module('segkit.cli.main')"),
        ("errors.py", "__import__('segkit.cli.main')"),
        ("model/compose.py", "home = 'segkit.training.loop.loop'"),
        ("model/compose.py", "name = 'main'; home = f'segkit.cli.{name}'"),
        ("scoring/confusion.py", "from segkit.training import loop"),
    ],
)
def test_an_import_from_above_is_caught(plant, file, line):
    module = "segkit." + file.removesuffix(".py").replace("/", ".")
    assert any(found.startswith(f"{module} -> ") for found in plant(file, line).upward())


@pytest.mark.parametrize(
    "line",
    [
        "from importlib import import_module; import_module('.main', 'segkit.cli')",
        "import importlib; importlib.import_module('seg' + 'kit.cli.main')",
        "name = 'segkit'; __import__(name)",
    ],
)
def test_an_import_by_a_computed_name_is_caught(plant, line):
    assert plant("errors.py", line).computed() == ["errors.py"]


def test_a_circle_of_files_is_caught(plant):
    house = plant("registry/expression.py", "from segkit.registry.index import Index")
    assert ["segkit.registry.expression", "segkit.registry.index"] in house.circles()


def test_a_newcomer_sees_rooms_not_files():
    at_the_top = sorted(path.name for path in PACKAGE.glob("*.py"))
    assert len(at_the_top) <= MOST_FILES_AT_THE_TOP, at_the_top


def shipped() -> list[Path]:
    files = subprocess.run(
        ["git", "ls-files", "segkit/*.py", "plugins/*/src/*.py", "benchmarks/*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in files.stdout.split()]


def long_functions(source: str) -> list[str]:
    functions = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef))
    return [f.name for f in functions if f.end_lineno - f.lineno >= MOST_LINES_OF_A_FUNCTION]


def test_files_and_functions_stay_readable():
    for path in shipped():
        source, name = path.read_text(), path.relative_to(ROOT).as_posix()
        most, _ = LONGER.get(name, (MOST_LINES_OF_A_FILE, ""))
        assert source.count("\n") <= most, f"{name} is too long: is there a second noun in it?"
        assert long_functions(source) == [], name


def test_a_long_function_would_be_noticed():
    assert long_functions("def f():\n" + "    x = 1\n" * 60) == ["f"]
    assert long_functions("def f():\n" + "    x = 1\n" * 59) == []


def imported_by(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module or "")
    return names


def tensor_work(source: str) -> set[str]:
    return {name for name in imported_by(source) if name.split(".")[0] in ("torch", "numpy", "cv2")}


def test_commands_do_no_tensor_work():
    found = {p.name: tensor_work(p.read_text()) for p in (PACKAGE / "cli").rglob("*.py")}
    assert {name: imported for name, imported in found.items() if imported} == {}
    assert "train_command.py" in found and "declaring.py" in found


def test_tensor_work_in_a_command_would_be_noticed():
    assert tensor_work("def command():\n    import torch.nn as nn") == {"torch.nn"}
    assert tensor_work("from numpy import zeros") == {"numpy"}


def foreign_to_plugins(source: str, allowed: set[str]) -> set[str]:
    return {n for n in imported_by(source) if n.split(".")[0] == "segkit" and n not in allowed}


def plugin_files(folder: str) -> list[Path]:
    return sorted(ROOT.glob(f"plugins/*/{folder}/**/*.py"))


def test_plugins_import_the_api_alone():
    found = {p: foreign_to_plugins(p.read_text(), {"segkit.api"}) for p in plugin_files("src")}
    assert {path: names for path, names in found.items() if names} == {}


def test_plugin_tests_import_what_a_stranger_could():
    allowed = {"segkit", "segkit.api", "segkit.testing"}
    found = {p: foreign_to_plugins(p.read_text(), allowed) for p in plugin_files("tests")}
    assert {path: names for path, names in found.items() if names} == {}


def test_a_plugin_that_reaches_inside_would_be_noticed():
    source = "from segkit.model.network import SegmentationModel\nfrom segkit.api import hookimpl"
    assert foreign_to_plugins(source, {"segkit.api"}) == {"segkit.model.network"}


def modules_after(statement: str) -> set[str]:
    """The modules that a fresh interpreter holds after one statement."""
    probe = f"{statement}\nimport sys\nprint(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_the_ground_and_the_commands_import_no_torch():
    names = [f"segkit.{name}" for name in TORCH_FREE]
    names += sorted(name for name in House(PACKAGE).modules if name.startswith("segkit.cli."))
    assert "segkit.cli.options.declaring" in names
    assert "torch" not in modules_after(f"import segkit, {', '.join(names)}")


def test_the_probe_would_notice_torch():
    assert "torch" in modules_after("import segkit\nsegkit.build_model")
