"""The command line's frame: unknown commands, errors without a traceback, exit statuses."""

import subprocess
import sys

import pytest


def segkit(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "segkit", *arguments], capture_output=True, text=True
    )


def test_an_unknown_command_names_the_nearest():
    ran = segkit("evaluat")
    assert ran.returncode == 2
    assert "There is no command 'evaluat'. Did you mean 'evaluate'?" in ran.stderr


def test_an_error_has_no_traceback_unless_it_is_asked_for():
    plain, debugged = segkit("list", "encoderz"), segkit("--debug", "list", "encoderz")
    assert plain.returncode == 2
    assert plain.stderr.startswith("Error: SK-C002: there is no kind of component")
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debugged.stderr


def test_no_plugins_switches_all_off_and_says_so():
    ran = segkit("--no-plugins", "train", "--encoder", "unet", "--dry-run")
    assert ran.returncode == 9
    assert "which is switched off" in ran.stderr


@pytest.mark.parametrize("code", ["SK-C003", "c003"])
def test_explain_takes_a_code_in_short_too(code):
    ran = segkit("explain", code)
    assert ran.stdout.startswith("SK-C003  No installed plugin offers")
