"""Workers: none outlives its parent, and one that dies or hangs is named with its sample."""

from __future__ import annotations

import os
import signal
import sys
import time

import numpy as np
import pytest

from segkit.data import workers
from segkit.data.loader import EvaluationLoader, TrainingLoader
from segkit.errors import StorageError
from segkit.interfaces import Sample

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals"),
]


class Deadly:
    """Eight samples; reading the fifth ends, or stops, the process that reads it."""

    classes, palette, ignore_index = ("a", "b"), ((0, 0, 0), (9, 9, 9)), None

    def __init__(self, how: str) -> None:
        self.how, self.home = how, os.getpid()

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Sample:
        if index == 4 and os.getpid() != self.home:
            self.fail()
        image_HWC = np.zeros((16, 16, 3), np.uint8)
        return Sample(image_HWC, np.zeros((16, 16), np.int64), f"s{index}", None)

    def fail(self) -> None:
        if self.how == "sleeps":
            time.sleep(1000)
        elif self.how == "raises":
            raise RuntimeError("the plugin has a fault")
        else:
            os.kill(os.getpid(), getattr(signal, self.how))
            time.sleep(1000)


def loaders(dataset):
    training = TrainingLoader(dataset, size=16, batch=2, seed=0, workers=2)
    return training.epoch(0), iter(EvaluationLoader(dataset, batch=2, workers=2))


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSEGV"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_worker_that_is_killed_is_named_with_its_sample(how, which):
    with pytest.raises(StorageError) as caught:
        list(loaders(Deadly(how))[which])
    assert (caught.value.code, caught.value.exit_code) == ("SK-S004", 8)
    assert "a process that reads data was killed (process " in caught.value.what
    assert "at sample number 5" in caught.value.what
    assert "--shm-size" in caught.value.fix


@pytest.mark.parametrize("how", ["sleeps", "SIGSTOP"])
def test_a_worker_that_hangs_is_ended_and_named_after_a_while(how, monkeypatch):
    monkeypatch.setattr(workers, "LONGEST_WAIT", 6.0)
    with pytest.raises(StorageError) as caught:
        list(loaders(Deadly(how))[0])
    assert caught.value.code == "SK-S004"
    assert "no batch came from the processes that read data for 6 seconds (process " in str(
        caught.value
    )
    assert "at sample number 5" in caught.value.what


def test_a_fault_of_the_data_set_is_its_own():
    with pytest.raises(RuntimeError, match="the plugin has a fault"):
        list(loaders(Deadly("raises"))[0])


def test_workers_outlast_what_a_terminal_sends_to_all(monkeypatch):
    monkeypatch.setattr(workers, "LONGEST_WAIT", 6.0)
    batches = loaders(Deadly("SIGHUP"))[1]
    next(batches)
    for process in workers.active_children():
        for name in ("SIGINT", "SIGHUP", "SIGUSR1"):
            os.kill(process.pid, getattr(signal, name))
    with pytest.raises(StorageError, match="no batch came"):  # of the fifth, which sleeps
        list(batches)
