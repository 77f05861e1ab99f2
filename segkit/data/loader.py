"""Batches for training and evaluation, the same whatever the number of workers and processes.

Training goes through the images pass after pass, each pass in an order that is a permutation of
(seed, pass); each sample's augmentation draws from a generator of (seed, pass, index). Batches are
cut from that one stream of samples, over the ends of passes. So every image is seen equally often,
whatever the batch, and neither workers, nor processes, nor a resume in mid-epoch change a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader

from segkit.data.augmentation.crops import cut_out, training_ignore_index
from segkit.data.augmentation.presets import Preset, find_preset
from segkit.data.batches import Batch, BatchUnderWay, collate, no_mask
from segkit.data.capabilities import sizes_of
from segkit.data.sample_order import sample_stream, start_again, steps_per_epoch
from segkit.data.stored import InParts, Stored, of_sample
from segkit.data.workers import Notes, start_worker, watched, worker_context
from segkit.errors import DataError, SegkitError, UsageError
from segkit.interfaces import Dataset, Sample
from segkit.model.label_range import labels_out_of_range

Found = TypeVar("Found")
OUT_OF_RANGE = "SK-D012"


class TrainingLoader:
    """Augmented crops, in an order that depends on seed and epoch alone.

    size          side of the square crops, pixels
    batch         images a step over all processes: a multiple of world_size
    augmentation  a preset: none, light, standard, strong or microscopy; or one of one's own,
                  which says itself where its crops are cut
    crops         where they are cut: anywhere, or more often at the foreground, or at each of an
                  image's classes equally often
    ignore_index  the data set's ignored label; None: it has none, and `self.ignore_index` is the
                  one that marks what lies beyond a picture (see training_ignore_index)
    workers       processes that decode and augment; 0: this one
    rank          which of the world_size equal parts of each batch is given
    steps         batches of an epoch; None: as many as hold every image once

    A batch is always full. Where an epoch's images do not fill the last one, it is filled with the
    first of the next pass, where the next epoch goes on. So at any step no image has been seen more
    than once more often than another.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        size: int,
        batch: int,
        seed: int,
        augmentation: str | Preset = "standard",
        crops: str = "anywhere",
        ignore_index: int | None = None,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        steps: int | None = None,
    ) -> None:
        if batch < 1 or batch % world_size:
            raise UsageError(
                "SK-C009",
                f"a batch of {batch} cannot be shared equally by {world_size} processes.",
                f"Choose a multiple of {world_size}.",
            )
        if not len(dataset):
            raise DataError("SK-D010", "the training split is empty.", "Add images to it.")
        self.dataset, self.batch, self.seed = dataset, batch, seed
        self.rank, self.world_size, self.steps = rank, world_size, steps
        own = training_ignore_index(dataset)
        self.ignore_index = own if ignore_index is None else ignore_index
        if isinstance(augmentation, str):
            augmentation = find_preset(augmentation, crops)
        self._notes = Notes(workers)
        items = _TrainingItems(dataset, size, augmentation, self.ignore_index, seed, self._notes)
        self._plan = _Plan()
        self._loader = _torch_loader(items, self._plan, workers, seed, _whole)

    @property
    def batches_per_epoch(self) -> int:
        return self.steps or steps_per_epoch(len(self.dataset), self.batch)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from the one numbered `start` on."""
        steps, share = self.batches_per_epoch, self.batch // self.world_size
        first = (number * steps + start) * self.batch
        left = max(0, steps - start)  # of a resumed run's data, images may have been taken away
        stream = sample_stream(len(self.dataset), self.seed, first, left * self.batch)
        self._plan.steps = [
            stream[place : place + share]
            for place in range(self.rank * share, len(stream), self.batch)
        ]
        for batch in watched(self._loader, self._notes, partial(name_of, self.dataset)):
            yield _no_error(batch)


class EvaluationLoader:
    """Whole images at their own size, each once over all processes, never padded or resized.

    batch     most images at once, in this process; those of one batch share one size
    workers   processes that decode; 0: this one

    Images come sorted by size where the data set knows its `sizes`, else in their own order.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch: int,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.dataset, self.batch = dataset, max(1, batch)
        order = list(range(len(dataset)))
        sizes = sizes_of(dataset)
        if sizes is not None:
            order.sort(key=lambda index: (sizes[index], index))
        self.indices = order[rank::world_size]
        self._plan = _Plan([[index] for index in self.indices])
        self._notes = Notes(workers)
        items = _EvaluationItems(dataset, self._notes)
        self._loader = _torch_loader(items, self._plan, workers, 0, _only)

    def __iter__(self) -> Iterator[Batch]:
        waiting: list[Sample] = []
        for found in watched(self._loader, self._notes, partial(name_of, self.dataset)):
            sample = _no_error(found)
            full = len(waiting) == self.batch
            if waiting and (full or waiting[0].image.shape != sample.image.shape):
                yield collate(waiting)
                waiting = []
            waiting.append(sample)
        if waiting:
            yield collate(waiting)


