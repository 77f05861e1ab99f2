"""The benchmark of starting: the plugins it installs are there, for the command it runs alone."""

import subprocess
import sys

import pytest

from segkit.registry.index import Index

start = pytest.importorskip("segkit_bench_peers.start")


def test_every_plugin_installed_is_listed_and_only_there(tmp_path):
    start.install_plugins(tmp_path, 3)
    words = [sys.executable, "-m", "segkit", "list", "encoders"]
    listed = subprocess.check_output(words, env=start.environment_with(tmp_path), text=True)
    assert [f"filler-0{number}-{each}" in listed for number in range(3) for each in range(3)] == (
        [True] * 9
    )
    assert "filler-03-0" not in listed
    assert not [entry for entry in Index.of_installed().entries if "filler" in entry.name]


def test_a_command_that_fails_is_no_time(monkeypatch):
    monkeypatch.setitem(start.ARGUMENTS, "python", ["-c", "raise SystemExit(3)"])
    benchmark = start.Start("cpu", command="python", plugins=1)
    benchmark.set_up()
    with pytest.raises(subprocess.CalledProcessError):
        benchmark.run()
    assert start.Start("cpu", command="help", plugins=1).unit == "start"
