"""`segkit plugins`: a table from metadata; --check imports each, and says which is broken."""

import json
import os
import subprocess
import sys

import pytest

from segkit.registry.index import Index

HOOK = """
from segkit.api import hookimpl

class Tiny:
    channels, strides = (4,), (1,)

    def __init__(self, in_channels: int, weights: str) -> None:
        pass

@hookimpl
def segkit_encoder(name: str):
    return Tiny
"""
NEVER = "raise RuntimeError('imported')"


@pytest.fixture
def segkit(install_fake, monkeypatch, tmp_path):
    """Runs the command in a process of its own that sees the made-up distributions."""

    def run(*arguments, **environment):
        environment = {"PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"} | environment
        command = [sys.executable, "-m", "segkit", *arguments]
        return subprocess.run(
            command, env=os.environ | environment, capture_output=True, text=True, check=False
        )

    return run


# A check takes seconds a distribution: those that are really installed are left out.
INSTALLED = ",".join(Index.of_installed(()).distributions())


def rows(ran):
    return {row["distribution"]: row for row in json.loads(ran.stdout)}


def test_the_table_comes_from_metadata_alone(install_fake, segkit):
    install_fake(
        "acme",
        {"encoders": {"one": "acme_module", "two": "acme_module"}, "losses": {"three": "x"}},
        acme_module=NEVER,
    )
    ran = segkit("plugins", "--json")
    assert ran.returncode == 0
    assert rows(ran)["acme"] == {
        "distribution": "acme",
        "version": "1.0",
        "names": {"encoders": ["one", "two"], "losses": ["three"]},
        "state": "ok",
        "problems": [],
        "notes": [],
    }
    [line] = [s for s in segkit("plugins").stdout.splitlines() if s.startswith("acme")]
    assert line.split() == ["acme", "1.0", "2", "encoders,", "1", "loss", "3", "ok"]


def test_a_plugin_for_another_core_is_broken_with_the_reason(install_fake, segkit):
    install_fake("acme", {"encoders": {"one": "m"}}, requires="segkit-core>=7")
    ran = segkit("plugins")
    assert ran.returncode == 0
    assert "acme 1.0, encoders/one: needs segkit-core>=7, and 0.1.0 is installed." in ran.stdout


def test_a_shared_name_is_noted_with_the_form_that_tells_them_apart(install_fake, segkit):
    install_fake("acme", {"encoders": {"same": "m"}})
    install_fake("other", {"encoders": {"same": "n"}})
    text = segkit("plugins").stdout
    assert "the encoder 'same' is offered by another distribution too" in text
    assert "write 'acme:same' to name this one" in text
    assert "write 'other:same' to name this one" in text


@pytest.mark.integration
def test_check_names_distribution_version_entry_and_cause(install_fake, segkit):
    install_fake("broken", {"losses": {"worse": "broken_module"}}, broken_module="import nowhere")
    install_fake(
        "loud",
        {"encoders": {"one": "loud_module"}},
        version="2.3",
        loud_module="import torch\ntorch.manual_seed(0)\nprint('hello')\n" + HOOK,
    )
    install_fake("sound", {"encoders": {"two": "sound_module"}}, sound_module=HOOK)
    ran = segkit("plugins", "--check", "--json", SEGKIT_DISABLE=INSTALLED)
    assert ran.returncode == 9
    found = rows(ran)
    assert {name: found[name]["state"] for name in ("broken", "loud", "sound")} == {
        "broken": "broken",
        "loud": "broken",
        "sound": "ok",
    }
    [problem] = found["broken"]["problems"]
    assert problem["entry"] == "losses/worse"
    assert "ModuleNotFoundError: No module named 'nowhere'" in problem["cause"]
    [problem] = found["loud"]["problems"]
    assert problem["cause"] == "its import changes torch's random state"


def test_what_is_switched_off_is_not_imported(install_fake, segkit):
    install_fake("acme", {"encoders": {"one": "acme_module"}}, acme_module=NEVER)
    ran = segkit("plugins", "--check", SEGKIT_DISABLE=f"acme,{INSTALLED}")
    assert ran.returncode == 0
    assert ran.stdout.rstrip().endswith("All is well.")
    [line] = [s for s in ran.stdout.splitlines() if s.startswith("acme")]
    assert line.split()[-1] == "disabled"


def test_plugins_are_shown_by_name(install_fake, segkit):
    install_fake("acme", {"encoders": {"one": "acme_module"}}, acme_module=NEVER)
    assert rows(segkit("plugins", "Acme", "segkit-unet", "--json")).keys() == {
        "acme",
        "segkit-unet",
    }
    ran = segkit("plugins", "segkit-unett")
    assert ran.returncode == 2
    assert "no plugin called 'segkit-unett' is installed. Did you mean 'segkit-unet'" in " ".join(
        ran.stderr.split()
    )
