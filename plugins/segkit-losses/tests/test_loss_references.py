"""Values against plain loops in float64, torch's own cross-entropy, and hand calculations."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import segkit

CLASSES = 3
IGNORE = 9


def build(expression: str, classes: int = CLASSES, ignore_index: int | None = IGNORE):
    return segkit.build_loss(expression, num_classes=classes, ignore_index=ignore_index)


def cases() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Logits and truth: ordinary, with a class absent, with most pixels ignored, one image."""
    generator = torch.Generator().manual_seed(1)
    made = []
    for batch, top, ignored in ((2, 3, 0.2), (2, 2, 0.3), (3, 3, 0.9), (1, 1, 0.0)):
        logits_BKHW = 2 * torch.randn(batch, CLASSES, 5, 7, generator=generator)
        target_BHW = torch.randint(0, top, (batch, 5, 7), generator=generator)
        drop_BHW = torch.rand(batch, 5, 7, generator=generator) < ignored
        made.append((logits_BKHW, target_BHW.masked_fill(drop_BHW, IGNORE)))
    return made


CASES = cases()
MULTILABEL_TARGETS = [
    torch.stack([torch.where(t == IGNORE, IGNORE, (t + shift) % 2) for shift in (0, 1, 0)], dim=1)
    for _, t in CASES
]


def pixels(logits_BKHW: torch.Tensor, target_BHW: torch.Tensor):
    """(softmax probabilities, true class) of every valid pixel, one at a time."""
    for image, logits_KHW in enumerate(logits_BKHW.double().tolist()):
        for row, labels in enumerate(target_BHW[image].tolist()):
            for column, label in enumerate(labels):
                if label != IGNORE:
                    raised = [math.exp(plane[row][column]) for plane in logits_KHW]
                    yield [each / sum(raised) for each in raised], label


def places(logits_BKHW: torch.Tensor, target_BKHW: torch.Tensor, k: int):
    """(sigmoid probability, truth) of every valid pixel of class k, one at a time."""
    flat = (each[:, k].flatten().tolist() for each in (logits_BKHW, target_BKHW))
    for logit, truth in zip(*flat, strict=True):
        if truth != IGNORE:
            yield 1 / (1 + math.exp(-logit)), truth


def class_columns(logits_BKHW, target_BHW):
    """Per class, the probabilities and 0/1 truths of all valid pixels."""
    valid = list(pixels(logits_BKHW, target_BHW))
    return [
        ([p[k] for p, _ in valid], [int(label == k) for _, label in valid]) for k in range(CLASSES)
    ]


def dot(p, t):
    return sum(map(operator.mul, p, t))


def dice(p, t):
    return 1 - 2 * dot(p, t) / (sum(p) + sum(t))


def dice_squared(p, t):
    return 1 - (2 * dot(p, t) + 1) / (dot(p, p) + dot(t, t) + 1)


def jaccard(p, t):
    return 1 - dot(p, t) / (sum(p) + sum(t) - dot(p, t))


def tversky(p, t, alpha=0.3, beta=0.7):
    false_positive = dot(p, [1 - each for each in t])
    false_negative = dot([1 - each for each in p], t)
    return 1 - dot(p, t) / (dot(p, t) + alpha * false_positive + beta * false_negative)


def focal_tversky(p, t):
    return tversky(p, t) ** 0.75


def lovasz(p, t):
    """The extension of 1 - IoU, each gain as the difference of the set function itself."""
    error = [abs(a - b) for a, b in zip(p, t, strict=True)]
    order = sorted(range(len(error)), key=lambda n: -error[n])
    truth = {n for n in order if t[n]}

    def loss_of(wrong: set[int]) -> float:
        return 1 - len(truth - wrong) / len(truth | wrong)

    wrong: set[int] = set()
    total, before = 0.0, 0.0
    for n in order:
        wrong.add(n)
        after = loss_of(wrong)
        total += error[n] * (after - before)
        before = after
    return total


OVERLAP = {
    "dice": dice,
    "dice(squared=true, smooth=1)": dice_squared,
    "jaccard": jaccard,
    "tversky": tversky,
    "tversky(alpha=0.9, beta=0.2)": lambda p, t: tversky(p, t, 0.9, 0.2),
    "focal_tversky": focal_tversky,
    "lovasz": lovasz,
}


def with_option(expression: str, option: str) -> str:
    return f"{expression[:-1]}, {option})" if "(" in expression else f"{expression}({option})"


