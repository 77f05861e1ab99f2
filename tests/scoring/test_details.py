"""What is kept of an evaluation equals scikit-learn, SciPy and counts by hand."""

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

import segkit
from segkit.errors import UsageError
from segkit.scoring.calibration import BINS, Calibration
from segkit.scoring.cases import chosen
from segkit.scoring.intervals import (
    accuracy,
    difference_interval,
    draws,
    mean_iou,
    score_interval,
)
from segkit.scoring.per_image import ImageCounts, Overlap, PerImage

IGNORE, CLASSES = 255, 4


def labelled(images=5, shape=(9, 11), seed=0):
    """Predictions and truths of images that miss some of the classes."""
    random = np.random.default_rng(seed)
    truth = np.stack([random.integers(0, random.integers(1, 5), shape) for _ in range(images)])
    label = np.where(random.random(truth.shape) < 0.6, truth, random.integers(0, 4, truth.shape))
    truth[random.random(truth.shape) < 0.1] = IGNORE
    return torch.from_numpy(label), torch.from_numpy(truth)


def counted(label_BHW, truth_BHW, ignore=IGNORE):
    gathered = PerImage(CLASSES, ignore)
    names = [f"image {number}" for number in range(len(label_BHW))]
    for place, name in enumerate(names):
        one = slice(place, place + 1)
        gathered.update([name], label_BHW[one], truth_BHW[one], np.array([0.5]))
    return gathered.counts()


@pytest.mark.filterwarnings("ignore")
def test_every_images_scores_are_scikit_learns():
    label_BHW, truth_BHW = labelled()
    images = counted(label_BHW, truth_BHW)
    for row in range(len(label_BHW)):
        valid = truth_BHW[row] != IGNORE
        pair = truth_BHW[row][valid].numpy(), label_BHW[row][valid].numpy()
        there = np.isin(np.arange(CLASSES), np.unique(pair))
        found = images.overlap
        for score_NK, theirs in (
            (found.iou_XK, jaccard_score),
            (found.dice_XK, f1_score),
            (found.precision_XK, precision_score),
            (found.recall_XK, recall_score),
        ):
            expected_K = theirs(*pair, labels=range(CLASSES), average=None, zero_division=0)
            defined_K = ~np.isnan(score_NK[row])
            np.testing.assert_allclose(score_NK[row][defined_K], expected_K[defined_K])
        assert (~np.isnan(found.iou_XK[row]) == there).all()
        in_truth, in_label = (np.isin(np.arange(CLASSES), each) for each in pair)
        assert (~np.isnan(found.recall_XK[row]) == in_truth).all()
        assert (~np.isnan(found.precision_XK[row]) == in_label).all()
        assert images.miou_N[row] == pytest.approx(np.nanmean(found.iou_XK[row]))
        assert found.accuracy_X[row] == pytest.approx((pair[0] == pair[1]).mean())


def test_a_class_that_is_ignored_has_no_score():
    label_BHW, truth_BHW = labelled()
    images = counted(label_BHW, truth_BHW.masked_fill(truth_BHW == IGNORE, 2), ignore=2)
    assert np.isnan(images.overlap.iou_XK[:, 2]).all()
    assert np.isfinite(images.overlap.summed().iou_XK[[0, 1, 3]]).all()


def test_sums_over_draws_are_sums_over_the_images_they_hold():
    images = counted(*labelled()).overlap
    weight_DN = next(draws(5))[:3]
    for weight_N, hit_K in zip(weight_DN, images.summed(weight_DN).hit_XK, strict=True):
        assert (hit_K == np.repeat(images.hit_XK, weight_N, axis=0).sum(axis=0)).all()


def test_an_interval_is_that_of_normal_theory_where_images_are_many():
    random = np.random.default_rng(1)
    right_N, size = random.binomial(1000, random.beta(8, 2, 400)), 1000
    counts = np.stack([right_N, np.zeros(400, int)], axis=1)
    truth = np.stack([np.full(400, size), np.zeros(400, int)], axis=1)
    low, high = score_interval(Overlap(counts, truth, truth), accuracy)
    share_N = right_N / size
    half = 1.96 * share_N.std(ddof=1) / np.sqrt(400)
    assert (low, high) == pytest.approx((share_N.mean() - half, share_N.mean() + half), abs=0.003)


def test_intervals_are_the_same_each_time_and_of_one_image_there_are_none():
    images = counted(*labelled()).overlap
    assert (score_interval(images, mean_iou) == score_interval(images, mean_iou)).all()
    alone = Overlap(images.hit_XK[:1], images.truth_XK[:1], images.predicted_XK[:1])
    assert np.isnan(score_interval(alone, mean_iou)).all()


