"""The largest batch that fits, found by real steps before a training begins: `--batch auto`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import torch

from segkit.config import TrainConfig
from segkit.data.batches import Batch
from segkit.data.loader import EvaluationLoader
from segkit.device import (
    forget_peak,
    memory_in_use,
    memory_to_be_had,
    ran_out_of_memory,
)
from segkit.distributed import Group
from segkit.errors import OutOfMemory
from segkit.inference.predictor import Predictor
from segkit.training.loop.learner import Learner
from segkit.training.monitoring.events import Silence
from segkit.training.preparation.setup import Setup, set_up

# The rest is for what a step in small does not show: reading ahead, fragments, other programs.
SHARE = 0.85
GIB = 2**30


def with_largest_batch(
    config: TrainConfig, group: Group
) -> tuple[TrainConfig, list[tuple[str, str]]]:
    """The settings with the batch that fits in place of "auto", and (subject, sentence) about it.

    Steps are doubled until one does not fit, then the gap is halved; each process tries alone, and
    the smallest answer counts. Raises OutOfMemory SK-T002 where not even the smallest fits.
    """
    unit = group.world_size * config.accumulate
    setup = set_up(config.model_copy(update={"batch": 2 * unit}), group, Silence())
    images = max(len(setup.data.split("train")) // unit, 2)
    trial = _Trial(setup)
    found = largest(trial.fits, images)
    if not found:
        raise OutOfMemory(
            "SK-T002",
            f"not even a batch of {2 * unit} crops of {setup.config.size} x {setup.config.size} "
            f"pixels (height x width) fits {trial.limit / GIB:.2f} GiB of memory.",
            "Use a smaller --size, --checkpoint-activations, or a smaller network.",
        )
    why = "all images" if found == images else "the largest that fits"
    tried = ", ".join(str(each * unit) for each in trial.peaks)
    sentence = (
        f"{found * unit}, {why}: {trial.peaks[found] / GIB:.2f} GiB of {trial.limit / GIB:.2f} in "
        f"a step (tried {tried}); the learning rate stays {config.lr:g}"
    )
    return config.model_copy(update={"batch": found * unit}), [("batch", sentence)]


class _Trial:
    """Steps of a training on copies, each with as much memory as it takes.

    peaks   by images of a part of a step in this process: the most bytes that were in use
    limit   bytes that may be
    """

    def __init__(self, setup: Setup) -> None:
        self.group, self.device = setup.group, setup.group.device
        alone = Group(0, 1, 1, self.device)
        self.setup = replace(
            setup, group=alone, model=copy.deepcopy(setup.model), loss=copy.deepcopy(setup.loss)
        )
        self.learner = Learner(self.setup)
        self.learner.start_epoch(0)
        self.batch = next(iter(setup.loader.epoch(0)))
        self.limit = int(SHARE * memory_to_be_had(self.device, self.group.local_processes))
        self.peaks: dict[int, int] = {}

    def fits(self, images: int) -> bool:
        """Whether a step with so many images a part fits in every process."""
        here = self._foreseen(images) <= self.limit and self._tried(images) <= self.limit
        return self.group.start_maximum(int(not here))() == 0

    def _foreseen(self, images: int) -> int:
        """On a CPU too large a step would not fail but have the system kill processes."""
        counts = sorted(self.peaks)[-2:]
        if self.device.type == "cuda" or len(counts) < 2:
            return 0
        fewer, more = (self.peaks[each] for each in counts)
        return more + (more - fewer) * (images - counts[1]) // (counts[1] - counts[0])

    def _tried(self, images: int) -> int:
        forget_peak(self.device)
        try:
            step = _repeated(self.batch, images * self.setup.config.accumulate)
            float(self.learner.step(step, 0).loss)
            if self.setup.evaluates:
                self._score(images * self.setup.config.accumulate)
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
            return self.limit + 1
        finally:
            self.learner.optimizer.zero_grad(set_to_none=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        self.peaks[images] = memory_in_use(self.device) or 0
        return self.peaks[images]

    def _score(self, images: int) -> None:
        """As an evaluation does, with as many images at once, of the first one's size."""
        config, data = self.setup.config, self.setup.data
        batch = next(iter(EvaluationLoader(data.split("val"), batch=1)))
        predictor = Predictor(
            self.learner.average.model,
            self.device,
            config.precision,
            channels_last=config.channels_last,
        )
        predictor.labels(_repeated(batch, images).image_BCHW, data.full_scale)


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number from 2 to `most` that fits, to a sixteenth of it; 0 where 2 does not."""
    good, number = 0, min(2, most)
    while fits(number):
        good, number = number, min(2 * number, most)
        if good == most:
            return good
    bad = number
    while good and bad - good > max(1, good // 16):
        middle = (good + bad) // 2
        if fits(middle):
            good = middle
        else:
            bad = middle
    return good


def _repeated(batch: Batch, count: int) -> Batch:
    """A batch of so many images, those of another over and over."""
    places = torch.arange(count) % len(batch)
    objects = batch.instances_BHW
    return Batch(
        batch.image_BCHW[places],
        batch.target_BHW[places],
        None if objects is None else objects[places],
        tuple(batch.ids[each] for each in places.tolist()),
    )
