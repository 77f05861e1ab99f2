"""A broken third-party package harms nobody but those who name it, and is named with its cause."""

import json
import os
import subprocess
import sys

import pytest

from segkit.errors import PluginError, UsageError
from segkit.registry.components import Registry

pytestmark = pytest.mark.integration

HOOK = """
from segkit.api import hookimpl

@hookimpl
def segkit_loss(name: str):
    {body}
"""
SOUND = """
import torch
from segkit.api import hookimpl

class Zero(torch.nn.Module):
    def __init__(self, num_classes: int, ignore_index: int | None) -> None:
        super().__init__()

    def forward(self, logits_BKHW, target_BHW):
        return 0 * logits_BKHW.sum()

@hookimpl
def segkit_loss(name: str):
    return Zero if name == "zero" else None
"""
# What is wrong with the module, and what the error says of it.
FAULTS = {
    "import error": ("import a_package_nobody_has", "SK-P001", "ModuleNotFoundError: No module"),
    "syntax error": ("def (:", "SK-P001", "SyntaxError: "),
    "exit at import": ("raise SystemExit(3)", "SK-P001", "SystemExit: 3"),
    "hook raises": (HOOK.format(body="return 1 / 0"), "SK-P003", "ZeroDivisionError: division by"),
    "hook misnamed": (
        HOOK.format(body="return None").replace("segkit_loss", "segkit_los"),
        "SK-P001",
        "Did you mean 'segkit_loss'",
    ),
    "hook gives nothing": (HOOK.format(body="return None"), "SK-P005", "returns nothing for 'bad'"),
    "no factory": (
        HOOK.format(body="return 7"),
        "SK-P003",
        "the hook returns 7, which cannot be called",
    ),
    "no hook": ("", "SK-P005", "has no hook segkit_loss"),
    "no hookimpl": (
        HOOK.format(body="return None").replace("@hookimpl\n", ""),
        "SK-P005",
        "Its function segkit_loss lacks the line @hookimpl",
    ),
    "hook of another kind": (
        HOOK.format(body="return None").replace("segkit_loss", "segkit_metric"),
        "SK-P005",
        "or move the entry point to the group segkit.metrics",
    ),
    "missing build argument": (
        HOOK.format(body="return lambda num_classes: None"),
        "SK-P003",
        "lacks the argument 'ignore_index'",
    ),
    "factory gives None": (
        HOOK.format(body="return lambda num_classes, ignore_index: None"),
        "SK-P003",
        "the factory of the loss 'bad' gave None",
    ),
    "factory gives no module": (
        HOOK.format(body="return lambda num_classes, ignore_index: print"),
        "SK-P003",
        "'bad' is a builtin_function_or_method, and no torch.nn.Module",
    ),
}


@pytest.fixture
def python(tmp_path):
    """Runs an interpreter that sees the made-up distributions, in a process of its own."""

    def run(*arguments, **environment):
        environment = {"PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"} | environment
        return subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


NAMES_IT = """
import segkit
from segkit.errors import SegkitError
for name in {names}:
    try:
        segkit.build_loss(name, num_classes=2)
    except SegkitError as error:
        print(name, error)
segkit.build_loss("zero", num_classes=2)
print("zero works")
"""


def test_each_fault_is_named_with_distribution_version_entry_and_cause(install_fake, python):
    modules = {}
    for number, (source, _, _) in enumerate(FAULTS.values()):
        module = f"acme_{number}"
        modules[module] = f"bad{number}"
        source = source.replace("'bad'", f"'bad{number}'")
        install_fake(
            f"acme-{number}",
            {"losses": {f"bad{number}": module}},
            version=f"3.{number}",
            **{module: source},
        )
    install_fake("sound", {"losses": {"zero": "sound_module"}}, sound_module=SOUND)
    ran = python("-c", NAMES_IT.format(names=list(modules.values())))
    assert "Traceback" not in ran.stderr, ran.stderr
    parts = ran.stdout.replace("\nbad", "\0bad").split("\0")
    messages = {part.split(" ", 1)[0]: part for part in parts}
    for number, (fault, (_, code, cause)) in enumerate(FAULTS.items()):
        message = messages[f"bad{number}"]
        assert code in message, fault
        assert f"acme-{number} 3.{number}" in message, fault
        assert f"bad{number}" in message.split(" ", 1)[1], fault
        assert cause.replace("'bad'", f"'bad{number}'") in message, fault
    assert ran.stdout.rstrip().endswith("zero works")


def test_an_entry_point_that_names_a_class_says_how_it_is_written(install_fake):
    install_fake("acme", {"losses": {"bad": "acme_module:Bad"}}, acme_module=SOUND)
    with pytest.raises(PluginError) as caught:
        Registry().component("losses", "bad")
    assert str(caught.value).splitlines() == [
        "SK-P001: acme 1.0: its entry point 'bad = acme_module:Bad' (segkit.losses) names Bad in a "
        "module, and segkit asks a module's hook.",
        '         Write bad = "acme_module" in pyproject.toml, and in acme_module a function '
        "segkit_loss(name) with @hookimpl that returns Bad for 'bad'. Then install it again: entry "
        "points are read when a package is installed.",
    ]


