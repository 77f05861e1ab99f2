"""What a training takes on this machine, found by a few steps, two scored images and a save."""

from __future__ import annotations

import copy
import itertools
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from segkit.data.loader import EvaluationLoader
from segkit.device import memory_in_use
from segkit.inference.predictor import Predictor
from segkit.reporting.words import duration
from segkit.training.checkpoint.checkpoints import Checkpoint, CheckpointFolder
from segkit.training.checkpoint.state import seed_everything
from segkit.training.loop.learner import Learner
from segkit.training.preparation.setup import Setup, loader_of
from segkit.training.run.writer import disk_needed

# The first wakes the device and its libraries, and is not counted.
FEWEST_STEPS = 3
IMAGES = 2
# What a picture takes, of what an evaluated image does: it is drawn and written besides.
PICTURE = 2.0


@dataclass(frozen=True)
class Costs:
    """Seconds on this machine, as busy as it is.

    step         with its batch's reading
    evaluation   of all validation images; 0 where there are none
    checkpoint   written
    pictures     of some validation images
    """

    step: float
    evaluation: float
    checkpoint: float
    pictures: float = 0.0


def rehearse(setup: Setup, seconds: float = 0.0) -> Costs:
    """Takes steps on copies for `seconds`, three at the least; the setup stays as it was.

    Raises OutOfMemory where a step does not fit.
    """
    apart = replace(
        setup,
        model=copy.deepcopy(setup.model),
        loss=copy.deepcopy(setup.loss),
        loader=loader_of(setup.config, setup.data, setup.group),
    )
    learner = Learner(apart)
    # The first epoch computes what later ones would be quicker by.
    learner.cached = None
    step = _slowest(apart, _seconds_of_step(apart, learner, seconds))
    an_image = _slowest(apart, _seconds_of_an_image(apart) if setup.evaluates else 0.0)
    evaluation = an_image * len(setup.data.split("val")) / setup.group.world_size if an_image else 0
    checkpoint = _slowest(apart, _seconds_of_checkpoint(learner))
    # The training begins with the random numbers that it would have had.
    seed_everything(setup.config.seed + setup.group.rank)
    return Costs(step, evaluation, checkpoint, PICTURE * an_image * setup.config.samples)


def rehearsed(setup: Setup, wanted: Path, given: float = 0.0) -> list[tuple[str, str]]:
    """Time, memory and disk that the training takes, as (subject, sentence).

    wanted   the run folder that there would be
    given    seconds in which it ends whatever a step takes; 0: as long as its steps take
    Raises OutOfMemory where a step does not fit.
    """
    costs = rehearse(setup)
    an_epoch = costs.step * setup.loader.batches_per_epoch
    evaluations = sum(setup.is_due(number) for number in range(1, setup.epochs + 1))
    whole = an_epoch * setup.epochs + (costs.evaluation + costs.checkpoint) * evaluations
    scored = f", {duration(costs.evaluation)} an evaluation" if setup.evaluates else ""
    took = f"{costs.step:.2g} s a step, {duration(an_epoch)} an epoch{scored}"
    told = f"about {duration(whole)} on this machine, as busy as it is now: {took}"
    if given:
        told = f"{duration(given)} as given, with more or fewer epochs as a step takes: {took} now"
    lines = [("time", told)]
    memory = memory_in_use(setup.group.device)
    if memory is not None:
        lines.append(("memory", f"{_size(memory)} at the most so far"))
    folder = next(each for each in (wanted, *wanted.absolute().parents) if each.is_dir())
    free = shutil.disk_usage(folder).free
    needed = disk_needed(setup)
    lines.append(("disk", f"{_size(needed)} at the most; {_size(free)} are free in {folder}"))
    return lines


def _size(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB" if count < 2**30 else f"{count / 2**30:,.1f} GiB"


def _slowest(setup: Setup, seconds: float) -> float:
    """The longest that any of the processes took, the same in all of them."""
    return setup.group.start_maximum(round(seconds * 1e6))() / 1e6


def _seconds_of_step(setup: Setup, learner: Learner, seconds: float) -> float:
    learner.start_epoch(0)
    batches = itertools.chain.from_iterable(setup.loader.epoch(n) for n in itertools.count())
    taken: list[float] = []
    ended = time.perf_counter()
    # As many in every process, since they take each step together.
    steps = FEWEST_STEPS
    for number, batch in enumerate(batches):
        # A batch that is waited for is part of its step, as in the training.
        began = ended
        float(learner.step(batch, number).loss)
        ended = time.perf_counter()
        taken.append(ended - began)
        if len(taken) == FEWEST_STEPS:
            steps += int(seconds / max(_slowest(setup, min(taken[1:])), 1e-3))
        if len(taken) >= steps:
            break
    return sum(taken[1:]) / (len(taken) - 1)


def _seconds_of_an_image(setup: Setup) -> float:
    loader = EvaluationLoader(setup.data.split("val"), batch=1)
    predictor = Predictor(
        setup.model,
        setup.group.device,
        setup.config.precision,
        channels_last=setup.config.channels_last,
    )
    taken = []
    for batch in itertools.islice(loader, IMAGES):
        started = time.perf_counter()
        labels_BHW = predictor.labels(batch.image_BCHW, setup.data.full_scale)
        if labels_BHW.device.type == "cuda":
            torch.cuda.synchronize(labels_BHW.device)
        taken.append(time.perf_counter() - started)
    return min(taken)


def _seconds_of_checkpoint(learner: Learner) -> float:
    tensors = learner.checkpoint_tensors()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="segkit-rehearsal-") as folder:
        CheckpointFolder(Path(folder)).save(0, Checkpoint(tensors, {}))
    return time.perf_counter() - started
