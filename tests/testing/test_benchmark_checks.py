"""Every check that a benchmark must pass can fail: a broken benchmark for each."""

import contextlib
import socket

import pytest
import torch

from segkit.testing.benchmarks import CHECKS


class Sound:
    unit = "image"

    def __init__(self, device, *, side: int = 16) -> None:
        self.device, self.side = device, side

    def set_up(self):
        self.image_BCHW = torch.rand(2, 3, self.side, self.side, device=self.device)

    def run(self):
        self.image_BCHW.square().sum()
        return len(self.image_BCHW)


class NoUnit(Sound):
    unit = ""


class CountsNothing(Sound):
    def run(self):
        super().run()


class ForgetsGradients(Sound):
    def set_up(self):
        torch.set_grad_enabled(False)
        super().set_up()


class AsksTheNetwork(Sound):
    def set_up(self):
        super().set_up()
        with contextlib.suppress(OSError):
            socket.create_connection(("data.invalid", 443), timeout=1)


BROKEN = {
    "declares_its_unit": (NoUnit, "unit is ''"),
    "runs_after_set_up": (CountsNothing, r"run\(\) returned \[None, None, None\]"),
    "leaves_the_process_alone": (ForgetsGradients, "it changes torch's gradient mode"),
    "opens_no_socket": (AsksTheNetwork, "a connection to"),
}
BY_NAME = {check.__name__: check for check in CHECKS}


@pytest.fixture(autouse=True)
def gradients_come_back():
    yield
    torch.set_grad_enabled(True)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_sound_benchmark_passes(name, subject_of):
    BY_NAME[name](subject_of("benchmarks", Sound))


@pytest.mark.parametrize("name", BY_NAME)
def test_a_broken_benchmark_is_caught(name, subject_of):
    factory, message = BROKEN[name]
    with pytest.raises(AssertionError, match=message):
        BY_NAME[name](subject_of("benchmarks", factory))
