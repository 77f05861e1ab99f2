"""Checks of a metric's contract."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from segkit.interfaces import Metric, MetricTraits
from segkit.testing.conduct import Use, conduct_checks
from segkit.testing.examples import (
    CLASSES,
    IGNORE,
    blobs,
    disturbed,
    with_ignored,
)
from segkit.testing.metric_calls import (
    build,
    instances_for,
    near,
    prediction_for,
    require_same,
    scored,
    scores_of,
)
from segkit.testing.metric_counts import COUNT_CHECKS
from segkit.testing.subject import Breach, Check, Subject, require


def keeps_the_protocol(subject: Subject) -> None:
    """It has update, compute and reset; compute gives a number or a mapping from name to number.

    Mend: define update(prediction, target_BHW), compute() and reset(); the score that decides is
    the first one of compute()'s mapping.
    """
    metric = build(subject)
    require(isinstance(metric, Metric), "it has no update(), compute() and reset()")
    target_BHW = blobs()
    scores = scored(metric, [(disturbed(target_BHW, 0.2), target_BHW)])
    first = next(iter(scores.values()), math.nan)
    require(math.isfinite(first), f"its first score is {first} where every class is there")


def says_what_it_is_in_known_words(subject: Subject) -> None:
    """Its convention is a sentence, `takes` is labels or logits, the others are True or False.

    Mend: convention = "one sentence", takes = "labels" or "logits", higher_is_better,
    needs_instances and takes_objects True or False, the last only beside needs_instances.
    """
    metric = build(subject)
    try:
        traits = MetricTraits.of(metric)
    except ValueError as error:
        raise Breach(str(error)) from error
    require(
        isinstance(traits.convention, str) and "\n" not in traits.convention,
        f"convention is {traits.convention!r}, no text of one line",
    )
    for name in ("higher_is_better", "needs_instances", "takes_objects"):
        value = getattr(traits, name)
        require(isinstance(value, bool), f"{name} is {value!r}, neither True nor False")
    require(
        traits.needs_instances or not traits.takes_objects,
        "it takes objects_BHW as fourth argument, and no instances_BHW as third",
    )


def nothing_seen_is_not_a_number(subject: Subject) -> None:
    """Before any update, and with every pixel ignored, each score is NaN: neither 0 nor 1.

    Mend: return math.nan where nothing was counted, before a division or a nan_to_num.
    """
    metric = build(subject)
    ignored_BHW = torch.full((2, 12, 16), IGNORE)
    for label, scores in (
        ("before any update", scores_of(metric)),
        ("with every pixel ignored", scored(metric, [(blobs(), ignored_BHW)])),
    ):
        wrong = {name: value for name, value in scores.items() if not math.isnan(value)}
        require(not wrong, f"{label} it gives {wrong}")


def absent_classes_do_not_count(subject: Subject) -> None:
    """Two more classes, in neither prediction nor truth, leave the first score as it is.

    Mend: give a class that is in neither prediction nor truth NaN, and average with nanmean.
    """
    target_BHW = blobs()
    label_BHW = disturbed(target_BHW, 0.2)
    first = []
    for classes in (CLASSES, CLASSES + 2):
        metric = build(subject, classes)
        first.append(next(iter(scored(metric, [(label_BHW, target_BHW)], classes).values())))
    require(
        near(first[0], first[1]), f"with two absent classes more, {first[0]} becomes {first[1]}"
    )


def perfect_prediction_scores_best(subject: Subject) -> None:
    """The truth as prediction scores better than an answer a third wrong, or all wrong.

    Mend: set higher_is_better = False where small values are good, and see that the first score
    is the one that decides.
    """
    target_BHW = blobs()
    labels = (target_BHW, disturbed(target_BHW, 1 / 3), (target_BHW + 1) % CLASSES)
    scores = []
    for label_BHW in labels:
        metric = build(subject)
        scores.append(next(iter(scored(metric, [(label_BHW, target_BHW)]).values())))
    sign = 1 if MetricTraits.of(build(subject)).higher_is_better else -1
    perfect, third, wrong = (sign * score for score in scores)
    # A wrong answer's score may be undefined: a distance to a class never predicted, for one.
    require(
        perfect > third and not wrong >= perfect,
        f"right scores {scores[0]}, a third wrong {scores[1]}, all wrong {scores[2]}",
    )


def ignored_pixels_do_not_count(subject: Subject) -> None:
    """Whatever is predicted at ignored pixels, every score stays.

    Mend: leave pixels with target_BHW == ignore_index out before anything is counted, predictions
    there too.
    """
    target_BHW = with_ignored(blobs(), IGNORE)
    label_BHW = torch.randint(0, CLASSES, target_BHW.shape)
    other_BHW = torch.where(target_BHW == IGNORE, (label_BHW + 1) % CLASSES, label_BHW)
    one = scored(build(subject), [(label_BHW, target_BHW)])
    other = scored(build(subject), [(other_BHW, target_BHW)])
    require_same(one, other, "other predictions at ignored pixels change")


def batches_may_be_split_and_swapped(subject: Subject) -> None:
    """Six images in one batch, or in batches of 1, 2 and 3 in another order: the same scores.

    Mend: add up counts in update() and divide in compute(); average no scores of batches.
    """
    target_BHW = with_ignored(blobs(6), IGNORE)
    label_BHW = disturbed(target_BHW.clamp_max(CLASSES - 1), 0.3)
    pieces = [(label_BHW[part], target_BHW[part]) for part in ([5], [0, 4], [3, 1, 2])]
    whole = scored(build(subject), [(label_BHW, target_BHW)])
    require_same(whole, scored(build(subject), pieces), "another split into batches changes")


def reset_forgets(subject: Subject) -> None:
    """After reset() it scores as a fresh one does.

    Mend: set every count back to 0 in reset(), in place.
    """
    target_BHW = blobs()
    used, fresh = build(subject), build(subject)
    scored(used, [((target_BHW + 1) % CLASSES, target_BHW)])
    used.reset()
    batch = [(disturbed(target_BHW, 0.2), target_BHW)]
    require_same(scored(fresh, batch), scored(used, batch), "what came before reset() changes")


def classes_absent_later_keep_their_score(subject: Subject) -> None:
    """A class that a later batch has not, in prediction or truth, counts as before: two batches
    score as one.

    Mend: add up counts by class in update() and divide once, in compute().
    """
    target_BHW = blobs()
    label_BHW = disturbed(target_BHW, 0.2)
    few_BHW = target_BHW % 2
    batches = [(label_BHW, target_BHW), (disturbed(few_BHW, 0.2, classes=2), few_BHW)]
    whole = tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
    one = scored(build(subject), [(whole[0], whole[1])])
    other = scored(build(subject), batches)
    require_same(one, other, "a second batch in which two classes are absent changes")


def input_is_left_as_it_was(subject: Subject) -> None:
    """Prediction and truth hold the same numbers after an update.

    Mend: use masked_fill, torch.where and clone, not assignment into what you are given.
    """
    target_BHW = with_ignored(blobs(), IGNORE)
    metric = build(subject)
    prediction = prediction_for(metric, blobs(), CLASSES)
    kept = prediction.clone(), target_BHW.clone()
    metric.update(prediction, target_BHW, *instances_for(metric, target_BHW))
    require(torch.equal(kept[0], prediction), "it writes into the prediction")
    require(torch.equal(kept[1], target_BHW), "it writes into the truth")


def copies_are_independent(subject: Subject) -> None:
    """A deep copy keeps its scores when the original goes on counting.

    Mend: hold counts in attributes of the metric, made in __init__, not of its class or module.
    """
    target_BHW = blobs()
    metric = build(subject)
    before = scored(metric, [(disturbed(target_BHW, 0.2), target_BHW)])
    copied = copy.deepcopy(metric)
    scored(metric, [((target_BHW + 1) % CLASSES, target_BHW)])
    require_same(before, scores_of(copied), "going on with the original changes")


@contextmanager
def use(subject: Subject) -> Iterator[Use]:
    """A metric in use: one update, one compute."""
    target_BHW = blobs()
    label_BHW = disturbed(target_BHW, 0.2)
    yield Use(lambda: build(subject), lambda metric: scored(metric, [(label_BHW, target_BHW)]))


BASIC = keeps_the_protocol
CHECKS: tuple[Check, ...] = (
    keeps_the_protocol,
    says_what_it_is_in_known_words,
    nothing_seen_is_not_a_number,
    absent_classes_do_not_count,
    perfect_prediction_scores_best,
    ignored_pixels_do_not_count,
    batches_may_be_split_and_swapped,
    reset_forgets,
    classes_absent_later_keep_their_score,
    *COUNT_CHECKS,
    input_is_left_as_it_was,
    copies_are_independent,
    *conduct_checks(use),
)