def test_a_paired_interval_sees_a_gain_that_two_single_ones_do_not():
    """Images differ much, the second model gains a little on each of them."""
    random = np.random.default_rng(2)
    right_N = random.integers(200, 900, 60)
    truth = np.stack([np.full(60, 1000), np.zeros(60, int)], axis=1)
    one, two = (
        Overlap(np.stack([right_N + gain, 0 * right_N], axis=1), truth, truth) for gain in (0, 10)
    )
    assert score_interval(one, accuracy)[1] > score_interval(two, accuracy)[0]
    low, high = difference_interval(one, two, accuracy)
    assert low == pytest.approx(0.01)
    assert high == pytest.approx(0.01)
    assert (difference_interval(one, one, accuracy) == 0).all()


def certain(seed=0, shape=(3, CLASSES, 16, 16)):
    generator = torch.Generator().manual_seed(seed)
    logits_BKHW = 2 * torch.randn(shape, generator=generator)
    truth_BHW = torch.distributions.Categorical(logits=0.5 * logits_BKHW.movedim(1, -1)).sample()
    truth_BHW[:, :2] = IGNORE
    return logits_BKHW, truth_BHW


def test_the_calibration_curve_is_scikit_learns_and_its_error_is_the_metrics():
    logits_BKHW, truth_BHW = certain()
    calibration = Calibration(IGNORE)
    metric = segkit.build_metric("ece", num_classes=CLASSES, ignore_index=IGNORE)
    metric.update(logits_BKHW, truth_BHW)
    label_BHW = logits_BKHW.argmax(dim=1)
    certainty_B = calibration.update(logits_BKHW, label_BHW, truth_BHW)
    certainty_BHW = logits_BKHW.softmax(dim=1).amax(dim=1)
    assert certainty_B == pytest.approx(certainty_BHW.flatten(1).mean(dim=1).tolist())
    valid = truth_BHW != IGNORE
    right_N = (label_BHW == truth_BHW)[valid]
    expected = calibration_curve(right_N.numpy(), certainty_BHW[valid].numpy(), n_bins=BINS)
    pixels, certainty, right = calibration.curve()
    np.testing.assert_allclose(right[pixels > 0], expected[0])
    np.testing.assert_allclose(certainty[pixels > 0], expected[1], atol=1e-6)
    assert pixels.sum() == valid.sum()
    assert calibration.error == pytest.approx(metric.compute()["ece"], abs=1e-6)
    assert calibration.error > 0.1


def test_risk_and_coverage_are_those_of_sorted_pixels():
    logits_BKHW, truth_BHW = certain(1)
    calibration, label_BHW = Calibration(IGNORE), logits_BKHW.argmax(dim=1)
    calibration.update(logits_BKHW, label_BHW, truth_BHW)
    coverage, risk = calibration.risk_coverage()
    valid = truth_BHW != IGNORE
    order = logits_BKHW.softmax(dim=1).amax(dim=1)[valid].argsort(descending=True)
    wrong_N = (label_BHW != truth_BHW)[valid][order].double().numpy()
    assert coverage[-1] == 1
    assert risk[-1] == pytest.approx(wrong_N.mean())
    for share, found in zip(coverage, risk, strict=True):
        kept = round(share * len(wrong_N))
        assert found == pytest.approx(wrong_N[:kept].mean())


def test_the_worst_images_and_those_in_the_middle_are_the_cases():
    truth_N = np.full(21, 100)
    right_N = np.arange(21) * 4
    order = np.random.default_rng(0).permutation(21)
    columns = [np.stack([each, 0 * each], axis=1)[order] for each in (right_N, truth_N, truth_N)]
    images = ImageCounts(
        tuple("abcdefghijklmnopqrstu"), tuple(range(21)), Overlap(*columns), truth_N
    )
    found = chosen(images)
    assert [order[row] for kind, row in found if kind == "worst"] == [0, 1, 2, 3, 4, 5]
    assert [order[row] for kind, row in found if kind == "median"] == [9, 10, 11]


def test_of_few_images_all_are_cases_and_none_is_called_what_it_is_not():
    for count, kinds in ((1, "w"), (2, "wb"), (3, "wmb"), (4, "wmmb"), (9, "wwwwmbbbb")):
        right_N, truth_N = np.arange(count) * 4, np.full(count, 100)
        columns = [np.stack([each, 0 * each], axis=1) for each in (right_N, truth_N, truth_N)]
        names = tuple("abcdefghi"[:count])
        images = ImageCounts(names, tuple(range(count)), Overlap(*columns), truth_N)
        assert "".join(kind[0] for kind, _ in chosen(images)) == kinds
        assert [row for _, row in chosen(images)] == list(range(count))


def test_two_images_of_one_name_are_both_counted():
    label_BHW, truth_BHW = labelled(2)
    gathered = PerImage(CLASSES, IGNORE)
    gathered.update(["a", "a"], label_BHW, truth_BHW, np.zeros(2))
    assert gathered.counts().names == ("a", "a (2)")


def test_details_are_refused_where_processes_share_the_images():
    from segkit.distributed import Group
    from segkit.scoring.evaluate_model import _refuse_several_processes

    with pytest.raises(UsageError, match="Start it with one process"):
        _refuse_several_processes(Group(0, 2, 2, torch.device("cpu")))
