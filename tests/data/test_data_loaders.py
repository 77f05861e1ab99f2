"""Batches: the same whatever the workers, processes or resume; evaluation gives each image once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.data.loader import EvaluationLoader, TrainingLoader
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.data.sample_order import sample_stream, start_again, steps_per_epoch
from segkit.errors import DataError, UsageError
from segkit.interfaces import Sample


class Numbered:
    """Sample i is an image full of i, of the size given; a data set as a plugin would write one."""

    classes = ("a", "b", "c")
    palette = ((0, 0, 0), (9, 9, 9), (99, 99, 99))
    ignore_index: int | None = None

    def __init__(
        self, sizes: list[tuple[int, int]], dtype: type = np.uint8, label: int = 1
    ) -> None:
        self.sizes, self.dtype, self.label = sizes, dtype, label

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Sample:
        size = self.sizes[index]
        image_HWC = np.full((*size, 3), index, self.dtype)
        mask_HW = np.full(size, self.label, np.int64)
        return Sample(image_HWC, mask_HW, f"s{index}", np.full(size, index + 300, np.int64))


def training(dataset: object, **options: object) -> TrainingLoader:
    settings = {"size": 16, "batch": 4, "seed": 7, "augmentation": "strong"} | options
    return TrainingLoader(dataset, **settings)


def same(ours: list, theirs: list) -> bool:
    return len(ours) == len(theirs) and all(
        a.ids == b.ids
        and torch.equal(a.image_BCHW, b.image_BCHW)
        and torch.equal(a.target_BHW, b.target_BHW)
        for a, b in zip(ours, theirs, strict=True)
    )


def test_a_batch_has_the_types_and_shapes_promised():
    batch = next(training(Numbered([(20, 30)] * 8)).epoch(0))
    assert (batch.image_BCHW.shape, batch.image_BCHW.dtype) == ((4, 3, 16, 16), torch.uint8)
    assert (batch.target_BHW.shape, batch.target_BHW.dtype) == ((4, 16, 16), torch.uint8)
    assert (batch.instances_BHW.shape, batch.instances_BHW.dtype) == ((4, 16, 16), torch.int64)
    assert len(batch) == 4
    assert batch.image_BCHW.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("stored", "given"), [(np.uint16, torch.int32), (np.float32, torch.float32)]
)
def test_deep_images_become_tensors_without_loss(stored, given):
    dataset = Numbered([(20, 30)] * 3, stored)
    batch = next(iter(EvaluationLoader(dataset, batch=3)))
    assert batch.image_BCHW.dtype == given
    assert batch.image_BCHW[2].unique().tolist() == [2]


def test_workers_change_nothing():
    dataset = Numbered([(24, 24)] * 13)
    alone, shared = training(dataset), training(dataset, workers=2)
    for epoch in (0, 1):
        assert same(list(alone.epoch(epoch)), list(shared.epoch(epoch)))
    assert same(list(alone.epoch(1, start=2)), list(shared.epoch(1, start=2)))


def test_an_epoch_left_early_leaves_nothing_in_the_next():
    dataset = Numbered([(24, 24)] * 40)
    alone, shared = training(dataset), training(dataset, workers=2)
    next(shared.epoch(0))
    assert same(list(shared.epoch(1)), list(alone.epoch(1)))


def test_a_resume_in_mid_epoch_gives_the_rest_of_it():
    loader = training(Numbered([(24, 24)] * 13))
    whole = list(loader.epoch(5))
    assert same(list(training(loader.dataset).epoch(5, start=1)), whole[1:])


def test_epochs_and_seeds_differ():
    dataset = Numbered([(24, 24)] * 13)
    first = list(training(dataset).epoch(0))
    assert not same(first, list(training(dataset).epoch(1)))
    assert not same(first, list(training(dataset, seed=8).epoch(0)))


def test_ranks_share_each_global_batch_and_together_give_it():
    dataset = Numbered([(24, 24)] * 13)
    whole = list(training(dataset).epoch(2))
    ranks = [list(training(dataset, rank=r, world_size=2).epoch(2)) for r in range(2)]
    for batch, first, second in zip(whole, *ranks, strict=True):
        assert batch.ids == first.ids + second.ids
        assert torch.equal(batch.image_BCHW, torch.cat([first.image_BCHW, second.image_BCHW]))


def test_a_batch_that_ranks_cannot_share_is_refused():
    with pytest.raises(UsageError, match="a batch of 4 cannot be shared equally by 3 processes"):
        training(Numbered([(24, 24)] * 13), rank=0, world_size=3)


def test_every_sample_of_every_epoch_has_draws_of_its_own():
    rng = np.random.Generator(np.random.PCG64(0))

    def draws(*key: int) -> list[float]:
        start_again(rng, *key)
        return rng.random(64).tolist()

    keys = [(s, e, i, a) for s in (0, 1) for e in (0, 1) for i in range(60) for a in (0, 1)]
    first = {key: draws(*key) for key in keys}
    assert {key: draws(*key) for key in reversed(keys)} == first
    assert draws(12, 3, 0, 0) != draws(1, 23, 0, 0)
    table = np.array(list(first.values()))
    assert len(np.unique(table)) == table.size
    # Of 480 streams nothing repeats, and no place in them knows of its neighbours.
    assert abs(table.mean() - 0.5) < 4 / np.sqrt(12 * table.size)
    between = np.corrcoef(table)[np.triu_indices(len(keys), 1)]
    assert abs(between.mean()) < 0.002 and np.abs(between).max() < 0.6


def test_a_strangers_attribute_of_our_method_s_name_is_left_alone():
    dataset = Numbered([(24, 24)] * 4)
    dataset.stored = "on a disk of mine"
    assert len(next(training(dataset).epoch(0))) == 4


def test_every_image_is_seen_equally_often_whatever_the_batch_and_the_size_of_the_set():
    rng = np.random.default_rng(0)
    for count, batch in [(15, 8), (1, 8), (8, 8), (9, 8), *rng.integers(1, 40, (60, 2)).tolist()]:
        steps = steps_per_epoch(count, batch)
        places = [
            place
            for epoch in range(5)
            for place in sample_stream(count, 0, epoch * steps * batch, steps * batch)
        ]
        for step in range(0, len(places), batch):
            seen = Counter(index for _, index in places[: step + batch])
            assert max(seen.values()) - min(seen.get(i, 0) for i in range(count)) <= 1
        assert set(range(count)) == {index for _, index in places[: steps * batch]}
        assert len(set(places)) == len(places), "each place has draws of its own"


def test_the_samples_come_in_one_order_whatever_the_batch():
    ids = []
    for batch in (2, 4, 8):
        loader = training(Numbered([(24, 24)] * 13), batch=batch)
        batches = [each for epoch in range(4) for each in loader.epoch(epoch)]
        ids.append([name for each in batches for name in each.ids])
    assert all(one[:52] == ids[0][:52] for one in ids)
    assert ids[0][:13] != ids[0][13:26]


def test_fewer_images_than_a_batch_go_round_augmented_anew():
    loader = training(Numbered([(24, 24)] * 3), batch=8)
    (batch,) = loader.epoch(0)
    assert loader.batches_per_epoch == 1
    assert sorted(Counter(batch.ids).values()) == [2, 3, 3]
    data = open_data(None)
    (again,) = training(FirstOf(data.split("train"), 2), batch=4, size=64).epoch(0)
    twins = [i for i, name in enumerate(again.ids) if name == again.ids[0]]
    assert not torch.equal(again.image_BCHW[twins[0]], again.image_BCHW[twins[1]])


class FirstOf:
    """The first samples of a data set."""

    def __init__(self, dataset: object, count: int) -> None:
        self.dataset, self.count = dataset, count
        self.classes, self.palette = dataset.classes, dataset.palette
        self.ignore_index = dataset.ignore_index

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[index]


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_gives_every_image_once_at_its_own_size(workers):
    sizes = [(20, 30), (16, 16), (20, 30), (16, 16), (16, 16), (31, 17)]
    batches = list(EvaluationLoader(Numbered(sizes), batch=2, workers=workers))
    assert sorted(name for batch in batches for name in batch.ids) == [f"s{i}" for i in range(6)]
    for batch in batches:
        for name in batch.ids:
            assert tuple(batch.image_BCHW.shape[2:]) == sizes[int(name[1:])]
    assert sorted(len(batch) for batch in batches) == [1, 1, 2, 2]


def test_ranks_evaluate_every_image_exactly_once():
    dataset = Numbered([(16, 16)] * 7)
    names = [
        name
        for rank in range(3)
        for batch in EvaluationLoader(dataset, batch=2, rank=rank, world_size=3)
        for name in batch.ids
    ]
    assert sorted(names) == [f"s{i}" for i in range(7)]


def test_evaluation_can_be_repeated():
    loader = EvaluationLoader(Numbered([(16, 16)] * 3), batch=2)
    assert same(list(loader), list(loader))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_label_beyond_the_classes_is_an_error_of_ours_even_from_a_worker(workers):
    dataset = Numbered([(16, 16)] * 4, label=3)
    for loader in (
        training(dataset, workers=workers).epoch(0),
        EvaluationLoader(dataset, batch=2, workers=workers),
    ):
        with pytest.raises(
            DataError, match=r"SK-D012: s\d: 256 pixels hold label 3, which is none of"
        ):
            list(loader)


@pytest.mark.parametrize("augmentation", ["none", "strong"])
def test_a_mask_that_was_changed_is_told_by_its_pixel_in_the_file(tmp_path, augmentation):
    generator = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    mask_HW = np.zeros((40, 50), np.uint8)
    mask_HW[10:20, 10:20] = 1
    for name in ("a.png", "b.png"):
        picture_HWC = generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(picture_HWC).save(tmp_path / "images" / name)
        Image.fromarray(mask_HW).save(tmp_path / "masks" / name)
    data = open_data(tmp_path, DataOptions(cache="off"))
    mask_HW[30:, 40:] = 9
    Image.fromarray(mask_HW).save(tmp_path / "masks" / "a.png")
    loader = training(data.split("all"), size=24, batch=2, augmentation=augmentation)
    with pytest.raises(DataError) as caught:
        for epoch in range(50):
            list(loader.epoch(epoch))
    assert caught.value.what.startswith(f"{tmp_path / 'masks' / 'a.png'} holds the value 9, which")
    assert caught.value.what.endswith("in row 30, column 40 (from 0).")


def test_padding_is_ignored_even_where_the_data_have_no_such_label():
    loader = training(Numbered([(10, 10)] * 4), augmentation="none")
    assert loader.ignore_index == 255
    batch = next(loader.epoch(0))
    assert (batch.target_BHW == 255).sum(dim=(1, 2)).tolist() == [16 * 16 - 100] * 4
    assert (batch.image_BCHW.flatten(1).float().std(dim=1) == 0).all(), "images are reflected"


def test_many_classes_leave_255_to_a_class():
    dataset = Numbered([(10, 10)] * 4)
    dataset.classes = tuple(str(i) for i in range(300))
    loader = training(dataset, augmentation="none")
    assert loader.ignore_index == -100
    assert (next(loader.epoch(0)).target_BHW == -100).any()


def test_a_sample_without_a_mask_is_named():
    dataset = FirstOf(Numbered([(16, 16)] * 2), 2)
    dataset.__class__ = type(
        "NoMasks",
        (FirstOf,),
        {"__getitem__": lambda self, i: Sample(self.dataset[i].image, None, f"s{i}")},
    )
    with pytest.raises(DataError, match=r"SK-D017: s0 has no mask"):
        list(EvaluationLoader(dataset, batch=1))


@pytest.mark.parametrize(("classes", "ignore"), [(300, None), (3, -100), (300, 0)])
def test_labels_that_8_bits_do_not_hold_come_in_64(classes, ignore):
    dataset = Numbered([(24, 24)] * 4, label=2)
    dataset.classes, dataset.ignore_index = tuple(map(str, range(classes))), ignore
    batch = next(training(dataset).epoch(0))
    assert batch.target_BHW.dtype == torch.int64
    assert set(batch.target_BHW.unique().tolist()) <= {2, ignore, -100}


def test_images_of_two_depths_in_one_batch_are_told():
    class Mixed(Numbered):
        def __getitem__(self, index: int) -> Sample:
            sample = super().__getitem__(index)
            return sample if index else replace(sample, image=sample.image.astype(np.float32))

    with pytest.raises(DataError, match=r"SK-D011: s[0-3] is (float32|uint8)"):
        next(training(Mixed([(24, 24)] * 4)).epoch(0))
