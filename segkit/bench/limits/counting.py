"""What one step of a combination amounts to: parameters, arithmetic, traffic, memory; not run.

The step runs on tensors that have shapes and no numbers, for whatever device is asked: nothing is
computed and hardly any memory is used. In float32 they are on the meta device. Autocast does not
know that one, and CPUs have ways of their own (losses that enlarge logits): such steps take fake
tensors of a CPU (torch._subclasses), three times as slow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.nn.utils import clip_grad_norm_

from segkit.bench.limits.tracing import Operation, Stand, Trace
from segkit.bench.records.case import Case
from segkit.bench.records.row import Counts
from segkit.device import TYPES
from segkit.errors import SegkitError, UsageError, first_line
from segkit.model.activation_checkpointing import checkpoint_activations
from segkit.model.compose import build_loss, build_model
from segkit.model.loss_sum import loss_of, output_for
from segkit.model.sizing import built_without_memory

# Device memory is handed out in multiples of this (c10/cuda/CUDACachingAllocator, kMinBlockSize).
CUDA_GRANULE = 512


@dataclass(frozen=True)
class Step:
    """One step of a combination.

    loss        null where mode is infer
    average     whether an average of the weights is kept beside them, as `segkit train` does
    device      type of the device: its types under autocast and its memory's granule count
    checkpoint_activations   as `segkit train --checkpoint-activations`
    """

    encoder: str
    decoder: str = "unet"
    upsampler: str = "bilinear"
    loss: str | None = "dice+ce"
    mode: str = "train"
    classes: int = 21
    channels: int = 3
    height: int = 512
    width: int = 512
    batch: int = 8
    precision: str = "fp32"
    channels_last: bool = True
    average: bool = True
    device: str = "cuda"
    checkpoint_activations: bool = False


@dataclass(frozen=True)
class StepCount:
    """What a step amounts to, for the whole batch; bytes, and FLOPs of two to a multiply-add.

    operations       in order, each with its phase (forward, backward, optimizer), FLOPs and bytes
    fewest_bytes     by phase: the least traffic, everything fused that can be
    saved_bytes      kept by the forward pass for the backward pass, weights not among them
    model_bytes      weights and running statistics
    kept_bytes       what stays from step to step: weights, average, gradients, optimizer's state
    peak_bytes       the most memory held at once, that of tensors
    peak_phase       when
    """

    parameters: int
    operations: tuple[Operation, ...] = field(repr=False)
    fewest_bytes: dict[str, int]
    saved_bytes: int
    model_bytes: int
    kept_bytes: int
    peak_bytes: int
    peak_phase: str

    @property
    def multiply_adds(self) -> int:
        """Of the forward pass."""
        return self.flops("forward") // 2

    @property
    def phases(self) -> tuple[str, ...]:
        return tuple(self.fewest_bytes)

    def flops(self, phase: str = "") -> int:
        """Of a phase, or of the whole step."""
        return sum(each.flops for each in self._of(phase))

    def eager_bytes(self, phase: str = "") -> int:
        """Where every operation reads and writes memory by itself."""
        return sum(each.bytes for each in self._of(phase))

    def launches(self, phase: str = "") -> int:
        """About as many kernels a GPU launches."""
        return len(self._of(phase))

    def _of(self, phase: str) -> list[Operation]:
        return [each for each in self.operations if phase in ("", each.phase)]


def count_step(step: Step) -> StepCount:
    """Counts a step; raises the errors of building its parts, and UsageError SK-C007."""
    model = built_without_memory(lambda: _network(step))
    loss = _loss(step)
    return count_modules(model, loss, step)


def count_modules(model: nn.Module, loss: nn.Module | None, step: Step) -> StepCount:
    """Counts a step of modules at hand; they are on the meta device afterwards, or fake."""
    cuda = step.device == "cuda"
    cpu = step.device == "cpu"
    trace = Trace(CUDA_GRANULE if cuda else 1, numberless=True, reorders=cpu)
    try:
        with _carrier(step), trace:
            without_numbers(model, channels_last=step.channels_last)
            if loss is not None:
                without_numbers(loss, channels_last=False)
            return _Counted(model, loss, step, trace).run()
    except SegkitError:
        raise
    except Exception as error:
        raise UsageError(
            "SK-C007",
            f"{step.encoder} + {step.decoder} + {step.upsampler} with {step.loss} cannot be "
            f"counted without running it ({type(error).__name__}: {first_line(error)}).",
            "Measure it: segkit bench, with the same options.",
        ) from error


def _carrier(step: Step) -> AbstractContextManager[object]:
    """What makes tensors without numbers."""
    if step.precision == "fp32" and step.device != "cpu":
        return torch.device("meta")
    return FakeTensorMode(allow_non_fake_inputs=True)


class _Counted:
    """One step under the eyes of a trace."""

    def __init__(self, model: nn.Module, loss: nn.Module | None, step: Step, trace: Trace) -> None:
        self.model, self.loss, self.step, self.trace = model, loss, step, trace
        self.saved: dict[int, int] = {}

    def run(self) -> StepCount:
        parameters = sum(each.numel() for each in self.model.parameters())
        self.model_bytes = self.trace.hold([*self.model.parameters(), *self.model.buffers()])
        self.kept_bytes = self.model_bytes
        if self.step.mode == "train":
            self._train()
        else:
            self._infer()
        trace = self.trace
        phases: tuple[str, ...] = (
            ("forward", "backward", "optimizer") if self.step.mode == "train" else ("forward",)
        )
        return StepCount(
            parameters=parameters,
            operations=tuple(each for each in trace.operations if each.phase),
            fewest_bytes={phase: trace.fused_bytes[phase] for phase in phases},
            saved_bytes=sum(self.saved.values()),
            model_bytes=self.model_bytes,
            kept_bytes=self.kept_bytes,
            peak_bytes=trace.peak,
            peak_phase=trace.peak_phase,
        )

    def _infer(self) -> None:
        self.model.eval()
        image_BCHW = self._image()
        self.trace.restart_peak()
        with self.trace.phase("forward"), torch.no_grad(), self._stand(), self._autocast():
            logits_BKHW = self.model(image_BCHW)
            self.trace.results([logits_BKHW])

    def _train(self) -> None:
        self.model.train()
        assert self.loss is not None
        average = [torch.empty_like(each) for each in self.model.state_dict().values()] * (
            self.step.average
        )
        leaves = [each for each in self.model.parameters() if each.requires_grad]
        optimizer = _AdamW(leaves)
        for leaf in leaves:
            leaf.grad = torch.empty_like(leaf)
        self.kept_bytes = self.trace.held
        image_BCHW, target_BHW = self._image(), self._target()
        self.trace.restart_peak()
        # In the order of the training loop: the last step's gradients are there while the network
        # runs, and gone before the backward pass.
        with self.trace.phase("forward"), self._saved_noted(), self._stand():
            with self._autocast():
                output = self._output(image_BCHW)
            loss = loss_of(self.loss, output, target_BHW)
            self.trace.results([loss])
        self.model.zero_grad(set_to_none=True)
        with self.trace.phase("backward"), self._stand():
            loss.backward()
            self.trace.results(each.grad for each in leaves if each.grad is not None)
        with self.trace.phase("optimizer"):
            clip_grad_norm_(leaves, 1.0)
            if any(each.grad is not None for each in leaves):
                optimizer.step()
            if average:
                followed = [e for e in self.model.state_dict().values() if e.is_floating_point()]
                following = [e for e in average if e.is_floating_point()]
                with torch.no_grad():
                    torch._foreach_lerp_(following, followed, 0.01)

    def _output(self, image_BCHW: Tensor) -> Any:
        assert self.loss is not None
        # Losses enlarge coarse logits band by band on the CPU only, and here take all for a CPU.
        if self.step.device == "cuda":
            return self.model(image_BCHW)
        return output_for(self.loss, self.model, image_BCHW)

    def _image(self) -> Tensor:
        step = self.step
        layout = torch.channels_last if step.channels_last else torch.contiguous_format
        shape = (step.batch, step.channels, step.height, step.width)
        return torch.empty(shape, memory_format=layout)

    def _target(self) -> Tensor:
        step = self.step
        return torch.empty((step.batch, step.height, step.width), dtype=torch.int64)

    def _stand(self) -> Stand:
        return Stand(casts=self.step.device == "cuda")

    def _autocast(self) -> AbstractContextManager[object]:
        if self.step.precision == "fp32":
            return nullcontext()
        return torch.autocast("cpu", dtype=TYPES[self.step.precision])

    @contextmanager
    def _saved_noted(self) -> Iterator[None]:
        weights = {id(each) for each in self.model.parameters()}

        def note(tensor: Tensor) -> Tensor:
            if id(tensor) not in weights:
                storage = tensor.untyped_storage()
                self.saved[storage._cdata] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            yield


def counts_of(case: Case) -> Counts | None:
    """A benchmark case's counts, as its row holds them; None where there is nothing to count."""
    if case.task != "network" or case.encoder is None:
        return None
    count = counted_case(case)
    return Counts(
        parameters=count.parameters,
        multiply_adds=count.multiply_adds,
        flops=count.flops(),
        fewest_bytes=sum(count.fewest_bytes.values()),
        eager_bytes=count.eager_bytes(),
    )


