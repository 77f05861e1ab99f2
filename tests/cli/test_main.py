"""The command line's frame: unknown commands, errors without a traceback, exit statuses."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from segkit.cli.main import COMMANDS, main
from segkit.cli.main import segkit as segkit_group
from segkit.cli.options.declaring import TorchCommand


def segkit(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "segkit", *arguments], capture_output=True, text=True
    )


# Quick, or with a first line of their own: none imports torch before it has said something.
WITHOUT_TORCH = {"plugins", "list", "new-plugin", "doctor", "explain", "install"}


def test_a_command_that_imports_torch_says_so_first():
    for typed, command in commands():
        if not isinstance(command, click.Group):
            assert isinstance(command, TorchCommand) != (typed.split()[1] in WITHOUT_TORCH), typed


def test_an_error_has_no_traceback_unless_it_is_asked_for():
    plain, debugged = segkit("list", "encoderz"), segkit("list", "encoderz", "--debug")
    assert plain.returncode == debugged.returncode == 2
    assert plain.stderr.startswith("Error: SK-C002: there is no kind of component")
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debugged.stderr
    assert debugged.stderr.endswith(plain.stderr)


def test_a_fault_of_segkit_itself_is_said_in_one_line(monkeypatch, capsys):
    def fails(**_):
        raise ValueError("no luck")

    monkeypatch.setattr("segkit.cli.explain_command.command.callback", fails)
    with pytest.raises(SystemExit) as ended:
        main(["explain"])
    assert ended.value.code == 1
    assert "SK-X001: segkit failed where it should not (ValueError: no luck, test_main.py:" in (
        capsys.readouterr().err
    )


def commands():
    """Every command by what is typed for it."""
    for name in COMMANDS:
        command = segkit_group.get_command(None, name)
        yield f"segkit {name}", command
        for below in getattr(command, "commands", {}).items():
            yield f"segkit {name} {below[0]}", below[1]


def test_no_help_is_wider_than_a_terminal():
    for typed, command in commands():
        text = CliRunner().invoke(command, ["--help"], prog_name=typed).output
        assert [line for line in text.splitlines() if len(line) > 80] == [], typed


def test_every_option_that_takes_a_value_tells_its_default():
    untold = []
    for typed, command in commands():
        context = click.Context(command, **command.context_settings)
        for option in command.params:
            if not isinstance(option, click.Option) or option.required or option.multiple:
                continue
            record = option.get_help_record(context)
            if record and not option.is_flag and "[default: " not in record[1]:
                untold.append(f"{typed} {option.opts[0]}")
    # A file, where none is the same as not giving it.
    runs = ["segkit train --resume", "segkit train --resume-or-start"]
    assert untold == ["segkit train --config", *runs]


def test_no_plugins_switches_all_off_and_says_so():
    ran = segkit("--no-plugins", "train", "--encoder", "unet", "--dry-run")
    assert ran.returncode == 9
    assert "which is switched off" in ran.stderr


@pytest.mark.parametrize("code", ["SK-C003", "c003"])
def test_explain_takes_a_code_in_short_too(code):
    ran = segkit("explain", code)
    assert ran.stdout.startswith("SK-C003  No installed plugin offers")