@pytest.mark.parametrize("expression", OVERLAP)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_overlap_losses_are_the_mean_over_the_classes_in_the_truth(expression, case):
    logits_BKHW, target_BHW = CASES[case]
    columns = class_columns(logits_BKHW, target_BHW)
    each = [OVERLAP[expression](p, t) for p, t in columns if any(t)]
    value = build(expression)(logits_BKHW.double(), target_BHW)
    assert value.item() == pytest.approx(np.mean(each), rel=1e-12)


@pytest.mark.parametrize("expression", OVERLAP)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_where_classes_are_chosen_false_positives_for_absent_ones_are_added(expression, case):
    logits_BKHW, target_BHW = CASES[case]
    columns = class_columns(logits_BKHW, target_BHW)[1:]
    expected = 0.0
    if any(any(t) for _, t in columns):
        expected += np.mean([OVERLAP[expression](p, t) for p, t in columns if any(t)])
    if not all(any(t) for _, t in columns):
        expected += np.mean([np.mean(p) for p, t in columns if not any(t)])
    value = build(with_option(expression, "classes=[1, 2]"))(logits_BKHW.double(), target_BHW)
    assert value.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("expression", OVERLAP)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_multilabel_overlap_losses_treat_every_map_by_itself(expression, case):
    logits_BKHW, target_BKHW = CASES[case][0], MULTILABEL_TARGETS[case]
    present, absent = [], []
    for k in range(CLASSES):
        p, t = zip(*places(logits_BKHW, target_BKHW, k), strict=True)
        if any(t):
            present.append(OVERLAP[expression](p, t))
        else:
            absent.append(np.mean(p))
    expected = np.mean(present or [0]) + np.mean(absent or [0])
    loss = build(with_option(expression, "multilabel=true"))
    assert loss(logits_BKHW.double(), target_BKHW).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weights", [None, (1.0, 2.5, 0.5)])
def test_ce_equals_torch(case, smoothing, weights):
    logits_BKHW, target_BHW = CASES[case]
    expected = F.cross_entropy(
        logits_BKHW,
        target_BHW,
        weight=None if weights is None else torch.tensor(weights),
        ignore_index=IGNORE,
        label_smoothing=smoothing,
    )
    loss = segkit.build_loss(
        "ce",
        num_classes=CLASSES,
        ignore_index=IGNORE,
        options={"label_smoothing": smoothing, "class_weights": weights},
    )
    torch.testing.assert_close(loss(logits_BKHW, target_BHW), expected)


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_is_the_papers_formula(case, gamma):
    logits_BKHW, target_BHW = CASES[case]
    each = [-((1 - p[k]) ** gamma) * math.log(p[k]) for p, k in pixels(logits_BKHW, target_BHW)]
    value = build(f"focal(gamma={gamma})")(logits_BKHW.double(), target_BHW)
    assert value.item() == pytest.approx(np.mean(each), rel=1e-10)


@pytest.mark.parametrize("options", ["", "class_weights=[1, 2, 0.5]", "multilabel=true"])
def test_focal_without_focus_is_ce_to_the_last_bit(options):
    logits_BKHW, target_BHW = CASES[0]
    target = MULTILABEL_TARGETS[0] if "multilabel" in options else target_BHW
    focal = build(f"focal(gamma=0{', ' if options else ''}{options})")(logits_BKHW, target)
    assert torch.equal(focal, build(f"ce({options})")(logits_BKHW, target))


def test_focal_of_an_untrained_network_starts_like_softmax():
    """Uniform over 3 classes, gamma 0: log 3, where a sigmoid per class would give log 2."""
    uniform_BKHW = torch.zeros(1, 3, 2, 2)
    value = build("focal(gamma=0)")(uniform_BKHW, torch.zeros(1, 2, 2, dtype=torch.int64))
    assert value.item() == pytest.approx(math.log(3))


@pytest.mark.parametrize("case", range(len(CASES)))
def test_multilabel_ce_and_focal_are_means_over_maps_and_pixels(case):
    logits_BKHW, target_BKHW = CASES[case][0], MULTILABEL_TARGETS[case]
    weights = (1.0, 2.0, 0.5)
    entropy, focal, smooth, weighted, total = [], [], [], 0.0, 0.0
    for k in range(CLASSES):
        for p, t in places(logits_BKHW, target_BKHW, k):
            error = -math.log(p if t else 1 - p)
            entropy.append(error)
            focal.append(abs(t - p) ** 2 * error)
            soft = 0.8 * t + 0.1
            smooth.append(-soft * math.log(p) - (1 - soft) * math.log(1 - p))
            weighted, total = weighted + weights[k] * error, total + weights[k]
    expected = {
        "ce(multilabel=true)": np.mean(entropy),
        "focal(multilabel=true)": np.mean(focal),
        "ce(multilabel=true, label_smoothing=0.2)": np.mean(smooth),
        "ce(multilabel=true, class_weights=[1, 2, 0.5])": weighted / total,
    }
    for expression, value in expected.items():
        found = build(expression)(logits_BKHW.double(), target_BKHW).item()
        assert found == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize(("threshold", "kept"), [(0.7, 0.0625), (1e-3, 0.3), (1.0, 0.0), (0.5, 1)])
