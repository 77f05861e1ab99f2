"""Benchmarks, good and wrong: each wrong one differs from the good one in what its name says."""

import contextlib
import socket

import torch


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


class Prints(Sound):
    def run(self):
        print("running")  # noqa: T201
        return super().run()


GOOD = (Sound,)
# The check that is to see it, and what it is to see.
WRONG = {
    NoUnit: ("declares_its_unit", "unit is ''"),
    CountsNothing: ("runs_after_set_up", r"run\(\) returned \[None, None, None\]"),
    ForgetsGradients: ("leaves_the_process_alone", "using it changes torch's gradient mode"),
    AsksTheNetwork: ("opens_no_socket", "a connection to"),
    Prints: ("prints_nothing", "it wrote 'running"),
}
