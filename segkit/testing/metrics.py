"""Checks of a metric's contract."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from segkit.interfaces import CountedMetric, Metric, MetricTraits, SummedMetric
from segkit.scoring.confusion import ConfusionMatrix
from segkit.testing.examples import (
    CLASSES,
    IGNORE,
    blobs,
    confident_logits,
    disturbed,
    instances_of,
    with_ignored,
)
from segkit.testing.imports import recorded_connections
from segkit.testing.subject import Breach, Check, NotApplicable, Subject, require

TOLERANCE = 1e-6


def keeps_the_protocol(subject: Subject) -> None:
    """It has update, compute and reset; compute gives a number or a mapping from name to number."""
    metric = _build(subject)
    require(isinstance(metric, Metric), "it has no update(), compute() and reset()")
    target_BHW = blobs()
    scores = _scored(metric, [(disturbed(target_BHW, 0.2), target_BHW)])
    first = next(iter(scores.values()), math.nan)
    require(math.isfinite(first), f"its first score is {first} where every class is there")


def says_what_it_is_in_known_words(subject: Subject) -> None:
    """Its convention is a sentence, `takes` is labels or logits, the others are True or False."""
    metric = _build(subject)
    try:
        traits = MetricTraits.of(metric)
    except ValueError as error:
        raise Breach(str(error)) from error
    require(
        isinstance(traits.convention, str) and "\n" not in traits.convention,
        f"convention is {traits.convention!r}, no text of one line",
    )
    for name in ("higher_is_better", "needs_instances"):
        value = getattr(traits, name)
        require(isinstance(value, bool), f"{name} is {value!r}, neither True nor False")


def nothing_seen_is_not_a_number(subject: Subject) -> None:
    """Before any update, and with every pixel ignored, each score is NaN: neither 0 nor 1."""
    metric = _build(subject)
    ignored_BHW = torch.full((2, 12, 16), IGNORE)
    for label, scores in (
        ("before any update", _scores(metric)),
        ("with every pixel ignored", _scored(metric, [(blobs(), ignored_BHW)])),
    ):
        wrong = {name: value for name, value in scores.items() if not math.isnan(value)}
        require(not wrong, f"{label} it gives {wrong}")


def absent_classes_do_not_count(subject: Subject) -> None:
    """Two more classes, in neither prediction nor truth, leave the first score as it is."""
    target_BHW = blobs()
    label_BHW = disturbed(target_BHW, 0.2)
    first = []
    for classes in (CLASSES, CLASSES + 2):
        metric = _build(subject, classes)
        first.append(next(iter(_scored(metric, [(label_BHW, target_BHW)], classes).values())))
    require(
        _near(first[0], first[1]), f"with two absent classes more, {first[0]} becomes {first[1]}"
    )


def perfect_prediction_scores_best(subject: Subject) -> None:
    """The truth as prediction scores better than an answer a third wrong, or all wrong."""
    target_BHW = blobs()
    labels = (target_BHW, disturbed(target_BHW, 1 / 3), (target_BHW + 1) % CLASSES)
    scores = []
    for label_BHW in labels:
        metric = _build(subject)
        scores.append(next(iter(_scored(metric, [(label_BHW, target_BHW)]).values())))
    sign = 1 if MetricTraits.of(_build(subject)).higher_is_better else -1
    perfect, third, wrong = (sign * score for score in scores)
    # A wrong answer's score may be undefined: a distance to a class never predicted, for one.
    require(
        perfect > third and not wrong >= perfect,
        f"right scores {scores[0]}, a third wrong {scores[1]}, all wrong {scores[2]}",
    )


def ignored_pixels_do_not_count(subject: Subject) -> None:
    """Whatever is predicted at ignored pixels, every score stays."""
    target_BHW = with_ignored(blobs(), IGNORE)
    label_BHW = torch.randint(0, CLASSES, target_BHW.shape)
    other_BHW = torch.where(target_BHW == IGNORE, (label_BHW + 1) % CLASSES, label_BHW)
    one = _scored(_build(subject), [(label_BHW, target_BHW)])
    other = _scored(_build(subject), [(other_BHW, target_BHW)])
    _require_same(one, other, "other predictions at ignored pixels change")


def batches_may_be_split_and_swapped(subject: Subject) -> None:
    """Six images in one batch, or in batches of 1, 2 and 3 in another order: the same scores."""
    target_BHW = with_ignored(blobs(6), IGNORE)
    label_BHW = disturbed(target_BHW.clamp_max(CLASSES - 1), 0.3)
    pieces = [(label_BHW[part], target_BHW[part]) for part in ([5], [0, 4], [3, 1, 2])]
    whole = _scored(_build(subject), [(label_BHW, target_BHW)])
    _require_same(whole, _scored(_build(subject), pieces), "another split into batches changes")


def reset_forgets(subject: Subject) -> None:
    """After reset() it scores as a fresh one does."""
    target_BHW = blobs()
    used, fresh = _build(subject), _build(subject)
    _scored(used, [((target_BHW + 1) % CLASSES, target_BHW)])
    used.reset()
    batch = [(disturbed(target_BHW, 0.2), target_BHW)]
    _require_same(_scored(fresh, batch), _scored(used, batch), "what came before reset() changes")


def states_add_up(subject: Subject) -> None:
    """Where it has `state`, two halves added up score as the whole: what processes do."""
    whole, one, other = (_build(subject) for _ in range(3))
    if not isinstance(whole, SummedMetric):
        raise NotApplicable("has no state to add up over processes")
    target_BHW = with_ignored(blobs(6), IGNORE)
    label_BHW = disturbed(target_BHW.clamp_max(CLASSES - 1), 0.3)
    expected = _scored(whole, [(label_BHW, target_BHW)])
    _scored(one, [(label_BHW[:2], target_BHW[:2])])
    _scored(other, [(label_BHW[2:], target_BHW[2:])])
    other_state = dict(other.state)
    require(bool(other_state), "its state is empty")
    for name, tensor in one.state.items():
        tensor += other_state[name]
    _require_same(expected, _scores(one), "adding up the halves' states changes")


def counts_determine_it(subject: Subject) -> None:
    """Where it has `from_counts`, a confusion matrix gives what the pixels it counts give."""
    metric = _build(subject)
    if not isinstance(metric, CountedMetric):
        raise NotApplicable("is not derived from a confusion matrix")
    target_BHW = with_ignored(blobs(), IGNORE)
    label_BHW = disturbed(target_BHW.clamp_max(CLASSES - 1), 0.3)
    counted = ConfusionMatrix(CLASSES, IGNORE)
    counted.update(label_BHW, target_BHW)
    found = {name: float(value) for name, value in metric.from_counts(counted.counts_KK).items()}
    expected = _scored(_build(subject), [(label_BHW, target_BHW)])
    _require_same(expected, found, "from_counts() instead of update() changes")


def input_is_left_as_it_was(subject: Subject) -> None:
    """Prediction and truth hold the same numbers after an update."""
    target_BHW = with_ignored(blobs(), IGNORE)
    metric = _build(subject)
    prediction = _prediction(metric, blobs(), CLASSES)
    kept = prediction.clone(), target_BHW.clone()
    metric.update(prediction, target_BHW, *_instances(metric, target_BHW))
    require(torch.equal(kept[0], prediction), "it writes into the prediction")
    require(torch.equal(kept[1], target_BHW), "it writes into the truth")


def copies_are_independent(subject: Subject) -> None:
    """A deep copy keeps its scores when the original goes on counting."""
    target_BHW = blobs()
    metric = _build(subject)
    before = _scored(metric, [(disturbed(target_BHW, 0.2), target_BHW)])
    copied = copy.deepcopy(metric)
    _scored(metric, [((target_BHW + 1) % CLASSES, target_BHW)])
    _require_same(before, _scores(copied), "going on with the original changes")


def opens_no_socket(subject: Subject) -> None:
    """Building and computing it asks for no connection."""
    with recorded_connections() as asked:
        _scored(_build(subject), [(blobs(), blobs())])
    require(not asked, f"it asked for a connection to {', '.join(asked)}")


CHECKS: tuple[Check, ...] = (
    keeps_the_protocol,
    says_what_it_is_in_known_words,
    nothing_seen_is_not_a_number,
    absent_classes_do_not_count,
    perfect_prediction_scores_best,
    ignored_pixels_do_not_count,
    batches_may_be_split_and_swapped,
    reset_forgets,
    states_add_up,
    counts_determine_it,
    input_is_left_as_it_was,
    copies_are_independent,
    opens_no_socket,
)


def _build(subject: Subject, classes: int = CLASSES) -> Any:
    return subject.build(num_classes=classes, ignore_index=IGNORE)


def _scored(
    metric: Any, batches: list[tuple[Tensor, Tensor]], classes: int = CLASSES
) -> dict[str, float]:
    for label_BHW, target_BHW in batches:
        prediction = _prediction(metric, label_BHW, classes)
        metric.update(prediction, target_BHW, *_instances(metric, target_BHW))
    return _scores(metric)


def _scores(metric: Any) -> dict[str, float]:
    computed = metric.compute()
    if not isinstance(computed, Mapping):
        computed = {"score": computed}
    return {name: float(value) for name, value in computed.items()}


def _prediction(metric: Any, label_BHW: Tensor, classes: int) -> Tensor:
    if MetricTraits.of(metric).takes == "labels":
        return label_BHW
    return confident_logits(label_BHW, classes)


def _instances(metric: Any, target_BHW: Tensor) -> tuple[Tensor, ...]:
    return (instances_of(target_BHW),) if MetricTraits.of(metric).needs_instances else ()


def _near(one: float, other: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _require_same(one: dict[str, float], other: dict[str, float], cause: str) -> None:
    require(one.keys() == other.keys(), f"{cause} the names from {list(one)} to {list(other)}")
    for name, value in one.items():
        require(_near(value, other[name]), f"{cause} {name} from {value} to {other[name]}")
