"""Checks that hold for every part of a network: encoders, decoders and upsamplers alike."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from segkit.interfaces import Checkpointable
from segkit.model.activation_checkpointing import statistics_kept
from segkit.testing.imports import recorded_connections
from segkit.testing.subject import Check, NotApplicable, Subject, require
from segkit.testing.trials import Trial, map_tensors, tensors_in, trial_of

# float32 sums in another order differ in the last bits; activations here are of order 1.
TOLERANCE = 1e-4
# A narrow layer can die of its random start, behind a ReLU; hardly six times in turn.
TRIES = 6
# bfloat16 keeps 8 bits: 0.4 % a rounding, and a hundred layers of them.
BF16_TOLERANCE = 0.25


def every_parameter_gets_a_gradient(subject: Subject) -> None:
    """In training, every parameter has a finite gradient, and no weight's is zero throughout."""
    trial = trial_of(subject)
    silent: set[str] | None = None
    for _ in range(TRIES):
        gradients = _gradients(trial)
        for name, gradient in gradients.items():
            require(gradient is not None, f"the parameter {name} has no part in the output")
            finite = gradient is not None and bool(gradient.isfinite().all())
            require(finite, f"the gradient of {name} is not finite")
        # A bias before batch normalisation has no gradient but rounding: zero by luck.
        zero = {name for name, grad in gradients.items() if grad.ndim > 1 and not grad.any()}
        silent = zero if silent is None else silent & zero
        if not silent:
            return
    require(False, f"the gradient of {', '.join(sorted(silent or ()))} is zero")


def state_dict_restores_it(subject: Subject) -> None:
    """A fresh build, where gradients are off as when a model is loaded to predict, takes the
    other's state dict strictly and gives the very same output."""
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
    """In evaluation, a batch of two gives what its two images give one at a time."""
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
    """Under bfloat16 autocast the output is finite and near the float32 one."""
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
    """The input holds the same numbers after a pass, in training and in evaluation."""
    trial = trial_of(subject)
    kept = map_tensors(torch.clone, trial.arguments)
    for mode in (True, False):
        _call(trial.build().train(mode), trial.arguments)
        require(_equal(kept, trial.arguments), "it writes into its input")


def copies_are_independent(subject: Subject) -> None:
    """copy.deepcopy gives the same output, also after the original has changed."""
    trial = trial_of(subject)
    module = trial.build().eval()
    before = _evaluated(module, trial)
    copied = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    require(_equal(before, _evaluated(copied, trial)), "a deep copy does not give the same output")


def the_seed_decides(subject: Subject) -> None:
    """The same seed gives the same weights and the same output, in training and in evaluation."""
    trial = trial_of(subject)
    outputs = []
    for _ in range(2):
        torch.manual_seed(7)
        module = trial.build()
        trained = _call(module.train(), trial.arguments)
        outputs.append((trained, _evaluated(module, trial)))
    require(_equal(outputs[0], outputs[1]), "two builds under one seed differ")


def evaluation_changes_nothing(subject: Subject) -> None:
    """A pass in evaluation mode leaves every tensor of the state dict, and repeats to the bit."""
    trial = trial_of(subject)
    module = trial.build().eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    first, second = _call(module, trial.arguments), _call(module, trial.arguments)
    for name, tensor in module.state_dict().items():
        require(torch.equal(before[name], tensor), f"a pass in evaluation mode changes {name}")
    require(_equal(first, second), "two passes in evaluation mode differ")


def exports(subject: Subject) -> None:
    """torch.export captures it whole, and the captured program gives the same output."""
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
    """Weights and input in channels_last memory give the output that the usual order gives."""
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
    """With set_grad_checkpointing, outputs, gradients and running statistics stay what they are."""
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


def opens_no_socket(subject: Subject) -> None:
    """Building it without pretrained weights and running it asks for no connection."""
    with recorded_connections() as asked:
        trial = trial_of(subject)
        _call(trial.build().eval(), trial.arguments)
    require(not asked, f"it asked for a connection to {', '.join(asked)}")


MODULE_CHECKS: tuple[Check, ...] = (
    every_parameter_gets_a_gradient,
    state_dict_restores_it,
    images_of_a_batch_do_not_mix,
    runs_under_bf16_autocast,
    input_is_left_as_it_was,
    copies_are_independent,
    the_seed_decides,
    evaluation_changes_nothing,
    exports,
    takes_channels_last,
    opens_no_socket,
)
# Of those that have stages: encoders and decoders.
STAGE_CHECKS: tuple[Check, ...] = (checkpointing_changes_no_number,)


def _gradients(trial: Trial) -> dict[str, Any]:
    """A random projection of the output, derived by each parameter of a fresh build in training."""
    module = trial.build().train()
    with torch.no_grad():
        for parameter in module.parameters():
            # Zero on purpose (a residual branch that starts silent) would silence its neighbours.
            if parameter.numel() and not parameter.any():
                parameter.normal_(std=0.1)
    projected = [
        (tensor * torch.randn_like(tensor)).sum()
        for tensor in tensors_in(module(*trial.arguments))
        if tensor.is_floating_point()
    ]
    torch.stack(projected).sum().backward()
    return {name: p.grad for name, p in module.named_parameters() if p.requires_grad}


@torch.no_grad()
def _call(module: nn.Module, arguments: tuple[Any, ...]) -> Any:
    return module(*arguments)


def _evaluated(module: nn.Module, trial: Trial) -> Any:
    return _call(module.eval(), trial.arguments)


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
