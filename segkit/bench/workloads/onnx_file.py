"""An ONNX file that `segkit export` wrote, run by onnxruntime on the CPU: image to labels."""

from __future__ import annotations

from pathlib import Path

import torch

from segkit.bench.instruments.instrument import Mark
from segkit.bench.workloads.inputs import RotatingInputs, random_images, rotation
from segkit.inference.onnx_network import load_onnx


class OnnxWorkload(RotatingInputs):
    """The labels of images of random numbers, as the file takes them."""

    def load_code(self) -> None:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401

    def set_up(self) -> None:
        case = self.case
        torch.manual_seed(0)
        self.network = load_onnx(Path(str(case.onnx)).expanduser())
        channels = self.network.record.in_channels
        count = rotation(case.batch * channels * case.size**2 * 4)
        shaped = case.model_copy(update={"channels": channels})
        self.images = random_images(shaped, count, case.batch, case.size)
        self.load()

    def load(self) -> None:
        self.image_BCHW = self.images[self.next_of(self.images)].contiguous()

    def work(self, mark: Mark) -> None:
        self.network.labels(self.image_BCHW)

    def check(self) -> None:
        """The export has compared its answers with the model's."""

    def count(self) -> None:
        """What the graph amounts to on paper is not counted."""

    def held_bytes(self) -> int:
        return 0
