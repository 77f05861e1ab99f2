"""Freed memory is kept where that was asked for, and only there."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from segkit.cli import evaluate_command, predict_command
from segkit.config import layered
from segkit.cpu import allocator
from segkit.cpu.allocator import keep_freed_memory
from segkit.training import training

FAULTS = """
import resource, sys
import torch
from segkit.cpu.allocator import keep_freed_memory
print(sys.argv[1] == "kept" and keep_freed_memory())
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


def faults(how):
    command = [sys.executable, "-c", FAULTS, how]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    kept, count = run.stdout.split()
    return kept == "True", int(count)


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is the GNU C library's")
def test_a_tensor_takes_the_pages_of_the_one_before():
    kept, few = faults("kept")
    if not kept:
        pytest.skip("this C library has no mallopt")
    left, many = faults("left")
    assert not left
    # 64 MiB five times, in pages of 4 KiB, or of 2 MiB where the system has them always.
    assert few < 5 * 32 <= many


GAPS = """
import sys
from pathlib import Path
from segkit.cpu.allocator import give_back_freed_memory

def taken():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

blocks = [bytearray(b"x" * 100_000) for _ in range(1000)]
del blocks[:-1:2], blocks[:-1:2]
before = taken()
give_back_freed_memory()
print(before - taken())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="malloc_trim is the GNU C library's")
def test_gaps_between_blocks_in_use_are_given_back():
    run = subprocess.run([sys.executable, "-c", GAPS], capture_output=True, text=True, check=True)
    assert int(run.stdout) > 50_000_000


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (evaluate_command.command, ["no-such-run"]),
        (predict_command.command, ["no-such-run", "no-such-image", "--out", "out"]),
    ],
    ids=["evaluate", "predict"],
)
def test_commands_keep_it_where_they_are_asked_to(command, arguments, asked, monkeypatch):
    kept = []
    monkeypatch.setattr(allocator, "keep_freed_memory", lambda: kept.append(True) or True)
    options = ["--keep-freed-memory"] * asked
    CliRunner().invoke(command, [*arguments, *options], standalone_mode=False)
    assert kept == [True] * asked


@pytest.mark.integration
def test_a_training_keeps_it_where_its_settings_say_so(monkeypatch, tmp_path):
    kept = []
    monkeypatch.setattr(training, "keep_freed_memory", lambda: kept.append(True) or True)
    settings = {"encoder": "unet(depth=2, width=4)", "epochs": 1, "weights": "none", "samples": 0}
    settings |= {"size": 16, "device": "cpu", "out": str(tmp_path / "run")}
    for wanted in (False, True):
        training.train(layered(None, settings | {"keep_freed_memory": wanted}))
        assert kept == [True] * wanted


def test_elsewhere_it_is_left_to_the_system(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
