"""Parts by themselves: a loss on logits, an upsampler on one map."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segkit.bench.instruments.instrument import Mark
from segkit.bench.records.row import Correctness, Counts
from segkit.bench.workloads.correctness import in_float64, relative_error, verdict
from segkit.bench.workloads.inputs import (
    DTYPES,
    IGNORE_INDEX,
    RotatingInputs,
    layout_of,
    random_targets,
    rotation,
)
from segkit.model.compose import build_loss
from segkit.registry.components import default_registry


class LossWorkload(RotatingInputs):
    """A loss on logits of the case's precision: forward, and in training the backward pass."""

    def set_up(self) -> None:
        case = self.case
        torch.manual_seed(0)
        self.loss = build_loss(
            str(case.loss), num_classes=case.classes, ignore_index=IGNORE_INDEX
        ).to(case.device)
        itemsize = DTYPES[case.precision].itemsize
        count = rotation(case.batch * case.size**2 * (case.classes * itemsize + 8))
        layout = layout_of(case)
        self.logits = [
            torch.randn(case.batch, case.classes, case.size, case.size)
            .to(case.device, DTYPES[case.precision])
            .contiguous(memory_format=layout)
            for _ in range(count)
        ]
        self.targets = random_targets(case, count, case.batch, case.size)
        self.load()

    def load(self) -> None:
        at = self.next_of(self.logits)
        logits_BKHW = self.logits[at].detach().requires_grad_(self.training)
        self.logits_BKHW, self.target_BHW = logits_BKHW, self.targets[at]

    def work(self, mark: Mark) -> None:
        with torch.set_grad_enabled(self.training):
            loss = self.loss(self.logits_BKHW, self.target_BHW)
        if self.training:
            mark("forward")
            loss.backward()
            mark("backward")
            self.logits_BKHW.grad = None

    def check(self) -> Correctness:
        """The value, and in training the gradient, beside those of float64 logits."""
        batch, side = min(self.case.batch, 2), min(self.case.size, 128)
        logits_BKHW = self.logits[0][:batch, :, :side, :side].detach().clone()
        target_BHW = self.targets[0][:batch, :side, :side]
        found, gradient_BKHW = _value_and_gradient(self.loss, logits_BKHW, target_BHW)
        expected, reference_BKHW = _value_and_gradient(self.loss, logits_BKHW.double(), target_BHW)
        errors = {"value": relative_error([found], [expected])}
        if self.training:
            errors["gradient"] = relative_error([gradient_BKHW], [reference_BKHW])
        return verdict(self.case, errors, tuple(logits_BKHW.shape))

    def count(self) -> Counts:
        """Only what cannot be less: logits and labels read, the gradient written."""
        logits, labels = self.logits[0], self.targets[0]
        once = logits.numel() * logits.element_size()
        passes = 3 if self.training else 1
        # Labels fit one byte each; twice read where there is a backward pass.
        fewest = passes * once + labels.numel() * (2 if self.training else 1)
        return Counts(parameters=0, fewest_bytes=fewest)

    def held_bytes(self) -> int:
        return 0


