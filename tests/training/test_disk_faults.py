"""What a disk does in the middle of a training ends it with 8, and costs nothing that was saved."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess

import compared_runs as runs
import pytest
from safetensors import SafetensorError

from segkit import storage
from segkit.errors import StorageError
from segkit.training.checkpoint import checkpoints
from segkit.training.checkpoint.checkpoints import CheckpointFolder
from segkit.training.monitoring.events import Silence
from segkit.training.training import resume, train

pytestmark = pytest.mark.integration


class After(Silence):
    """Calls something after the second epoch was scored and logged, before it is saved."""

    def __init__(self, call):
        self.call = call

    def finished_epoch(self, report):
        if report.epoch == 2:
            self.call()


@pytest.fixture(scope="module")
def uninterrupted(tiny_settings, tmp_path_factory):
    from segkit.config import layered

    run = tmp_path_factory.mktemp("whole") / "run"
    train(layered(None, tiny_settings | {"epochs": 3, "samples": 0, "out": str(run)}))
    return run


def ends(settings, run, call):
    """The error of a training on whose disk `call` acts; its first epoch is saved as before."""
    with pytest.raises(StorageError) as caught:
        train(settings(epochs=3, samples=0, out=str(run)), After(call))
    assert caught.value.exit_code == 8
    return caught.value


def assert_it_goes_on(run, error, uninterrupted):
    assert error.fix.endswith(f"{run} is whole up to step 3: segkit train --resume {run}")
    assert CheckpointFolder(run / "checkpoints").load().state["position"]["epoch"] == 1
    resume(run)
    runs.assert_same(run, uninterrupted)
    assert runs.logged(run) == runs.logged(uninterrupted)
    assert not list(run.rglob("*.tmp-*"))


def no_larger_than(size: int) -> int:
    """Sets the largest file that this process may write; returns what it was."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    return before


def test_a_limit_on_the_size_of_files_is_named_with_the_bytes(settings, tmp_path, uninterrupted):
    run, before = tmp_path / "run", []
    try:
        error = ends(settings, run, lambda: before.append(no_larger_than(2000)))
    finally:
        no_larger_than(before[0])
    assert error.code == "SK-S001"
    assert "(ulimit -f: 2,000 bytes a file, and " in error.what
    assert "ulimit -f unlimited" in error.fix
    assert_it_goes_on(run, error, uninterrupted)


@pytest.mark.parametrize(
    "writer", ["safetensors", pytest.param("json", marks=pytest.mark.integration)]
)
def test_a_full_disk_is_named_with_the_bytes(settings, tmp_path, uninterrupted, writer):
    def refuse(*arguments, **options):
        if writer == "json":
            raise OSError(28, "No space left on device")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        name = "save_file" if writer == "safetensors" else "sealed"
        error = ends(settings, run, lambda: patch.setattr(checkpoints, name, refuse))
    assert error.code == "SK-S001"
    saved = (run / "checkpoints/step-00000003").glob("*.safetensors")
    # The files hold names beside their numbers.
    total = sum(each.stat().st_size for each in saved)
    needed = int(error.what.rpartition("free, ")[2].split()[0].replace(",", ""))
    assert 0.5 * total < needed < total
    assert error.fix.startswith("Make room on it, and give the command again.")
    assert_it_goes_on(run, error, uninterrupted)


@pytest.mark.integration
def test_a_disk_that_turns_read_only_is_named(settings, tmp_path, uninterrupted):
    def refuse(*arguments, **options):
        raise OSError(30, "Read-only file system")

    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        error = ends(settings, run, lambda: patch.setattr(storage.tempfile, "mkdtemp", refuse))
    assert (error.code, "mounted for reading only" in error.what) == ("SK-S002", True)
    assert_it_goes_on(run, error, uninterrupted)


@pytest.mark.parametrize(
    "name", ["metrics.csv", pytest.param("metrics.jsonl", marks=pytest.mark.integration)]
)
def test_a_log_that_cannot_be_written_ends_a_training(settings, tmp_path, uninterrupted, name):
    run = tmp_path / "run"
    file = run / name

    def block():
        file.rename(tmp_path / "log")
        file.mkdir()

    with pytest.raises(StorageError) as caught:
        train(settings(epochs=3, samples=0, out=str(run)), AfterFirst(block))
    assert (caught.value.code, caught.value.exit_code) == ("SK-S002", 8)
    assert "Move away the folder of that name" in caught.value.fix
    file.rmdir()
    (tmp_path / "log").rename(file)
    assert_it_goes_on(run, caught.value, uninterrupted)


class AfterFirst(After):
    """Calls something in the second epoch, once the first is saved."""

    def stepped(self, report):
        if report.epoch == 2 and report.batch == 1:
            self.call()

    def finished_epoch(self, report):
        """Nothing."""


def test_a_run_that_is_moved_away_is_named_and_goes_on_where_it_lies(
    settings, tmp_path, uninterrupted
):
    run = tmp_path / "run"
    error = ends(settings, run, lambda: run.rename(tmp_path / "elsewhere"))
    assert error.code == "SK-S002"
    assert "was moved, renamed or removed" in error.what
    assert not run.exists()
    resume(tmp_path / "elsewhere")
    runs.assert_same(tmp_path / "elsewhere", uninterrupted)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own, of 8 MiB; only root may have one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(disk)]
    if os.name != "posix" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounts a file system, which only root may")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.integration
def test_a_real_disk_that_is_full_costs_nothing(settings, small_disk, uninterrupted):
    run, filler = small_disk / "run", small_disk / "filler"

    def fill():
        with filler.open("wb", buffering=0) as opened, contextlib.suppress(OSError):
            while True:
                opened.write(bytes(4096))

    error = ends(settings, run, fill)
    assert error.code == "SK-S001"
    assert "(0 bytes are free, " in error.what
    filler.unlink()
    assert_it_goes_on(run, error, uninterrupted)
