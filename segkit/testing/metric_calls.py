"""How a metric is built, filled and read in the checks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segkit.interfaces import MetricTraits
from segkit.testing.examples import (
    CLASSES,
    IGNORE,
    confident_logits,
    instances_of,
)
from segkit.testing.subject import Subject, require

TOLERANCE = 1e-6


def build(subject: Subject, classes: int = CLASSES) -> Any:
    return subject.build(num_classes=classes, ignore_index=IGNORE)


def scored(
    metric: Any, batches: list[tuple[Tensor, Tensor]], classes: int = CLASSES
) -> dict[str, float]:
    for label_BHW, target_BHW in batches:
        prediction = prediction_for(metric, label_BHW, classes)
        metric.update(prediction, target_BHW, *instances_for(metric, target_BHW))
    return scores_of(metric)


def scores_of(metric: Any) -> dict[str, float]:
    computed = metric.compute()
    if not isinstance(computed, Mapping):
        computed = {"score": computed}
    return {name: float(value) for name, value in computed.items()}


def prediction_for(metric: Any, label_BHW: Tensor, classes: int) -> Tensor:
    if MetricTraits.of(metric).takes == "labels":
        return label_BHW
    return confident_logits(label_BHW, classes)


def instances_for(metric: Any, target_BHW: Tensor) -> tuple[Tensor | None, ...]:
    traits = MetricTraits.of(metric)
    if not traits.needs_instances:
        return ()
    # None: a model that tells no objects apart, as most do not.
    return (instances_of(target_BHW), None) if traits.takes_objects else (instances_of(target_BHW),)


def near(one: float, other: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def require_same(one: dict[str, float], other: dict[str, float], cause: str) -> None:
    require(one.keys() == other.keys(), f"{cause} the names from {list(one)} to {list(other)}")
    for name, value in one.items():
        require(near(value, other[name]), f"{cause} {name} from {value} to {other[name]}")
