"""Every metric against its definition in NumPy, on data drawn at random, however they are split.

The definitions are written over lists of label maps, image by image, as their sentences say it;
nothing of the plugin is used in them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.distance import cdist

import segkit


@dataclass
class Drawn:
    """Images, each with its own size: predicted labels, logits they come from, and the truth."""

    classes: int
    ignore_index: int | None
    logits: list[np.ndarray]
    truth: list[np.ndarray]
    label_type: torch.dtype

    @property
    def predicted(self) -> list[np.ndarray]:
        return [logits_KHW.argmax(axis=0) for logits_KHW in self.logits]

    @property
    def scored(self) -> list[int]:
        return [k for k in range(self.classes) if k != self.ignore_index]

    def pairs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(prediction, truth) of every image, -1 where the truth is ignored."""
        return [
            (np.where(true_HW == self.ignore_index, -1, label_HW), self.marked(true_HW))
            for label_HW, true_HW in zip(self.predicted, self.truth, strict=True)
        ]

    def marked(self, true_HW: np.ndarray) -> np.ndarray:
        return np.where(true_HW == self.ignore_index, -1, true_HW)


def drawn(seed: int) -> Drawn:
    rng = np.random.default_rng(seed)
    classes = int(rng.choice([2, 3, 5, 20, 150, 300]))
    ignore_index = [None, 255, -1, 0, classes - 1, 999][rng.integers(6)]
    if ignore_index == 255 and classes > 255:
        ignore_index = 999
    share = rng.choice([0.0, 0.1, 0.9, 1.0], p=[0.3, 0.4, 0.2, 0.1])
    present = rng.permutation(classes)[: rng.integers(1, classes + 1)]
    fits_a_byte = classes <= 255 and (ignore_index is None or 0 <= ignore_index < 256)
    logits, truth = [], []
    for _ in range(rng.integers(1, 5)):
        height, width = rng.integers(1, 19, 2)
        blocks_HW = rng.choice(present, (-(-height // 3), -(-width // 3)))
        true_HW = np.kron(blocks_HW, np.ones((3, 3), int))[:height, :width]
        answer_HW = np.where(rng.random(true_HW.shape) < 0.6, true_HW, rng.choice(present))
        logits_KHW = rng.normal(0, 1, (classes, height, width)).astype(np.float32)
        logits_KHW += 6 * (np.arange(classes)[:, None, None] == answer_HW)
        if ignore_index is not None:
            true_HW = np.where(rng.random(true_HW.shape) < share, ignore_index, true_HW)
        logits.append(logits_KHW)
        truth.append(true_HW)
    label_type = torch.uint8 if fits_a_byte and rng.random() < 0.5 else torch.int64
    return Drawn(classes, ignore_index, logits, truth, label_type)


def counts(data: Drawn) -> np.ndarray:
    counts_KK = np.zeros((data.classes, data.classes))
    for label_HW, true_HW in data.pairs():
        np.add.at(counts_KK, (true_HW[true_HW >= 0], label_HW[true_HW >= 0]), 1)
    return counts_KK


def per_class(data: Drawn, part_K: np.ndarray, whole_K: np.ndarray) -> dict[int, float]:
    return {k: part_K[k] / whole_K[k] for k in data.scored if whole_K[k]}


def mean(values) -> float:
    values = list(values)
    return float(np.mean(values)) if values else math.nan


def iou(data: Drawn) -> dict[int, float]:
    hit_K, true_K, said_K = counts(data).diagonal(), counts(data).sum(1), counts(data).sum(0)
    return per_class(data, hit_K, true_K + said_K - hit_K)


def dice(data: Drawn) -> dict[int, float]:
    hit_K, true_K, said_K = counts(data).diagonal(), counts(data).sum(1), counts(data).sum(0)
    return per_class(data, 2 * hit_K, true_K + said_K)


def precision(data: Drawn) -> dict[int, float]:
    return per_class(data, counts(data).diagonal(), counts(data).sum(0))


def recall(data: Drawn) -> dict[int, float]:
    return per_class(data, counts(data).diagonal(), counts(data).sum(1))


def accuracy(data: Drawn) -> float:
    right = np.concatenate([(p == t)[t >= 0] for p, t in data.pairs()])
    return mean(right)


def weighted_iou(data: Drawn) -> float:
    truth = np.concatenate([t[t >= 0] for _, t in data.pairs()])
    return mean(iou(data)[k] for k in truth)


def iou_of_each_image(data: Drawn) -> float:
    each = []
    for logits_KHW, true_HW in zip(data.logits, data.truth, strict=True):
        one = Drawn(data.classes, data.ignore_index, [logits_KHW], [true_HW], data.label_type)
        if values := iou(one):
            each.append(mean(values.values()))
    return mean(each)


def near(map_HW: np.ndarray, width: int) -> np.ndarray:
    """Within `width` king's moves of another label, or of the image's end."""
    padded_HW = np.pad(map_HW, width, constant_values=-1)
    windows = np.lib.stride_tricks.sliding_window_view(padded_HW, (2 * width + 1,) * 2)
    return (windows != map_HW[..., None, None]).any((2, 3))


def boundary_iou(data: Drawn) -> dict[int, float]:
    both, either = np.zeros(data.classes), np.zeros(data.classes)
    for label_HW, true_HW in data.pairs():
        width = max(1, round(0.02 * math.hypot(*true_HW.shape)))
        said_HW, rim_HW = near(label_HW, width), near(true_HW, width)
        for k in data.scored:
            said, true = said_HW & (label_HW == k), rim_HW & (true_HW == k)
            both[k] += (said & true).sum()
            either[k] += (said | true).sum()
    return per_class(data, both, either)


def surface(mask_HW: np.ndarray) -> np.ndarray:
    return np.argwhere(mask_HW & ~ndimage.binary_erosion(mask_HW, border_value=0))


def hausdorff(data: Drawn) -> dict[int, float]:
    found: dict[int, list[float]] = {}
    for label_HW, true_HW in data.pairs():
        for k in data.scored:
            one, other = label_HW == k, true_HW == k
            if one.any() and other.any():
                distance = cdist(surface(one), surface(other))
                value = max(np.percentile(distance.min(axis), 95) for axis in (0, 1))
                found.setdefault(k, []).append(value)
            elif one.any() or other.any():
                found.setdefault(k, []).append(math.hypot(*true_HW.shape))
    return {k: mean(values) for k, values in found.items()}


def regions(map_HW: np.ndarray, data: Drawn) -> list[np.ndarray]:
    masks = []
    for k in data.scored:
        if k:
            numbered_HW, count = ndimage.label(map_HW == k, np.ones((3, 3)))
            masks += [numbered_HW == number for number in range(1, count + 1)]
    return masks


def seg(data: Drawn) -> float:
    each = []
    for label_HW, true_HW in data.pairs():
        answers = regions(label_HW, data)
        for true in regions(true_HW, data):
            best = [a for a in answers if 2 * (a & true).sum() > true.sum()]
            each.append((best[0] & true).sum() / (best[0] | true).sum() if best else 0.0)
    return mean(each)


def index_of_each_pair(label_HW, true_HW, data) -> tuple[list[float], int]:
    """The Jaccard index of every true with every predicted object, and how many objects there are.

    Two that do not meet have 0, and are left out.
    """
    true, answers = regions(true_HW, data), regions(label_HW, data)
    pairs = [(one & other).sum() / (one | other).sum() for one in true for other in answers]
    return [each for each in pairs if each > 0], len(true) + len(answers)


def average_precision(data: Drawn) -> float:
    images = []
    for label_HW, true_HW in data.pairs():
        indices, objects = index_of_each_pair(label_HW, true_HW, data)
        hits = [sum(each > 0.5 + 0.05 * step for each in indices) for step in range(10)]
        if objects:
            images.append(np.mean([found / (objects - found) for found in hits]))
    return mean(images)


def panoptic_quality(data: Drawn) -> float:
    total, pairs, all_objects = 0.0, 0, 0
    for label_HW, true_HW in data.pairs():
        indices, objects = index_of_each_pair(label_HW, true_HW, data)
        hits = [each for each in indices if each > 0.5]
        total, pairs, all_objects = total + sum(hits), pairs + len(hits), all_objects + objects
    missed_or_false = all_objects - 2 * pairs
    return total / (pairs + missed_or_false / 2) if all_objects else math.nan


def calibration_error(data: Drawn) -> float:
    sure, right = [], []
    for logits_KHW, true_HW in zip(data.logits, data.truth, strict=True):
        raised = np.exp(logits_KHW.astype(np.float64) - logits_KHW.max(0))
        valid = true_HW != data.ignore_index
        sure.append((raised / raised.sum(0)).max(0)[valid])
        right.append((logits_KHW.argmax(0) == true_HW)[valid])
    sure_N, right_N = np.concatenate(sure), np.concatenate(right)
    gaps = 0.0
    for low in range(15):
        inside_N = (sure_N > low / 15) & (sure_N <= (low + 1) / 15)
        gaps += abs(right_N[inside_N].sum() - sure_N[inside_N].sum())
    return gaps / len(sure_N) if len(sure_N) else math.nan


DEFINITIONS = {
    "miou": lambda data: mean(iou(data).values()),
    "iou": iou,
    "dice": dice,
    "precision": precision,
    "recall": recall,
    "pixel_accuracy": accuracy,
    "frequency_weighted_iou": weighted_iou,
    "miou_image": iou_of_each_image,
    "boundary_iou": boundary_iou,
    "hausdorff95": hausdorff,
    "seg": seg,
    "ap": average_precision,
    "pq": panoptic_quality,
    "ece": calibration_error,
}


def computed(name: str, data: Drawn, rng: np.random.Generator) -> dict[str, float]:
    """Scores of the images in any order, over one to three processes whose states are added up."""
    metrics = [
        segkit.build_metric(name, num_classes=data.classes, ignore_index=data.ignore_index)
        for _ in range(rng.integers(1, 4))
    ]
    for index in rng.permutation(len(data.truth)):
        logits_BKHW = torch.from_numpy(data.logits[index])[None]
        target_BHW = torch.from_numpy(data.truth[index])[None].to(data.label_type)
        given = logits_BKHW if name == "ece" else logits_BKHW.argmax(1).to(data.label_type)
        metrics[rng.integers(len(metrics))].update(given, target_BHW)
    first, *others = metrics
    for other in others:
        for key, tensor in first.state.items():
            tensor += other.state[key]
    return dict(first.compute())


def is_its_definition(name: str, seed: int) -> None:
    data, rng = drawn(seed), np.random.default_rng(seed + 1)
    found, expected = computed(name, data, rng), DEFINITIONS[name](data)
    exact = 1e-5 if name == "ece" else 1e-12
    if isinstance(expected, dict):
        for k in range(data.classes):
            value = found[f"{name}/{k}"]
            assert value == pytest.approx(expected.get(k, math.nan), rel=exact, nan_ok=True), seed
        expected = mean(expected.values())
    first = next(iter(found.values()))
    assert first == pytest.approx(expected, rel=exact, abs=exact, nan_ok=True), seed


@pytest.mark.parametrize("name", DEFINITIONS)
def test_it_is_its_definition_on_data_drawn_at_random(name):
    for seed in range(12):
        is_its_definition(name, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFINITIONS)
def test_it_is_its_definition_on_many_more(name):
    for seed in range(12, 200):
        is_its_definition(name, seed)


def test_an_ignored_class_is_in_no_mean_as_torchmetrics_has_it():
    """Predicting it misses the true class; a score of its own, 0, would halve the mean."""
    from torchmetrics.classification import MulticlassJaccardIndex

    target_BHW = torch.tensor([[[0, 0, 0, 1, 1, 1, 2, 2]]])
    label_BHW = torch.tensor([[[0, 0, 2, 1, 1, 1, 0, 1]]])
    metric = segkit.build_metric("iou", num_classes=3, ignore_index=2)
    metric.update(label_BHW, target_BHW)
    found = metric.compute()
    theirs = MulticlassJaccardIndex(3, average="macro", ignore_index=2)
    assert found["miou"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["miou"] == pytest.approx(theirs(label_BHW, target_BHW).item())
    assert math.isnan(found["iou/2"])
