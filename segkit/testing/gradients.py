"""Checks that gradients reach everything they should, in every part of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segkit.testing.subject import Check, Subject, require
from segkit.testing.trials import Trial, map_tensors, tensors_in, trial_of

# A narrow layer can die of its random start, behind a ReLU; hardly six times in turn.
TRIES = 6


def every_parameter_gets_a_gradient(subject: Subject) -> None:
    """In training, every parameter has a finite gradient, and no weight's is zero throughout.

    Mend: delete what has no part in the output, or freeze it (requires_grad_(False)); look for a
    detach(), a no_grad or a multiplication by 0 on the way.
    """
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


def every_input_channel_counts(subject: Subject) -> None:
    """Every channel of every map that has a part in the output gets a gradient.

    Mend: use the whole map: build with the channels you are given, slice none of them away, and
    detach nothing. A map that is not used at all is fine.
    """
    trial = trial_of(subject)
    silent = silent_channels(trial.build, trial.arguments)
    for number, channels in enumerate(silent):
        if len(channels) == _floating(trial.arguments)[number].shape[1]:
            moved = _moves(trial, number)
            require(not moved, f"input {number} changes the output, but gets no gradient")
        else:
            require(not channels, f"channels {channels} of input {number} have no gradient")


def silent_channels(build: Callable[[], nn.Module], arguments: tuple[Any, ...]) -> list[list[int]]:
    """For each floating tensor among the arguments, the channels without gradient in any try."""
    silent: list[list[int]] = []
    for attempt in range(TRIES):
        leaves = _leaves(arguments)
        outputs = tensors_in(awakened(build()).eval()(*leaves))
        gradients = projected_gradients(outputs, _floating(leaves))
        found = [
            [c for c in range(leaf.shape[1]) if gradient is None or not gradient[:, c].any()]
            for leaf, gradient in zip(_floating(leaves), gradients, strict=True)
        ]
        silent = (
            found
            if not attempt
            else [[c for c in new if c in old] for new, old in zip(found, silent, strict=True)]
        )
        if not any(silent):
            break
    return silent


@torch.no_grad()
def awakened(module: nn.Module) -> nn.Module:
    """The module, whose parameters that are zero on purpose (a residual branch that starts silent)
    are random: they would silence their neighbours."""
    for parameter in module.parameters():
        if parameter.numel() and not parameter.any():
            parameter.normal_(std=0.1)
    return module


def projected_gradients(outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradients of a random projection of the outputs; None where a leaf has no part in it."""
    terms = [
        (each * torch.randn_like(each)).sum()
        for each in outputs
        if each.is_floating_point() and each.requires_grad
    ]
    if not terms:
        return [None] * len(leaves)
    return list(
        torch.autograd.grad(torch.stack(terms).sum(), leaves, retain_graph=True, allow_unused=True)
    )


GRADIENT_CHECKS: tuple[Check, ...] = (every_parameter_gets_a_gradient,)
# Of those that are fed with maps: decoders and upsamplers.
INPUT_CHECKS: tuple[Check, ...] = (every_input_channel_counts,)


def _leaves(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return map_tensors(
        lambda t: t.clone().requires_grad_() if t.is_floating_point() else t, arguments
    )


def _floating(arguments: tuple[Any, ...]) -> list[Tensor]:
    return [each for each in tensors_in(arguments) if each.is_floating_point()]


@torch.no_grad()
def _moves(trial: Trial, number: int) -> bool:
    """Whether the output changes with the floating input of that number."""
    module = trial.build().eval()
    chosen = _floating(trial.arguments)[number]
    changed = map_tensors(lambda t: t + 1 if t is chosen else t, trial.arguments)
    before, after = tensors_in(module(*trial.arguments)), tensors_in(module(*changed))
    return any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def _gradients(trial: Trial) -> dict[str, Any]:
    """A random projection of the output, derived by each parameter of a fresh build in training."""
    module = awakened(trial.build()).train()
    projected = [
        (tensor * torch.randn_like(tensor)).sum()
        for tensor in tensors_in(module(*trial.arguments))
        if tensor.is_floating_point()
    ]
    torch.stack(projected).sum().backward()
    return {name: p.grad for name, p in module.named_parameters() if p.requires_grad}
