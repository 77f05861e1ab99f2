"""Where memory ends in a training: the error that says which step did not fit, and into what."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from segkit.config import TrainConfig
from segkit.device import device_errors, memory_for_tensors
from segkit.errors import OutOfMemory
from segkit.training.loop.learner import Learner
from segkit.training.preparation.decisions import less_memory
from segkit.training.preparation.setup import Setup


@dataclass(frozen=True)
class StepAsked:
    """A step of a training, and the memory that it had.

    images    of the batch that this process computes, over all parts of `accumulate`
    usable    bytes that tensors could have
    kind      of the device: cpu or cuda
    """

    config: TrainConfig
    classes: int
    channels: int
    images: int
    processes: int
    usable: int
    kind: str


class StepTooLarge(OutOfMemory):
    """OutOfMemory with the step that did not fit, for whoever can count what would."""

    step: StepAsked


@contextmanager
def naming_the_step(setup: Setup, learner: Learner) -> Iterator[None]:
    """Raises StepTooLarge SK-T002 where memory ends within; what the step held is free by then."""
    device, config = setup.group.device, setup.config
    step = StepAsked(
        config=config,
        classes=len(setup.data.classes),
        channels=setup.data.in_channels,
        images=setup.batch_per_process,
        processes=setup.group.world_size,
        usable=memory_for_tensors(device, _held(learner), setup.group.local_processes),
        kind=device.type,
    )
    try:
        with device_errors(device, less_memory(config)):
            yield
    except OutOfMemory as error:
        # They hold the step's tensors.
        traceback.clear_frames(error.__cause__.__traceback__ if error.__cause__ else None)
        learner.optimizer.zero_grad(set_to_none=True)
        large = StepTooLarge(error.code, error.what, error.fix)
        large.step = step
        raise large from error


def _held(learner: Learner) -> int:
    """Bytes of what the training itself holds between two steps so far."""
    tensors = [*learner.model.state_dict().values()]
    if learner.average.model is not learner.model:
        tensors += learner.average.model.state_dict().values()
    for state in learner.optimizer.state.values():
        tensors += [each for each in state.values() if isinstance(each, Tensor)]
    return sum(each.numel() * each.element_size() for each in tensors)