def counted_case(case: Case) -> StepCount:
    """The count of a network's step, as `segkit bench` runs it; raises as `count_step` does."""
    return count_step(
        Step(
            encoder=str(case.encoder),
            decoder=case.decoder or "unet",
            upsampler=case.upsampler or "bilinear",
            loss=case.loss,
            mode=case.mode,
            classes=case.classes,
            channels=case.channels,
            height=case.size,
            width=case.size,
            batch=case.batch,
            precision=case.precision,
            channels_last=case.channels_last,
            average=False,
            device=case.device.partition(":")[0],
        )
    )


def without_numbers(module: nn.Module, *, channels_last: bool) -> None:
    """Replaces every parameter and buffer by one of its shape; call it within a carrier of such."""
    made: dict[int, Any] = {}
    for part in module.modules():
        for table in (part._parameters, part._buffers):
            for name, tensor in table.items():
                if tensor is not None and id(tensor) not in made:
                    made[id(tensor)] = _bare(tensor, channels_last)
                if tensor is not None:
                    table[name] = made[id(tensor)]


def _bare(tensor: Tensor, channels_last: bool) -> Tensor:
    layout = torch.channels_last if channels_last and tensor.ndim == 4 else torch.contiguous_format
    bare = torch.empty(tensor.shape, dtype=tensor.dtype, memory_format=layout)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(bare, requires_grad=tensor.requires_grad)
    return bare


