"""Checks of what a metric counts, and of what its scores are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from segkit.interfaces import CountedMetric, SummedMetric
from segkit.scoring.confusion import ConfusionMatrix
from segkit.testing.examples import (
    CLASSES,
    IGNORE,
    blobs,
    disturbed,
    with_ignored,
)
from segkit.testing.metric_calls import (
    build,
    require_same,
    scored,
    scores_of,
)
from segkit.testing.subject import Check, NotApplicable, Subject, require

EXACT = (torch.int64, torch.float64, torch.bool)


def states_add_up(subject: Subject) -> None:
    """It has `state`, and two halves added up, in place, score as the whole: what several processes
    do. (Not needed with from_counts, nor for torchmetrics' own.)

    Mend: def state(self), a property, returns the tensors that update() adds to, by name, not
    copies of them: {"hits_K": self.hits_K}.
    """
    whole, one, other = (build(subject) for _ in range(3))
    if not isinstance(whole, SummedMetric):
        if isinstance(whole, CountedMetric | nn.Module):
            raise NotApplicable("is summed over processes by its counts, or as torchmetrics does")
        require(False, "it has neither `state` nor `from_counts`: only one process can use it")
    target_BHW = with_ignored(blobs(6), IGNORE)
    label_BHW = disturbed(target_BHW.clamp_max(CLASSES - 1), 0.3)
    expected = scored(whole, [(label_BHW, target_BHW)])
    scored(one, [(label_BHW[:2], target_BHW[:2])])
    scored(other, [(label_BHW[2:], target_BHW[2:])])
    other_state = dict(other.state)
    require(bool(other_state), "its state is empty")
    for name, tensor in one.state.items():
        kind = type(tensor).__name__
        require(isinstance(tensor, Tensor), f"state['{name}'] is of {kind}, not a torch.Tensor")
        tensor += other_state[name]
    require_same(expected, scores_of(one), "adding up the halves' states changes")


def counters_are_exact(subject: Subject) -> None:
    """Counts are int64 and sums float64: float32 counts to 16,777,216 and stays there, which is
    sixteen images of 1024 x 1024 pixels.

    Mend: torch.zeros(num_classes, dtype=torch.int64), or float64 for sums of what is no whole
    number.
    """
    metric = build(subject)
    if isinstance(metric, nn.Module):
        raise NotApplicable("is torchmetrics' own: its counters are theirs")
    before = _tensors_of(metric)
    target_BHW = blobs()
    scored(metric, [(disturbed(target_BHW, 0.2), target_BHW)])
    for name, tensor in _tensors_of(metric).items():
        known = before.get(name)
        counted = name.startswith("state") or known is None or not torch.equal(known, tensor)
        require(
            not counted or tensor.dtype in EXACT, f"{name} is {tensor.dtype}, and counts or sums"
        )


def counts_determine_it(subject: Subject) -> None:
    """Where it has `from_counts`, a confusion matrix gives what the pixels it counts give.

    Mend: let compute() return self.from_counts(the counts), so that both are one.
    """
    metric = build(subject)
    if not isinstance(metric, CountedMetric):
        raise NotApplicable("is not derived from a confusion matrix")
    target_BHW = with_ignored(blobs(), IGNORE)
    label_BHW = disturbed(target_BHW.clamp_max(CLASSES - 1), 0.3)
    counted = ConfusionMatrix(CLASSES, IGNORE)
    counted.update(label_BHW, target_BHW)
    found = {name: float(value) for name, value in metric.from_counts(counted.counts_KK).items()}
    expected = scored(build(subject), [(label_BHW, target_BHW)])
    require_same(expected, found, "from_counts() instead of update() changes")


def scores_are_what_they_are_called(subject: Subject) -> None:
    """A score called recall, precision, iou or dice is not another one of these.

    Mend: counts_KK has the true class in the row and the predicted one in the column: recall
    divides the diagonal by the rows' sums, precision by the columns'.
    """
    target_BHW = _lopsided()
    label_BHW = torch.where(
        torch.rand(target_BHW.shape) < 0.3, torch.zeros_like(target_BHW), target_BHW
    )
    counted = ConfusionMatrix(CLASSES, IGNORE)
    counted.update(label_BHW, target_BHW)
    known = _known_scores(counted.counts_KK.double())
    for name, value in scored(build(subject), [(label_BHW, target_BHW)]).items():
        called = [word for word in known if word in name.lower()]
        if len(called) != 1 or _one_of(value, known[called[0]]):
            continue
        other = [word for word in known if word != called[0] and _one_of(value, known[word])]
        due = ", ".join(f"{each:.4f}" for each in known[called[0]][:2])
        require(
            not other,
            f"its score '{name}' is {value:.4f}, which is the {' and the '.join(other)}; "
            f"the {called[0]} is {due} (over classes, over pixels)",
        )


COUNT_CHECKS: tuple[Check, ...] = (
    states_add_up,
    counters_are_exact,
    counts_determine_it,
    scores_are_what_they_are_called,
)


def _tensors_of(metric: Any) -> dict[str, Tensor]:
    """Copies of the tensors that it holds, in attributes and in `state`."""
    state = metric.state if isinstance(metric, SummedMetric) else {}
    require(isinstance(state, Mapping), f"state is of {type(state).__name__}, not a mapping")
    found = {f"state['{name}']": each for name, each in state.items()}
    found |= {f"self.{name}": each for name, each in vars(metric).items()}
    return {name: each.clone() for name, each in found.items() if isinstance(each, Tensor)}


def _lopsided() -> Tensor:
    """target_BHW whose classes differ in size, so that no two averages agree by accident."""
    share_BHW = torch.rand(2, 12, 16)
    return (share_BHW > 0.5).long() + (share_BHW > 0.75).long() + (share_BHW > 0.9).long()


def _known_scores(counts_KK: Tensor) -> dict[str, list[float]]:
    """Each score as the mean over the classes, over all pixels, over the classes but 0, and of each
    class."""
    hit_K, true_K, said_K = counts_KK.diag(), counts_KK.sum(dim=1), counts_KK.sum(dim=0)
    parts = {
        "recall": (hit_K, true_K),
        "precision": (hit_K, said_K),
        "iou": (hit_K, true_K + said_K - hit_K),
        "dice": (2 * hit_K, true_K + said_K),
    }
    known = {}
    for name, (top_K, bottom_K) in parts.items():
        score_K = top_K / bottom_K
        whole = top_K.sum() / bottom_K.sum()
        averages = [score_K.mean(), whole, score_K[1:].mean(), *score_K]
        known[name] = [each.item() for each in averages]
    return known


def _one_of(value: float, known: list[float]) -> bool:
    return any(abs(each - value) < 1e-5 or abs(100 * each - value) < 1e-3 for each in known)
