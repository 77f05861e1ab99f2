"""A training's processes and its output: none outlives its parent, none needs a reader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc"),
]
PARTS = ["--encoder", "unet(depth=2, width=4)", "--weights", "none", "--device", "cpu"]
MARK = "SEGKIT_TEST_MARK"


def command(folder: Path, run: Path, *more: str) -> list[str]:
    words = ["train", "--data", str(folder), *PARTS, "--size", "16", "--batch", "4"]
    return [sys.executable, "-m", "segkit", *words, "--out", str(run), *more]


def marked(mark: str) -> set[int]:
    """The processes whose environment holds the mark, and that are no zombies."""
    found = set()
    for each in Path("/proc").iterdir():
        try:
            if not each.name.isdigit() or mark.encode() not in (each / "environ").read_bytes():
                continue
            if "Z" not in (each / "stat").read_text().rpartition(")")[2].split()[0]:
                found.add(int(each.name))
        except OSError:  # it has ended meanwhile, or is another user's
            continue
    return found


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGQUIT", "SIGSEGV", "SIGTERM twice"])
def test_five_seconds_after_a_training_has_died_none_of_its_processes_is_left(
    tiny_folder, tmp_path, name
):
    mark, run = uuid.uuid4().hex, tmp_path / "run"
    process = subprocess.Popen(
        command(tiny_folder, run, "--workers", "2", "--epochs", "100000"),
        env=os.environ | {MARK: mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for((run / "metrics.jsonl").exists)
        assert len(marked(mark)) >= 4  # itself, the fork server, two workers
        number = getattr(signal, name.split()[0])
        process.send_signal(number)
        if "twice" in name:
            process.send_signal(number)
        process.wait(timeout=30)
        wait_for(lambda: not marked(mark), seconds=5)
    finally:
        for left in marked(mark):
            os.kill(left, signal.SIGKILL)
        process.wait()


def test_a_training_outlasts_the_reader_of_its_output(tiny_folder, tmp_path):
    run = tmp_path / "run"
    process = subprocess.Popen(
        command(tiny_folder, run, "--epochs", "3"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=120) == 0
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_training_outlasts_its_terminal(tiny_folder, tmp_path):
    run = tmp_path / "run"
    near, far = os.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", *command(tiny_folder, run, "--epochs", "8", "--workers", "0")],
        stdin=far,
        stdout=far,
        stderr=far,
    )
    os.close(far)
    wait_for((run / "metrics.jsonl").exists)
    os.close(near)
    assert process.wait(timeout=120) == 0
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 8