def _network(step: Step) -> nn.Module:
    model = build_model(
        step.encoder,
        step.decoder,
        step.upsampler,
        num_classes=step.classes,
        in_channels=step.channels,
    )
    if step.checkpoint_activations:
        checkpoint_activations(model)
    return model


def _loss(step: Step) -> nn.Module | None:
    if step.mode != "train":
        return None
    return build_loss(step.loss or "ce", num_classes=step.classes, ignore_index=255)


class _AdamW:
    """What torch.optim.AdamW(fused=True) does and holds; the class itself refuses such tensors."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        self.first = [torch.empty_like(each) for each in parameters]
        self.second = [torch.empty_like(each) for each in parameters]
        self.steps = [torch.empty(()) for _ in parameters]

    @torch.no_grad()
    def step(self) -> None:
        states = zip(self.parameters, self.first, self.second, self.steps, strict=True)
        # Parameters that took no part have no gradient, and are left alone.
        used = [(each[0].grad, *each) for each in states if each[0].grad is not None]
        gradients, parameters, first, second, steps = map(list, zip(*used, strict=True))
        update: Any = torch._fused_adamw_
        update(
            *(parameters, gradients, first, second, [], steps),
            **{"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.01, "eps": 1e-8},
            amsgrad=False,
            maximize=False,
        )
