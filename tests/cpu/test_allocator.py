"""Freed memory is kept by commands, unless they are told not to."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from segkit.cli import evaluate_command, predict_command, train_command
from segkit.cpu import allocator as freed_memory
from segkit.cpu.allocator import keep_freed_memory

FAULTS = """
import resource, sys
import torch
from segkit.cpu.allocator import keep_freed_memory
print(keep_freed_memory())
def use():
    torch.ones(2**24)
# The first ones come to lie beside what was in use already.
for _ in range(20):
    use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment):
    command = [sys.executable, "-c", FAULTS]
    given = {**os.environ, **environment}
    run = subprocess.run(command, env=given, capture_output=True, text=True, check=True)
    kept, count = run.stdout.split()
    return kept == "True", int(count)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is the GNU C library's")
def test_a_tensor_takes_the_pages_of_the_one_before():
    kept, few = faults()
    if not kept:
        pytest.skip("this C library has no mallopt")
    left, many = faults(SEGKIT_KEEP_FREED_MEMORY="0")
    assert not left
    # 64 MiB five times, in pages of 4 KiB, or of 2 MiB where the system has them always.
    assert few < 5 * 32 <= many


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (train_command.command, ["--encoder", "unet(width=4,depth=2)", "--dry-run"]),
        (evaluate_command.command, ["no-such-run"]),
        (predict_command.command, ["no-such-run", "no-such-image", "--out", "out"]),
    ],
    ids=["train", "evaluate", "predict"],
)
def test_commands_keep_it_before_they_compute(command, arguments, monkeypatch):
    kept = []
    monkeypatch.setattr(freed_memory, "keep_freed_memory", lambda: kept.append(True))
    CliRunner().invoke(command, arguments, standalone_mode=False)
    assert kept == [True]


def test_elsewhere_it_is_left_to_the_system(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
