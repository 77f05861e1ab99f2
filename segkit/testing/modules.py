"""Checks that hold for every part of a network: encoders, decoders and upsamplers alike."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from segkit.interfaces import Checkpointable
from segkit.model.activation_checkpointing import statistics_kept
from segkit.testing.belongings import BELONGINGS_CHECKS
from segkit.testing.gradients import GRADIENT_CHECKS
from segkit.testing.subject import Check, NotApplicable, Subject, require
from segkit.testing.trials import Trial, map_tensors, tensors_in, trial_of

# float32 sums in another order differ in the last bits; activations here are of order 1.
TOLERANCE = 1e-4
# bfloat16 keeps 8 bits: 0.4 % a rounding, and a hundred layers of them.
BF16_TOLERANCE = 0.25
# Of the output's norm: a hundred norms of random weights enlarge float32's rounding.
FLOAT32_TOLERANCE = 0.02


def state_dict_restores_it(subject: Subject) -> None:
    """A fresh build, where gradients are off as when a model is loaded to predict, takes the
    other's state dict strictly and gives the very same output.

    Mend: keep every tensor that the output depends on in an nn.Parameter or a register_buffer,
    made in __init__ and never while it runs.
    """
    trial = trial_of(subject)
    trained = trial.build().train()
    # One pass in training moves the running statistics away from where every build starts.
    trained(*trial.arguments)
    torch.manual_seed(1)
    with torch.no_grad():
        restored = trial.build()
    restored.load_state_dict(trained.state_dict(), strict=True)
    expected, found = _evaluated(trained, trial), _evaluated(restored, trial)
    require(_equal(expected, found), "its output depends on something that its state dict lacks")


def images_of_a_batch_do_not_mix(subject: Subject) -> None:
    """In evaluation, a batch of two gives what its two images give one at a time.

    Mend: take means, norms and shuffles over channels and pixels of one image, never over
    dimension 0, in evaluation.
    """
    trial = trial_of(subject)
    module = trial.build().eval()
    both = tensors_in(_call(module, trial.arguments))
    for item in range(2):
        one = map_tensors(lambda t: t[item : item + 1], trial.arguments)  # noqa: B023
        alone = tensors_in(_call(module, one))
        for together_B, single_B in zip(both, alone, strict=True):
            gap = _gap(single_B, together_B[item : item + 1])
            require(gap <= TOLERANCE, f"image {item} differs by {gap:.2g} in company")


def runs_under_bf16_autocast(subject: Subject) -> None:
    """Under bfloat16 autocast the output is finite and near the float32 one.

    Mend: do what overflows or rounds (exponentials, long sums, small epsilons) in float32, under
    torch.autocast(x.device.type, enabled=False).
    """
    trial = trial_of(subject)
    module = trial.build().eval()
    exact = _floats(_call(module, trial.arguments))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = _floats(_call(module, trial.arguments))
    for exact_map, rounded_map in zip(exact, rounded, strict=True):
        require(bool(rounded_map.isfinite().all()), "the output under bfloat16 is not finite")
        error = (rounded_map.float() - exact_map).norm() / exact_map.norm().clamp_min(1e-6)
        require(
            bool(error <= BF16_TOLERANCE),
            f"bfloat16 moves the output by {float(error):.0%} of its norm",
        )


def input_is_left_as_it_was(subject: Subject) -> None:
    """The input holds the same numbers after a pass, in training and in evaluation.

    Mend: use no in-place function (relu_, inplace=True, +=, mul_) on the input or a view of it.
    """
    trial = trial_of(subject)
    kept = map_tensors(torch.clone, trial.arguments)
    for mode in (True, False):
        _call(trial.build().train(mode), trial.arguments)
        require(_equal(kept, trial.arguments), "it writes into its input")


def copies_are_independent(subject: Subject) -> None:
    """copy.deepcopy gives the same output, also after the original has changed.

    Mend: define no __deepcopy__, and hold tensors in parameters and buffers of the module, not
    in closures or in class attributes.
    """
    trial = trial_of(subject)
    module = trial.build().eval()
    before = _evaluated(module, trial)
    copied = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    require(_equal(before, _evaluated(copied, trial)), "a deep copy does not give the same output")


def the_seed_decides(subject: Subject) -> None:
    """The same seed gives the same weights and the same output, in training and in evaluation.

    Mend: draw from torch's own generator, not from NumPy, Python's random, the time or
    os.urandom, and let no set's order decide.
    """
    trial = trial_of(subject)
    outputs = []
    for _ in range(2):
        torch.manual_seed(7)
        module = trial.build()
        trained = _call(module.train(), trial.arguments)
        outputs.append((trained, _evaluated(module, trial)))
    require(_equal(outputs[0], outputs[1]), "two builds under one seed differ")


def evaluation_changes_nothing(subject: Subject) -> None:
    """A pass in evaluation mode leaves every tensor of the state dict, and repeats to the bit.

    Mend: update buffers only `if self.training`, and pass training=self.training to dropout.
    """
    trial = trial_of(subject)
    module = trial.build().eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    first, second = _call(module, trial.arguments), _call(module, trial.arguments)
    for name, tensor in module.state_dict().items():
        require(torch.equal(before[name], tensor), f"a pass in evaluation mode changes {name}")
    require(_equal(first, second), "two passes in evaluation mode differ")


def exports(subject: Subject) -> None:
    """torch.export captures it whole, and the captured program gives the same output.

    Mend: let no number computed from pixels (.item(), if x.sum() > 0) decide what is done next,
    and leave tensors as tensors (no .numpy()).
    """
    trial = trial_of(subject)
    module = trial.build().eval()
    expected = tensors_in(_call(module, trial.arguments))
    with torch.no_grad():
        program = torch.export.export(module, trial.arguments, strict=False)
        found = tensors_in(program.module()(*trial.arguments))
    for expected_map, found_map in zip(expected, found, strict=True):
        gap = _gap(expected_map, found_map)
        require(gap <= TOLERANCE, f"the exported program differs by {gap:.2g}")


def takes_channels_last(subject: Subject) -> None:
    """Weights and input in channels_last memory give the output that the usual order gives.

    Mend: use reshape instead of view, and no as_strided or data_ptr.
    """
    trial = trial_of(subject)
    module = trial.build().eval()
    expected = tensors_in(_call(module, trial.arguments))
    module = module.to(memory_format=torch.channels_last)
    turned = map_tensors(
        lambda t: t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t,
        trial.arguments,
    )
    for expected_map, found_map in zip(expected, tensors_in(_call(module, turned)), strict=True):
        gap = _gap(expected_map, found_map)
        require(gap <= TOLERANCE, f"channels_last changes the output by {gap:.2g}")


def checkpointing_changes_no_number(subject: Subject) -> None:
    """With set_grad_checkpointing, outputs, gradients and running statistics stay what they are.

    Mend: run each stage through segkit.api.recomputed(stage, x) when it is switched on, and the
    same stage by itself when it is not.
    """
    trial = trial_of(subject)
    # In float64: a hundred norms of random weights enlarge float32's rounding without bound.
    arguments = map_tensors(lambda t: t.double() if t.is_floating_point() else t, trial.arguments)
    results = []
    for checkpoints in (False, True):
        torch.manual_seed(7)
        module = trial.build().double().train()
        if not isinstance(module, Checkpointable):
            raise NotApplicable("has no set_grad_checkpointing")
        module.set_grad_checkpointing(checkpoints)
        outputs = _floats(module(*arguments))
        with statistics_kept(module):
            torch.stack([each.square().mean() for each in outputs]).sum().backward()
        gradients = [each.grad for each in module.parameters() if each.grad is not None]
        results.append([*outputs, *gradients, *module.buffers()])
    for plain, checkpointed in zip(*results, strict=True):
        gap = _gap(plain, checkpointed)
        require(gap <= TOLERANCE, f"checkpointing changes a number by {gap:.2g}")


def takes_float64(subject: Subject) -> None:
    """Made double, it turns float64 input into float64 output near the float32 one.

    Mend: make new tensors with dtype=x.dtype and device=x.device (or x.new_zeros), and call no
    .float(); what must be summed exactly goes back with .to(x.dtype).
    """
    trial = trial_of(subject)
    module = trial.build().eval()
    single = _floats(_call(module, trial.arguments))
    arguments = map_tensors(lambda t: t.double() if t.is_floating_point() else t, trial.arguments)
    double = _floats(_call(module.double(), arguments))
    for single_map, double_map in zip(single, double, strict=True):
        require(double_map.dtype == torch.float64, f"of float64 input it makes {double_map.dtype}")
        error = (double_map - single_map).norm() / double_map.norm().clamp_min(1e-6)
        require(
            bool(error <= FLOAT32_TOLERANCE),
            f"float64 moves the output by {float(error):.0%} of its norm",
        )


def constant_input_stays_finite(subject: Subject) -> None:
    """An input that is the same everywhere, 0 or 1, gives finite output and finite gradients.

    Mend: add a small number to what you divide by or take the root of: an image without any
    contrast has a standard deviation of 0.
    """
    trial = trial_of(subject)
    for value in (0.0, 1.0):
        module = trial.build().train()
        constant = map_tensors(
            lambda t: torch.full_like(t, value) if t.is_floating_point() else t,  # noqa: B023
            trial.arguments,
        )
        outputs = _floats(module(*constant))
        with_gradient = [each.square().mean() for each in outputs if each.requires_grad]
        if with_gradient:
            torch.stack(with_gradient).sum().backward()
        found = {
            "output": outputs,
            "evaluated output": _floats(_evaluated(module, trial, constant)),
        }
        found["gradient"] = [p.grad for p in module.parameters() if p.grad is not None]
        for name, tensors in found.items():
            finite = all(bool(each.isfinite().all()) for each in tensors)
            require(finite, f"an input of {value:g} everywhere gives {name} that is not finite")


MODULE_CHECKS: tuple[Check, ...] = (
    *GRADIENT_CHECKS,
    state_dict_restores_it,
    images_of_a_batch_do_not_mix,
    runs_under_bf16_autocast,
    takes_float64,
    constant_input_stays_finite,
    input_is_left_as_it_was,
    copies_are_independent,
    the_seed_decides,
    evaluation_changes_nothing,
    *BELONGINGS_CHECKS,
    exports,
    takes_channels_last,
)
# Of those that have stages: encoders and decoders.
STAGE_CHECKS: tuple[Check, ...] = (checkpointing_changes_no_number,)


@torch.no_grad()
def _call(module: nn.Module, arguments: tuple[Any, ...]) -> Any:
    return module(*arguments)


def _evaluated(module: nn.Module, trial: Trial, arguments: tuple[Any, ...] = ()) -> Any:
    return _call(module.eval(), arguments or trial.arguments)


def _floats(tree: Any) -> list[Tensor]:
    return [tensor for tensor in tensors_in(tree) if tensor.is_floating_point()]


def _equal(one: Any, other: Any) -> bool:
    pairs = zip(tensors_in(one), tensors_in(other), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def _gap(expected: Tensor, found: Tensor) -> float:
    """The largest difference, in units of the expected values' own scale (at least 1)."""
    if expected.shape != found.shape:
        return float("inf")
    if not expected.is_floating_point():
        return 0.0 if torch.equal(expected, found) else float("inf")
    scale = expected.abs().max().clamp_min(1)
    gap = ((expected - found).abs().max() / scale).item()
    return gap if gap == gap else float("inf")
