"""What the quick commands may not import: torch, and every plugin module."""

import json
import os
import subprocess
import sys

import pytest

from segkit.registry.index import Index

PROBE = """
import atexit, json, os, sys
out = os.open(os.environ["PROBE_OUT"], os.O_WRONLY | os.O_CREAT)
atexit.register(lambda: os.write(out, json.dumps(sorted(sys.modules)).encode()))
sys.argv[0] = "segkit"
from segkit.cli.main import main
main()
"""
HEAVY = {"torch", "torchvision", "timm", "numpy", "cv2", "PIL", "rich", "pydantic", "yaml"}


@pytest.fixture
def modules_after(tmp_path):
    def run(*arguments, **environment):
        out = tmp_path / "modules.json"
        out.unlink(missing_ok=True)
        subprocess.run(
            [sys.executable, "-c", PROBE, *arguments],
            env=os.environ | environment | {"PROBE_OUT": str(out)},
            capture_output=True,
            check=False,
        )
        return set(json.loads(out.read_text()))

    return run


def plugin_modules():
    return {entry.module.partition(":")[0] for entry in Index.of_installed(()).entries}


COMPLETION = {
    "_SEGKIT_COMPLETE": "bash_complete",
    "COMP_WORDS": "segkit list enc",
    "COMP_CWORD": "2",
}


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--help"], {}),
        (["--version"], {}),
        (["list"], {}),
        (["list", "encoders", "densenet*", "--json"], {}),
        (["list", "encoders", "densenet121", "--long"], {}),
        (["list", "--help"], {}),
        (["info", "--help"], {}),
        (["predict", "--help"], {}),
        (["train", "--help"], {}),
        (["plugins"], {}),
        (["explain"], {}),
        (["bench", "--help"], {}),
        (["bench", "compare", "--help"], {}),
        (["bench", "compare", "nothing-here", "nor-here"], {}),
        (["plan", "--help"], {}),
        ([], COMPLETION),
        ([], COMPLETION | {"COMP_WORDS": "segkit train --encoder den", "COMP_CWORD": "3"}),
    ],
)
def test_quick_commands_import_neither_torch_nor_a_plugin(modules_after, arguments, environment):
    imported = modules_after(*arguments, **environment)
    assert "segkit.cli.main" in imported
    assert not imported & {"torch", "torchvision", "timm", *plugin_modules()}


def test_list_imports_nothing_heavy(modules_after):
    assert not modules_after("list", "encoders") & HEAVY


def test_the_probe_would_notice_torch_and_a_plugin(modules_after):
    imported = modules_after("train", "--loss", "nosuch", "--encoder", "densenet121")
    assert {"torch", "segkit_densenet"} <= imported


def test_importing_segkit_imports_no_torch():
    program = "import segkit, sys; segkit.build_model; print('torch' in sys.modules)"
    run = [sys.executable, "-c", program.replace("segkit.build_model; ", "")]
    assert subprocess.check_output(run, text=True).strip() == "False"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "True"
