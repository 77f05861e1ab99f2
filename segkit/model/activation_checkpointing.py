"""Activation checkpointing: a stage keeps what it was given and is computed again for its gradient.

After Chen et al. 2016 (arXiv:1604.06174): about a third more time for a network's largest maps. The
numbers stay the same, batch statistics too, which a second pass would otherwise count twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from segkit.errors import UsageError
from segkit.interfaces import Checkpointable


def recomputed(
    stage: nn.Module,
    *inputs: Any,
    call: Callable[..., Any] | None = None,
    random: bool = True,
) -> Any:
    """stage(*inputs), of which only the inputs are kept for the gradient.

    call     what is called in place of the stage itself, and uses nothing that learns but the stage
    random   whether it draws numbers, such as dropout's, which the second pass has to draw again
    """
    run = call or stage
    if not torch.is_grad_enabled():
        return run(*inputs)
    settings: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": random}
    # torch.compile takes no contexts, and needs none: its graph updates each statistic once.
    if not torch.compiler.is_compiling():
        settings["context_fn"] = lambda: _contexts(stage)
    return checkpoint(run, *inputs, **settings)


def able_to_checkpoint(model: nn.Module) -> list[str]:
    """Which of encoder and decoder can compute their activations again."""
    parts = ("encoder", "decoder")
    return [part for part in parts if isinstance(getattr(model, part), Checkpointable)]


def checkpoint_activations(model: nn.Module) -> None:
    """Switches it on in encoder and decoder; raises UsageError SK-C007 where neither has it."""
    able = able_to_checkpoint(model)
    if not able:
        raise UsageError(
            "SK-C007",
            "neither this encoder nor this decoder can compute its activations again.",
            "Leave --checkpoint-activations out, or choose a decoder that can, such as unet.",
        )
    for part in able:
        getattr(model, part).set_grad_checkpointing(True)


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Whatever a backward pass does to the running statistics is undone at its end.

    For networks of other libraries, which count a batch again when they compute it again.
    """
    buffers = list(model.buffers())
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, kept in zip(buffers, before, strict=True):
                buffer.copy_(kept)


def _contexts(
    stage: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For the first pass and for the pass that computes again."""
    return nullcontext(), _statistics_still(stage)


@contextmanager
def _statistics_still(stage: nn.Module) -> Iterator[None]:
    """Normalises as before and counts no batch twice: it works on copies of the statistics."""
    borrowed: list[tuple[nn.Module, str, Tensor]] = [
        (module, name, kept)
        for module in stage.modules()
        for name, kept in module.named_buffers(recurse=False)
    ]
    for module, name, kept in borrowed:
        setattr(module, name, kept.clone())
    try:
        yield
    finally:
        for module, name, kept in borrowed:
            setattr(module, name, kept)
