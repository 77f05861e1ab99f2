"""A training as long as the time there is: `--minutes` becomes epochs, before the first step.

The speed of a step is measured, and the length that follows from it is written into the run's
config.yaml as any other; so is every change of it under way (see Deadline). So the run can be
continued and repeated bit by bit, elsewhere too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from segkit.errors import UsageError
from segkit.recipes.rules import BY_SPEED
from segkit.reporting.words import duration
from segkit.training.preparation.decisions import SHOWN, Length
from segkit.training.preparation.setup import Setup, changed, loader_of
from segkit.training.rehearsal.deadline import Deadline
from segkit.training.rehearsal.rehearsal import Costs, rehearse
from segkit.training.rehearsal.speed import MeasuredSpeed

# Of the time: what finding the speed may take, and what evaluations and checkpoints may.
MEASURING, LOOKING = 0.02, 0.08
EVALUATIONS = 20
# Epochs are short, since at their ends alone the length can still be changed.
EPOCHS = 60
# Pictures, and more than one evaluation, in runs of so many seconds alone. In a short one the
# weights are good once the learning rate has run out, and not before: on four validation images
# one of dsb2018 had its best score after a ninth of the way: an IoU of 0.385 on test images, and
# of 0.832 at the end.
LONG = 1800.0


def within_minutes(setup: Setup, deadline: Deadline) -> Setup:
    """The setup with a length, and where a recipe decides them with crops, that end in time.

    Raises UsageError SK-C009 where that does not suffice for a step and an evaluation.
    """
    seconds = deadline.seconds
    setup = _as_fast_as_needed(setup, deadline.left(setup.group))
    costs = rehearse(setup, seconds=seconds * MEASURING)
    deadline.ending += costs.pictures
    deadline.looked = costs.evaluation + costs.checkpoint
    left = deadline.left(setup.group)
    length = shape(left, costs)
    if not length.steps:
        least = duration(seconds - left + costs.step + costs.evaluation + costs.checkpoint)
        start = duration(max(seconds - left, 0.0))
        raise UsageError(
            "SK-C009",
            f"{deadline.told}: a step takes {costs.step:.2g} s here and an evaluation "
            f"{duration(costs.evaluation)}, after {start} for the start: "
            f"with one of each {least} in all.",
            "Give more minutes, a smaller --size or a smaller network.",
        )
    epochs = length.epochs
    config = setup.config.model_copy(
        update={
            "minutes": None,
            "epochs": epochs,
            "epoch_steps": length.steps,
            "evaluate_every": length.every,
            "samples_every": max(1, epochs // SHOWN) if seconds >= LONG else length.every,
        }
    )
    reason = f"to end in {seconds / 60:.3g} min, at {costs.step:.2g} s a step"
    return replace(
        setup,
        config=config,
        loader=loader_of(config, setup.data, setup.group),
        length=Length(epochs, reason),
    )


def _as_fast_as_needed(setup: Setup, seconds: float) -> Setup:
    """The setup with the crops, and what goes with them, that the recipe finds the time for."""
    if setup.recipe is None or setup.recipe.given >= BY_SPEED:
        return setup
    speed = MeasuredSpeed(setup, (1 - LOOKING) * seconds)
    changes, decisions = setup.recipe.decide(speed=speed)
    if not speed.measured:
        return setup
    return replace(changed(setup, changes), decisions=decisions)


@dataclass(frozen=True)
class Shape:
    """Steps of an epoch, epochs, and every how many of them is evaluated; 0 where none fits.

    The last one always is, and alone where `every` is more than there are: twice as many, lest a
    plan that grows on the way is evaluated where it was to end as well.
    """

    steps: int
    epochs: int
    every: int


def shape(seconds: float, costs: Costs) -> Shape:
    """What takes so many seconds, with an evaluation and a checkpoint after every some epochs.

    Passes over the images would be epochs too long for a short time, and too short to be logged one
    by one in a long one.
    """
    look = costs.evaluation + costs.checkpoint
    most = EVALUATIONS if seconds >= LONG else 1
    looks = min(most, max(1, int(LOOKING * seconds / max(look, 1e-6))))
    steps = int((seconds - looks * look) / costs.step)
    if steps < 1:
        return Shape(0, 0, 0)
    an_epoch = max(1, steps // EPOCHS)
    epochs = steps // an_epoch
    return Shape(an_epoch, epochs, -(-epochs // looks) if looks > 1 else 2 * epochs)
