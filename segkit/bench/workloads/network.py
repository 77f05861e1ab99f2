"""A network with its loss: one training step, or one inference."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from segkit.bench.instruments.instrument import Mark
from segkit.bench.limits.counting import counts_of
from segkit.bench.records.row import Correctness, Counts
from segkit.bench.workloads.correctness import (
    checked_shape,
    in_float64,
    relative_error,
    verdict,
    without_chance,
)
from segkit.bench.workloads.inputs import (
    IGNORE_INDEX,
    RotatingInputs,
    layout_of,
    random_images,
    random_targets,
    rotation,
)
from segkit.device import autocast
from segkit.errors import UsageError
from segkit.model.compose import build_loss, build_model
from segkit.model.loss_sum import loss_of, output_for
from segkit.training.loop.learner import make_optimizer

# So small that random labels do not drive the weights anywhere while time is taken.
LEARNING_RATE = 1e-6


class NetworkWorkload(RotatingInputs):
    """Training: forward with loss, backward, optimizer (AdamW as `segkit train` has it)."""

    def set_up(self) -> None:
        case = self.case
        torch.manual_seed(0)
        layout = layout_of(case)
        self.model = build_model(
            str(case.encoder),
            str(case.decoder),
            str(case.upsampler),
            num_classes=case.classes,
            in_channels=case.channels,
        )
        self.model = self.model.to(self.device).to(memory_format=layout).train(self.training)
        self.network: Callable[[Tensor], Tensor] = self.model
        if case.compile == "yes":
            self.network = torch.compile(self.model)
        count = rotation(case.batch * case.size**2 * (4 * case.channels + 8 * self.training))
        self.images = random_images(case, count, case.batch, case.size)
        if self.training:
            self.loss = build_loss(
                str(case.loss), num_classes=case.classes, ignore_index=IGNORE_INDEX
            ).to(self.device)
            self.targets = random_targets(case, count, case.batch, case.size)
            self.optimizer = make_optimizer(self.model, LEARNING_RATE, 0.0)
            self.scaler = torch.amp.GradScaler(self.device.type, enabled=case.precision == "fp16")
        if case.compile == "graph":
            self._fix_inputs()
        self.load()

    def load(self) -> None:
        at = self.next_of(self.images)
        image_BCHW = self.images[at]
        target_BHW = self.targets[at] if self.training else None
        if self.case.compile != "graph":
            self.image_BCHW, self.target_BHW = image_BCHW, target_BHW
            return
        self.image_BCHW.copy_(image_BCHW)
        if self.target_BHW is not None and target_BHW is not None:
            self.target_BHW.copy_(target_BHW)

    def work(self, mark: Mark) -> None:
        if not self.training:
            with torch.inference_mode(), autocast(self.device, self.case.precision):
                self.network(self.image_BCHW)
            return
        with autocast(self.device, self.case.precision):
            output = output_for(self.loss, self.network, self.image_BCHW)
        assert self.target_BHW is not None
        loss = loss_of(self.loss, output, self.target_BHW)
        mark("forward")
        self.scaler.scale(loss).backward()
        mark("backward")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        mark("optimizer")

    def check(self) -> Correctness:
        """Logits, and in training the gradient of all weights, beside those in float64."""
        batch, size = checked_shape(self.case)
        image_BCHW = random_images(self.case, 1, batch, size)[0]
        reference = in_float64(self.model)
        kept = copy.deepcopy(self.model.state_dict())
        for model in (self.model, reference):
            without_chance(model)
        if self.training:
            errors = self._training_errors(reference, image_BCHW, batch, size)
        else:
            with torch.inference_mode():
                with autocast(self.device, self.case.precision):
                    logits_BKHW = self.network(image_BCHW)
                expected_BKHW = reference(image_BCHW.double())
            errors = {"logits": relative_error([logits_BKHW], [expected_BKHW])}
        self.model.load_state_dict(kept)
        self.model.train(self.training)
        return verdict(self.case, errors, (batch, self.case.channels, size, size))

    def count(self) -> Counts | None:
        try:
            return counts_of(self.case)
        # A network that runs but cannot be counted without running is measured all the same.
        except UsageError:
            return Counts(parameters=sum(each.numel() for each in self.model.parameters()))

    def held_bytes(self) -> int:
        tensors: list[Tensor] = [*self.model.parameters(), *self.model.buffers()]
        if self.training:
            tensors += [p for p in self.model.parameters() if p.requires_grad]  # the gradients
            for state in self.optimizer.state.values():
                tensors += [each for each in state.values() if isinstance(each, Tensor)]
        return sum(each.numel() * each.element_size() for each in tensors)

    def _training_errors(
        self, reference: nn.Module, image_BCHW: Tensor, batch: int, size: int
    ) -> dict[str, float]:
        target_BHW = random_targets(self.case, 1, batch, size)[0]
        with autocast(self.device, self.case.precision):
            logits_BKHW = self.network(image_BCHW)
        self.loss(logits_BKHW.float(), target_BHW).backward()
        expected_BKHW = reference(image_BCHW.double())
        self.loss(expected_BKHW, target_BHW).backward()
        pairs = [
            (found.grad, expected.grad)
            for found, expected in zip(self.model.parameters(), reference.parameters(), strict=True)
            if found.grad is not None and expected.grad is not None
        ]
        errors = {
            "logits": relative_error([logits_BKHW.detach()], [expected_BKHW.detach()]),
            "gradient": relative_error([f for f, _ in pairs], [e for _, e in pairs]),
        }
        self.optimizer.zero_grad(set_to_none=True)
        return errors

    def _fix_inputs(self) -> None:
        # A graph reads the same addresses at every replay: inputs are copied to them.
        self.image_BCHW = self.images[0].clone()
        self.target_BHW = self.targets[0].clone() if self.training else None
        if self.training:
            for group in self.optimizer.param_groups:
                group["capturable"] = True