def test_a_component_declared_after_the_installation_is_said_to_need_it_again(
    install_fake, tmp_path
):
    site = install_fake("acme", {"losses": {"zero": "acme_module"}}, acme_module=SOUND)
    (tmp_path / "pyproject.toml").write_text(
        '[project.entry-points."segkit.losses"]\nzero = "acme_module"\nlater = "acme_module"\n'
    )
    source = {"url": tmp_path.as_uri(), "dir_info": {"editable": True}}
    (site / "acme-1.0.dist-info" / "direct_url.json").write_text(json.dumps(source))
    with pytest.raises(UsageError) as caught:
        Registry().component("losses", "later")
    assert caught.value.fix.splitlines()[0] == (
        f"{tmp_path / 'pyproject.toml'} declares it since it was installed: "
        f"python -m pip install -e {tmp_path}"
    )
    with pytest.raises(UsageError) as caught:
        Registry().component("losses", "nobody-has-it")
    assert "pyproject" not in caught.value.fix


@pytest.mark.parametrize("fault", FAULTS)
def test_lists_and_help_do_not_notice(install_fake, python, fault):
    install_fake("acme", {"losses": {"bad": "acme_module"}}, acme_module=FAULTS[fault][0])
    listed = python("-m", "segkit", "list", "losses")
    assert listed.returncode == 0
    assert listed.stderr == ""
    [line] = [s for s in listed.stdout.splitlines() if "acme" in s]
    assert line.split() == ["loss", "bad", "acme", "1.0", "not", "loaded"]


def test_help_and_completion_do_not_notice(install_fake, python):
    install_fake("acme", {"losses": {"bad": "acme_module"}}, acme_module="raise SystemExit(3)")
    assert python("-m", "segkit", "--help").returncode == 0
    completed = python(
        "-c",
        "import sys; sys.argv[0] = 'segkit'; from segkit.cli.main import main; main()",
        _SEGKIT_COMPLETE="bash_complete",
        COMP_WORDS="segkit list los",
        COMP_CWORD="2",
    )
    assert "losses" in completed.stdout


def test_one_name_in_two_distributions_is_refused_with_both_forms(install_fake, python):
    install_fake("acme", {"losses": {"zero": "acme_module"}}, acme_module=SOUND)
    install_fake("other", {"losses": {"zero": "other_module"}}, other_module=SOUND)
    program = (
        "import segkit\n"
        "segkit.build_loss('acme:zero', num_classes=2)\n"
        "try:\n    segkit.build_loss('zero', num_classes=2)\n"
        "except segkit.SegkitError as error:\n    print(error)\n"
    )
    ran = python("-c", program)
    assert ran.stdout.splitlines() == [
        "SK-C004: 2 installed distributions offer the loss 'zero'.",
        "         Say which: 'acme:zero' and 'other:zero'. SEGKIT_DISABLE=other switches one off.",
    ]


def test_a_plugin_for_another_core_is_refused_unimported(install_fake, python):
    install_fake(
        "acme",
        {"losses": {"bad": "acme_module"}},
        requires="segkit-core>=7,<8",
        acme_module="raise SystemExit(3)",
    )
    program = (
        "import segkit\n"
        "try:\n    segkit.build_loss('bad', num_classes=2)\n"
        "except segkit.SegkitError as error:\n    print(error)\n"
    )
    assert python("-c", program).stdout.splitlines() == [
        "SK-P002: acme 1.0 offers the loss 'bad', but needs segkit-core<8,>=7, and 0.1.0 is "
        "installed.",
        "         python -m pip install --upgrade acme segkit-core",
    ]
    assert "broken" in python("-m", "segkit", "list", "losses", "bad").stdout


@pytest.mark.parametrize("disabled", ["Acme", "*"])
def test_switched_off_it_is_listed_as_such_and_refused(install_fake, python, disabled):
    install_fake("acme", {"losses": {"bad": "acme_module"}}, acme_module="raise SystemExit(3)")
    listed = python("-m", "segkit", "list", "losses", "bad", SEGKIT_DISABLE=disabled)
    assert "disabled" in listed.stdout
    info = python("-m", "segkit", "info", "loss", "bad", SEGKIT_DISABLE=disabled)
    assert info.returncode == 9
    assert "loss 'bad' comes from acme, which is switched off" in info.stderr


def test_no_plugins_switches_all_off(install_fake, python):
    install_fake("acme", {"losses": {"bad": "acme_module"}}, acme_module="raise SystemExit(3)")
    ran = python("-m", "segkit", "--no-plugins", "info", "loss", "bad")
    assert ran.returncode == 9
    assert "leave out --no-plugins" in ran.stderr