class _Plan:
    """The batches still to come, as lists of item keys: what torch calls a batch sampler."""

    def __init__(self, steps: list[list[Any]] | None = None) -> None:
        self.steps: list[list[Any]] = steps or []

    def __iter__(self) -> Iterator[list[Any]]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)


class _TrainingItems(torch.utils.data.Dataset[Batch | SegkitError]):
    """Batches of augmented samples, each by (pass, index).

    A faulty sample's error is returned, not raised: torch would replace one from a worker.
    """

    def __init__(
        self,
        dataset: Dataset,
        size: int,
        preset: Preset,
        ignore_index: int,
        seed: int,
        notes: Notes,
    ) -> None:
        self.dataset, self.size, self.preset, self.notes = dataset, size, preset, notes
        self.ignore_index, self.seed = ignore_index, seed
        self.rng = np.random.Generator(np.random.PCG64(0))
        in_8_bits = len(dataset.classes) < 256 and 0 <= ignore_index < 256
        self.label_type = np.uint8 if in_8_bits else np.int64

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Batch | SegkitError:
        """What torch's loader asks for where a batch can be had at once."""
        try:
            batch = BatchUnderWay(len(keys), self.label_type)
            for key in keys:
                batch.add(self._crop(key, batch.room))
            return batch.complete()
        except SegkitError as error:
            return error
        finally:
            self.notes.done()

    def _crop(self, key: tuple[int, int], into_HWC: np.ndarray | None) -> Sample:
        number, index = key
        self.notes.reading(index)
        start_again(self.rng, self.seed, number, index)
        whole = stored(self.dataset, index)
        try:
            return cut_out(whole, self.size, self.preset, self.ignore_index, self.rng, into_HWC)
        except DataError as error:
            if error.code == OUT_OF_RANGE:
                # Seen whole, it is named by its pixel in the file, not in the part cut out.
                checked(self.dataset[index], self.dataset)
            raise


class _EvaluationItems(torch.utils.data.Dataset[Sample | SegkitError]):
    """Samples by index, as stored, or their errors."""

    def __init__(self, dataset: Dataset, notes: Notes) -> None:
        self.dataset, self.notes = dataset, notes

    def __getitem__(self, index: int) -> Sample | SegkitError:
        self.notes.reading(index)
        try:
            return checked(self.dataset[index], self.dataset)
        except SegkitError as error:
            return error
        finally:
            self.notes.done()


def name_of(dataset: Dataset, index: int) -> str:
    """What to call a sample that may not be readable."""
    return dataset.name(index) if isinstance(dataset, InParts) else f"sample number {index + 1}"


def stored(dataset: Dataset, index: int) -> Stored:
    """A sample to cut a part out of; data sets of ours read no more than that part."""
    if isinstance(dataset, InParts):
        return dataset.stored(index)
    return of_sample(checked(dataset[index], dataset))


def checked(sample: Sample, dataset: Dataset) -> Sample:
    """The sample, where its labels are classes or ignored; raises DataError SK-D012 or SK-D017.

    On the CPU, before the loss: on a GPU such a label ends the process (device-side assert).
    """
    if sample.mask is None:
        raise no_mask(sample)
    classes = len(dataset.classes)
    wrong_HW = (sample.mask < 0) | (sample.mask >= classes)
    if dataset.ignore_index is not None:
        wrong_HW &= sample.mask != dataset.ignore_index
    if wrong_HW.any():
        labels = sample.mask[wrong_HW].tolist()
        raise labels_out_of_range(
            len(labels),
            classes,
            dataset.ignore_index,
            labels=labels,
            where=sample.id,
            pixel=np.argwhere(wrong_HW)[0],
        )
    return sample


def _torch_loader(
    items: torch.utils.data.Dataset[Any], plan: _Plan, workers: int, seed: int, gather: Any
) -> DataLoader[Any]:
    return DataLoader(
        items,
        batch_sampler=plan,
        num_workers=workers,
        collate_fn=gather,
        generator=torch.Generator().manual_seed(seed),
        worker_init_fn=start_worker if workers else None,
        persistent_workers=workers > 0,
        multiprocessing_context=worker_context(__name__) if workers else None,
        pin_memory=gather is _whole and torch.cuda.is_available(),
    )


def _only(samples: Sequence[Sample | SegkitError]) -> Sample | SegkitError:
    return samples[0]


def _whole(batch: Batch | SegkitError) -> Batch | SegkitError:
    return batch


def _no_error(found: Found | SegkitError) -> Found:
    if isinstance(found, SegkitError):
        raise found
    return found
