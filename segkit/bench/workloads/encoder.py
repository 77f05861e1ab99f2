"""An encoder by itself: inference, or forward and backward from random gradients of its maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from segkit.bench.instruments.instrument import Mark
from segkit.bench.records.row import Correctness, Counts
from segkit.bench.workloads.correctness import checked_shape, in_float64, relative_error, verdict
from segkit.bench.workloads.inputs import RotatingInputs, layout_of, random_images, rotation
from segkit.device import autocast
from segkit.errors import UsageError
from segkit.interfaces import EncoderTraits
from segkit.model.compose import checked_encoder
from segkit.registry.components import default_registry


class EncoderWorkload(RotatingInputs):
    """Images of sides that the encoder takes as they are, since no model pads them."""

    def set_up(self) -> None:
        case = self.case
        torch.manual_seed(0)
        layout = layout_of(case)
        named = default_registry().component("encoders", str(case.encoder))
        encoder = checked_encoder(named.build(in_channels=case.channels, weights="none"), named)
        self.deepest, self.margin = encoder.strides[-1], EncoderTraits.of(encoder).margin
        if (case.size - 2 * self.margin) % self.deepest:
            raise UsageError(
                "SK-C007",
                f"{case.encoder} by itself takes no images of {case.size} pixels a side.",
                f"Choose a multiple of {self.deepest}, more by {2 * self.margin}.",
            )
        if not isinstance(encoder, nn.Module):
            raise UsageError("SK-C007", f"{case.encoder} is no module.", "Choose another encoder.")
        self.encoder: nn.Module = encoder.to(self.device).to(memory_format=layout)
        self.encoder.train(self.training)
        count = rotation(case.batch * case.channels * case.size**2 * 4)
        self.images = random_images(case, count, case.batch, case.size)
        self.load()

    def load(self) -> None:
        self.image_BCHW = self.images[self.next_of(self.images)]

    def work(self, mark: Mark) -> None:
        if not self.training:
            with torch.inference_mode():
                self._maps(self.encoder, self.image_BCHW)
            return
        maps = self._maps(self.encoder, self.image_BCHW)
        mark("forward")
        torch.autograd.backward(list(maps), [each.detach() for each in maps])
        mark("backward")
        self.encoder.zero_grad(set_to_none=True)

    def check(self) -> Correctness:
        """All maps beside those of the same weights in float64, in evaluation mode."""
        batch, size = checked_shape(self.case)
        size = self.case.size if self.margin else size
        size = max(size // self.deepest, 1) * self.deepest if size != self.case.size else size
        image_BCHW = random_images(self.case, 1, batch, size)[0]
        reference = in_float64(self.encoder).eval()
        self.encoder.eval()
        with torch.inference_mode():
            found = self._maps(self.encoder, image_BCHW)
            expected = reference(image_BCHW.double()).maps
        self.encoder.train(self.training)
        errors = {"maps": relative_error(found, expected)}
        return verdict(self.case, errors, (batch, self.case.channels, size, size))

    def count(self) -> Counts:
        """Parameters, and arithmetic of the forward pass of one image, times the batch."""
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            self.encoder.eval()(self.images[0][:1])
        self.encoder.train(self.training)
        forward = counter.get_total_flops() * self.case.batch
        return Counts(
            parameters=sum(each.numel() for each in self.encoder.parameters()),
            multiply_adds=forward // 2,
            flops=None if self.training else forward,
        )

    def held_bytes(self) -> int:
        return sum(each.numel() * each.element_size() for each in self.encoder.parameters())

    def _maps(self, encoder: nn.Module, image_BCHW: Tensor) -> tuple[Tensor, ...]:
        with autocast(self.device, self.case.precision):
            maps: tuple[Tensor, ...] = encoder(image_BCHW).maps
        return maps
