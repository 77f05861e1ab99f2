"""A training as long as the time there is: `--minutes` becomes epochs, before the first step.

The speed of a step is measured once, and the length that follows from it is written into the run's
config.yaml as any other: so the run can be continued and repeated bit by bit, elsewhere too.
"""

from __future__ import annotations

import time
from dataclasses import replace

from segkit.errors import UsageError
from segkit.reporting.words import duration
from segkit.training.preparation.decisions import EVALUATIONS, SHOWN, Length
from segkit.training.preparation.setup import Setup, loader_of
from segkit.training.rehearsal.rehearsal import Costs, rehearse

# Of the time: what finding the speed may take, and what evaluations and checkpoints may.
MEASURING, LOOKING = 0.03, 0.15


def within_minutes(setup: Setup, minutes: float) -> Setup:
    """The setup with a length that ends in about so many minutes, its rehearsal included.

    Raises UsageError SK-C009 where they do not suffice for a step and an evaluation.
    """
    started = time.perf_counter()
    costs = rehearse(setup, seconds=minutes * 60 * MEASURING)
    spent = setup.group.start_maximum(round((time.perf_counter() - started) * 1e6))() / 1e6
    steps, epochs = shape(minutes * 60 - spent, costs)
    if not steps:
        least = duration(spent + costs.step + costs.evaluation + costs.checkpoint)
        raise UsageError(
            "SK-C009",
            f"--minutes {minutes:g}: a step takes {costs.step:.2g} s here, an evaluation "
            f"{duration(costs.evaluation)}, and one of each needs {least} in all.",
            "Give more minutes, a smaller --size or a smaller network.",
        )
    config = setup.config.model_copy(
        update={
            "minutes": None,
            "epochs": epochs,
            "epoch_steps": steps,
            "evaluate_every": 1,
            "samples_every": max(1, epochs // SHOWN),
        }
    )
    reason = f"to end in about {minutes:g} minutes, at {costs.step:.2g} s a step"
    return replace(
        setup,
        config=config,
        loader=loader_of(config, setup.data, setup.group),
        length=Length(epochs, reason),
    )


def shape(seconds: float, costs: Costs) -> tuple[int, int]:
    """(steps of an epoch, epochs) that take so many seconds, with an evaluation after each epoch.

    Passes over the images would be epochs too long for a short time, and too short to be logged one
    by one in a long one. Both are 0 where not even a step and an evaluation fit.
    """
    look = costs.evaluation + costs.checkpoint
    looks = min(EVALUATIONS, max(1, int(LOOKING * seconds / max(look, 1e-6))))
    steps = int((seconds - looks * look) / costs.step)
    if steps < 1:
        return 0, 0
    looks = min(looks, steps)
    return steps // looks, looks
