"""What a training takes on this machine, found in three steps and two scored images."""

from __future__ import annotations

import itertools
import shutil
import time
from pathlib import Path

import torch

from segkit.data.loader import EvaluationLoader
from segkit.device import memory_in_use
from segkit.inference.predictor import Predictor
from segkit.training.learner import Learner
from segkit.training.progress import duration
from segkit.training.setup import Setup
from segkit.training.writer import disk_needed

# The first wakes the device and its libraries, and is not counted.
STEPS = 3
IMAGES = 2


def rehearsed(setup: Setup, wanted: Path) -> list[tuple[str, str]]:
    """Time, memory and disk that the training takes, as (subject, sentence).

    The network has learnt a little when this ends: it is not one to train on.

    wanted   the run folder that there would be
    Raises OutOfMemory where a step does not fit.
    """
    a_step = _seconds_of_step(setup)
    an_epoch = a_step * setup.loader.batches_per_epoch
    evaluation = _seconds_of_evaluation(setup) if setup.evaluates else 0.0
    evaluations = sum(setup.is_due(number) for number in range(1, setup.epochs + 1))
    whole = an_epoch * setup.epochs + evaluation * evaluations
    scored = f", {duration(evaluation)} an evaluation" if setup.evaluates else ""
    lines = [
        (
            "time",
            f"about {duration(whole)} on this machine, as busy as it is now: {a_step:.2g} s a "
            f"step, {duration(an_epoch)} an epoch{scored}",
        )
    ]
    memory = memory_in_use(setup.group.device)
    if memory is not None:
        lines.append(("memory", f"{_size(memory)} at the most so far"))
    folder = next(each for each in (wanted, *wanted.absolute().parents) if each.is_dir())
    free = shutil.disk_usage(folder).free
    needed = disk_needed(setup.model)
    lines.append(("disk", f"{_size(needed)} at the most; {_size(free)} are free in {folder}"))
    return lines


def _size(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB" if count < 2**30 else f"{count / 2**30:,.1f} GiB"


def _seconds_of_step(setup: Setup) -> float:
    learner = Learner(setup)
    learner.start_epoch(0)
    taken = []
    batches = itertools.chain.from_iterable(setup.loader.epoch(n) for n in itertools.count())
    waking = time.perf_counter()
    for number, batch in enumerate(itertools.islice(batches, STEPS)):
        # A batch that is waited for is part of its step, as in the training.
        started = waking
        float(learner.step(batch, number).loss)
        waking = time.perf_counter()
        taken.append(waking - started)
    return sum(taken[1:]) / (STEPS - 1)


def _seconds_of_evaluation(setup: Setup) -> float:
    dataset = setup.data.split("val")
    loader = EvaluationLoader(dataset, batch=1)
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
    images = len(dataset) / setup.group.world_size
    return min(taken) * images
