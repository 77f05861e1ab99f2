"""The confusion matrix equals scikit-learn's and a plain count, and keeps its laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from segkit.errors import DataError
from segkit.scoring.confusion import CPU_CHUNK, ConfusionMatrix

DTYPES = (torch.uint8, torch.int16, torch.int32, torch.int64)


def generated(seed: int) -> tuple[int, int | None, torch.Tensor, torch.Tensor]:
    """Classes, ignored label, prediction and truth of a case: sizes, types and labels vary."""
    generator = np.random.default_rng(seed)
    classes = int(generator.choice([1, 2, 3, 11, 21, 150]))
    ignore_index = [None, 255, -1, 0][seed % 4]
    shape = tuple(generator.integers(1, (4, 30, 30)))
    label_BHW = generator.integers(0, classes, shape)
    # Few classes appear in some cases, all pixels are ignored in others.
    target_BHW = generator.integers(0, generator.integers(1, classes + 1), shape)
    if ignore_index is not None:
        target_BHW[generator.random(shape) < generator.choice([0, 0.2, 1])] = ignore_index
    label_type = DTYPES[seed % len(DTYPES)]
    target_type = torch.int64 if ignore_index == -1 else DTYPES[seed // 4 % len(DTYPES)]
    return (
        classes,
        ignore_index,
        torch.from_numpy(label_BHW).to(label_type),
        torch.from_numpy(target_BHW).to(target_type),
    )


def counted(classes, ignore_index, *batches) -> torch.Tensor:
    matrix = ConfusionMatrix(classes, ignore_index)
    for label_BHW, target_BHW in batches:
        matrix.update(label_BHW, target_BHW)
    return matrix.counts_KK


def plain_count(classes, ignore_index, label_BHW, target_BHW) -> list[list[int]]:
    counts = [[0] * classes for _ in range(classes)]
    for predicted, true in zip(
        label_BHW.flatten().tolist(), target_BHW.flatten().tolist(), strict=True
    ):
        if true != ignore_index:
            counts[true][predicted] += 1
    return counts


@pytest.mark.filterwarnings("ignore:A single label was found")
@pytest.mark.parametrize("seeds", [range(start, 320, 8) for start in range(8)])
def test_counts_equal_scikit_learn_and_a_plain_count(seeds):
    for seed in seeds:
        equals_both(seed)


def equals_both(seed):
    classes, ignore_index, label_BHW, target_BHW = generated(seed)
    counts_KK = counted(classes, ignore_index, (label_BHW, target_BHW))
    assert counts_KK.tolist() == plain_count(classes, ignore_index, label_BHW, target_BHW)
    valid_BHW = np.asarray(target_BHW) != ignore_index
    if valid_BHW.any():
        true, predicted = np.asarray(target_BHW)[valid_BHW], np.asarray(label_BHW)[valid_BHW]
        expected = confusion_matrix(true, predicted, labels=np.arange(classes))
        assert (counts_KK.numpy() == expected).all()
    else:
        assert not counts_KK.any()


def test_a_mask_of_8192_squared_is_counted_exactly():
    """Built of tiles, so that scikit-learn need count only one tile."""
    generator = np.random.default_rng(0)
    label_HW, target_HW = generator.integers(0, 5, (2, 512, 512), dtype=np.uint8)
    target_HW[:100] = 255
    big = [torch.from_numpy(each).tile(16, 16)[None] for each in (label_HW, target_HW)]
    assert big[0].shape == (1, 8192, 8192)
    kept_HW = target_HW < 255
    tile_KK = confusion_matrix(target_HW[kept_HW], label_HW[kept_HW], labels=range(5))
    matrix = ConfusionMatrix(5, 255)
    matrix.update(*big)
    assert (matrix.counts_KK.numpy() == 256 * tile_KK).all()
    assert matrix.ignored == 256 * 100 * 512


@pytest.mark.parametrize("pixels", [CPU_CHUNK - 1, CPU_CHUNK, CPU_CHUNK + 1, 2 * CPU_CHUNK + 7])
def test_every_pixel_around_the_end_of_a_chunk_is_counted(pixels):
    label_BHW = torch.arange(pixels)[None, None] % 3
    assert counted(3, None, (label_BHW, label_BHW)).sum() == pixels


@pytest.mark.parametrize("seed", range(0, 320, 40))
def test_neither_split_nor_order_of_the_pixels_matters(seed):
    classes, ignore_index, label_BHW, target_BHW = generated(seed)
    whole_KK = counted(classes, ignore_index, (label_BHW, target_BHW))
    split = [
        (label_HW, target_HW) for label_HW, target_HW in zip(label_BHW, target_BHW, strict=True)
    ]
    assert torch.equal(counted(classes, ignore_index, *reversed(split)), whole_KK)
    order_N = torch.randperm(label_BHW.numel(), generator=torch.Generator().manual_seed(seed))
    shuffled = [each.flatten()[order_N] for each in (label_BHW, target_BHW)]
    assert torch.equal(counted(classes, ignore_index, shuffled), whole_KK)


@pytest.mark.parametrize("seed", range(0, 320, 40))
def test_adding_the_bins_of_two_processes_merges_them(seed):
    classes, ignore_index, label_BHW, target_BHW = generated(seed)
    ours, theirs = (ConfusionMatrix(classes, ignore_index) for _ in range(2))
    ours.update(label_BHW[:1], target_BHW[:1])
    theirs.update(label_BHW[1:], target_BHW[1:])
    bins = ours.bins
    bins += theirs.bins
    assert torch.equal(ours.counts_KK, counted(classes, ignore_index, (label_BHW, target_BHW)))


def test_inputs_stay_as_they_were():
    for dtype in DTYPES:
        label_BHW, target_BHW = torch.ones(2, 1, 3, 3, dtype=dtype)
        counted(2, None, (label_BHW, target_BHW))
        assert (label_BHW == 1).all()
        assert (target_BHW == 1).all()


def test_views_that_are_not_contiguous_are_counted():
    label_BHW = torch.arange(24).reshape(1, 4, 6) % 3
    assert torch.equal(
        counted(3, None, (label_BHW.mT, label_BHW.mT)), counted(3, None, (label_BHW, label_BHW))
    )


@pytest.mark.parametrize(
    ("label", "target"), [(5, 0), (-1, 0), (0, 5), (0, -1), (0, 254), (2**40, 0), (0, 2**40)]
)
def test_a_label_that_is_no_class_is_an_error_with_its_count(label, target):
    matrix = ConfusionMatrix(5, 255)
    matrix.update(
        torch.tensor([[[label, label, 0, label]]]), torch.tensor([[[target, target, 0, 255]]])
    )
    with pytest.raises(DataError) as caught:
        _ = matrix.counts_KK
    assert str(caught.value).startswith(
        "SK-D012: 2 pixels hold a label that is none of the 5 classes (0 to 4) and not the ignored "
        "label (255)."
    )
    matrix.reset()
    assert not matrix.counts_KK.any()


def test_the_ignored_label_may_lie_outside_of_a_masks_type():
    """uint8 has no -1: nothing is ignored then, and 255 is out of range, not -1."""
    matrix = ConfusionMatrix(2, -1)
    matrix.update(
        torch.ones(1, 1, 1, dtype=torch.uint8), torch.full((1, 1, 1), 255).to(torch.uint8)
    )
    assert matrix.ignored == 0
    with pytest.raises(DataError):
        _ = matrix.counts_KK


def test_more_classes_than_uint8_can_name_are_no_trouble():
    labels_BHW = torch.arange(256).to(torch.uint8)[None, None]
    assert torch.equal(
        counted(300, None, (labels_BHW, labels_BHW)).diagonal()[:256], torch.ones(256)
    )


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"labels \(1, 2, 3\), truth \(1, 3, 2\)"):
        counted(2, None, (torch.zeros(1, 2, 3).long(), torch.zeros(1, 3, 2).long()))


def test_a_single_label_beyond_a_byte_is_no_trouble():
    label_N = torch.zeros(2 * CPU_CHUNK, dtype=torch.int64)
    target_N = label_N.clone()
    target_N[5] = 256
    label_N[-1] = 299
    counts_KK = counted(300, None, (label_N, target_N))
    assert counts_KK[256, 0] == counts_KK[0, 299] == 1
    assert counts_KK[0, 0] == 2 * CPU_CHUNK - 2