class UpsamplerWorkload(RotatingInputs):
    """One upsampler by a factor of 2, from half the case's size to all of it."""

    def set_up(self) -> None:
        case = self.case
        torch.manual_seed(0)
        component = default_registry().component("upsamplers", str(case.upsampler))
        self.upsampler: nn.Module = component.build(
            in_channels=case.channels, out_channels=case.channels, scale=2
        )
        self.unpools = bool(self.upsampler.needs_pool_indices)
        layout = layout_of(case)
        self.upsampler = self.upsampler.to(case.device, DTYPES[case.precision]).train(self.training)
        if any(p.ndim == 4 for p in self.upsampler.parameters()):
            self.upsampler = self.upsampler.to(memory_format=layout)
        bytes_each = case.batch * case.channels * case.size**2 * 5 // 4
        count = rotation(bytes_each * DTYPES[case.precision].itemsize)
        self.larger = [self._random(case.size, layout) for _ in range(count)]
        self.maps, self.indices = self._halved(layout)
        self.load()

    def load(self) -> None:
        at = self.next_of(self.maps)
        self.x_BCHW = self.maps[at].detach().requires_grad_(self.training)
        self.gradient_BCHW, self.pool_indices = self.larger[at], self.indices[at]

    def work(self, mark: Mark) -> None:
        with torch.set_grad_enabled(self.training):
            y_BCHW = self._enlarged(self.upsampler, self.x_BCHW)
        if self.training:
            mark("forward")
            y_BCHW.backward(self.gradient_BCHW)
            mark("backward")
            self.x_BCHW.grad = None
            self.upsampler.zero_grad(set_to_none=True)

    def check(self) -> Correctness:
        """The map, and in training the gradient of the input, beside those in float64."""
        reference = in_float64(self.upsampler)
        x_BCHW = self.x_BCHW.detach().requires_grad_()
        exact_BCHW = x_BCHW.detach().double().requires_grad_()
        y_BCHW = self._enlarged(self.upsampler, x_BCHW)
        expected_BCHW = self._enlarged(reference, exact_BCHW)
        errors = {"map": relative_error([y_BCHW.detach()], [expected_BCHW.detach()])}
        if self.training:
            y_BCHW.backward(self.gradient_BCHW)
            expected_BCHW.backward(self.gradient_BCHW.double())
            if x_BCHW.grad is not None and exact_BCHW.grad is not None:
                errors["gradient"] = relative_error([x_BCHW.grad], [exact_BCHW.grad])
            self.upsampler.zero_grad(set_to_none=True)
        return verdict(self.case, errors, tuple(x_BCHW.shape))

    def count(self) -> Counts:
        """Parameters, and the smaller and the larger map, once read and once written."""
        case = self.case
        larger = case.batch * case.channels * case.size**2 * DTYPES[case.precision].itemsize
        return Counts(
            parameters=sum(p.numel() for p in self.upsampler.parameters()),
            fewest_bytes=(larger + larger // 4) * (2 if self.training else 1),
        )

    def held_bytes(self) -> int:
        return sum(2 * p.numel() * p.element_size() for p in self.upsampler.parameters())

    def _enlarged(self, upsampler: nn.Module, x_BCHW: Tensor) -> Tensor:
        size = (self.case.size, self.case.size)
        enlarged_BCHW: Tensor = upsampler(
            x_BCHW, size=size, pool_indices=self.pool_indices if self.unpools else None
        )
        return enlarged_BCHW

    def _random(self, size: int, layout: torch.memory_format) -> Tensor:
        case = self.case
        return (
            torch.randn(case.batch, case.channels, size, size)
            .to(case.device, DTYPES[case.precision])
            .contiguous(memory_format=layout)
        )

    def _halved(self, layout: torch.memory_format) -> tuple[list[Tensor], list[Tensor | None]]:
        half = max(1, self.case.size // 2)
        if not self.unpools:
            return [self._random(half, layout) for _ in self.larger], [None] * len(self.larger)
        pooled = [F.max_pool2d(each.float(), 2, return_indices=True) for each in self.larger]
        maps = [values.to(DTYPES[self.case.precision]) for values, _ in pooled]
        return maps, [indices for _, indices in pooled]


def _value_and_gradient(
    loss: nn.Module, logits_BKHW: Tensor, target_BHW: Tensor
) -> tuple[Tensor, Tensor]:
    logits_BKHW = logits_BKHW.detach().requires_grad_()
    value: Tensor = loss(logits_BKHW, target_BHW)
    value.backward()
    gradient_BKHW = logits_BKHW.grad
    if gradient_BKHW is None:
        gradient_BKHW = torch.zeros_like(logits_BKHW)
    return value.detach(), gradient_BKHW