def test_ohem_is_the_mean_of_the_pixels_below_threshold_or_hardest(case, threshold, kept):
    logits_BKHW, target_BHW = CASES[case]
    probability = sorted(p[k] for p, k in pixels(logits_BKHW, target_BHW))
    least = max(math.ceil(kept * len(probability)), 1)
    hard = [p for n, p in enumerate(probability) if p <= threshold or n < least]
    value = build(f"ohem(threshold={threshold}, min_kept={kept})")(logits_BKHW.double(), target_BHW)
    assert value.item() == pytest.approx(-np.mean(np.log(hard)), rel=1e-10)


def test_ohem_with_every_pixel_kept_is_ce():
    logits_BKHW, target_BHW = CASES[0]
    whole = build("ohem(threshold=1)")(logits_BKHW, target_BHW)
    torch.testing.assert_close(whole, build("ce")(logits_BKHW, target_BHW))


def test_tversky_generalises_dice_and_jaccard():
    logits_BKHW, target_BHW = CASES[0]
    for weight, name in ((0.5, "dice"), (1, "jaccard")):
        general = build(f"tversky(alpha={weight}, beta={weight})")(logits_BKHW, target_BHW)
        torch.testing.assert_close(general, build(name)(logits_BKHW, target_BHW))


def test_dice_of_a_picture_one_can_count():
    """4 pixels, truth 0 0 1 1, certain answer 0 1 1 1: Dice 2/3 and 4/5, loss 1 - their mean."""
    answer_BHW = torch.tensor([[[0, 1, 1, 1]]])
    logits_BKHW = 100.0 * F.one_hot(answer_BHW, 2).movedim(-1, 1)
    value = build("dice", classes=2)(logits_BKHW, torch.tensor([[[0, 0, 1, 1]]]))
    assert value.item() == pytest.approx(1 - (2 / 3 + 4 / 5) / 2)


def test_lovasz_of_a_certain_answer_is_one_minus_the_mean_iou():
    generator = torch.Generator().manual_seed(2)
    truth_BHW = torch.randint(0, 3, (2, 9, 9), generator=generator)
    answer_BHW = torch.randint(0, 3, (2, 9, 9), generator=generator)
    logits_BKHW = 100.0 * F.one_hot(answer_BHW, 3).movedim(-1, 1)
    iou = [
        ((truth_BHW == k) & (answer_BHW == k)).sum() / ((truth_BHW == k) | (answer_BHW == k)).sum()
        for k in range(3)
    ]
    value = build("lovasz")(logits_BKHW, truth_BHW)
    assert value.item() == pytest.approx(1 - np.mean(iou), abs=1e-6)


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("normalize", [False, True])
def test_boundary_is_the_mean_of_probability_times_signed_distance(case, normalize):
    logits_BKHW, target_BHW = CASES[case]
    height, width = target_BHW.shape[1:]
    probability_BKHW = logits_BKHW.double().softmax(dim=1).numpy()
    total, count = 0.0, 0
    for image, target_HW in enumerate(target_BHW.tolist()):
        labels = {
            (y, x): target_HW[y][x]
            for y in range(height)
            for x in range(width)
            if target_HW[y][x] != IGNORE
        }
        for k in range(CLASSES):
            inside = [place for place, label in labels.items() if label == k]
            outside = [place for place, label in labels.items() if label != k]
            for place, label in labels.items():
                others = outside if label == k else inside
                nearest = min((math.dist(place, other) for other in others), default=None)
                far = math.hypot(height, width) / 2
                size = far if nearest is None else nearest - 0.5
                total += probability_BKHW[(image, k, *place)] * (-size if label == k else size)
                count += 1
    expected = total / count / (math.hypot(height, width) if normalize else 1)
    value = build(f"boundary(normalize={str(normalize).lower()})")(logits_BKHW.double(), target_BHW)
    assert value.item() == pytest.approx(expected, rel=1e-6)
