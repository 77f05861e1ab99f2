"""Weights of the classes in the loss, by how many pixels of each there are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from segkit.config import TrainConfig
from segkit.data.checks.statistics import measure
from segkit.data.opening.opened import Data
from segkit.errors import UsageError
from segkit.registry.components import default_registry
from segkit.registry.expression import Term, parse_sum

OPTION = "class_weights"
DIGITS = 4


def median_frequency(pixels_K: np.ndarray) -> np.ndarray:
    """The median share over the class's own (Eigen and Fergus 2015, arXiv:1411.4734), both over
    all pixels."""
    return np.asarray(np.median(pixels_K) / pixels_K)


def inverse_root(pixels_K: np.ndarray) -> np.ndarray:
    """One over the root of its share, scaled to a mean of 1."""
    return _of_mean_one(pixels_K**-0.5)


def effective_number(pixels_K: np.ndarray) -> np.ndarray:
    """(1 - b) / (1 - b^n) of a class of n pixels, scaled to a mean of 1 (Cui et al. 2019,
    arXiv:1901.05555); b is (N - 1) / N, as there, N being all pixels together."""
    every = float(pixels_K.sum())
    if every <= 1:
        return np.ones_like(pixels_K)
    # 1 - b^n without the loss of all digits that a b so near to 1 brings.
    return _of_mean_one(1 / -np.expm1(pixels_K * math.log1p(-1 / every)))


WEIGHINGS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "median": median_frequency,
    "root": inverse_root,
    "effective": effective_number,
}


def with_class_weights(config: TrainConfig, data: Data) -> TrainConfig:
    """The settings with the weights written into every summand of the loss that takes some.

    Classes without a training pixel weigh nothing. Raises UsageError SK-C007 where no summand
    takes weights, or they are given there already.
    """
    if config.class_weights is None:
        return config
    loss = weighed(config.loss, config.class_weights, _pixels(data))
    if loss is None:
        raise UsageError(
            "SK-C007",
            f"--class-weights {config.class_weights}: nothing in the loss {config.loss} takes "
            "weights of classes that are not given already.",
            "Leave it out, or choose a loss that takes some, such as dice+ce or focal.",
        )
    return config.model_copy(update={"loss": loss, "class_weights": None})


def weighed(loss: str, kind: str, pixels_K: np.ndarray) -> str | None:
    """The loss with weights in every summand that takes some; None where none does.

    pixels_K   of each class, or its share of all
    """
    terms = parse_sum(loss)
    able = [term for term in terms if _takes_weights(term)]
    if not able:
        return None
    weights = _weights(kind, pixels_K)
    return " + ".join(str(_weighed(term, weights) if term in able else term) for term in terms)


def _takes_weights(term: Term) -> bool:
    component = default_registry().component("losses", term.component)
    offered = {option.name for option in component.options}
    return OPTION in offered and OPTION not in term.component.options


def _weighed(term: Term, weights: list[float]) -> Term:
    options = {**term.component.options, OPTION: weights}
    return replace(term, component=replace(term.component, options=options))


def _weights(kind: str, pixels_K: np.ndarray) -> list[float]:
    weight_K = np.zeros(len(pixels_K))
    there_K = pixels_K > 0
    if there_K.any():
        weight_K[there_K] = WEIGHINGS[kind](pixels_K[there_K])
    # In decimals, so that config.yaml repeats the very same ones.
    return [float(f"{weight:.{DIGITS}g}") for weight in weight_K.tolist()]


def _pixels(data: Data) -> np.ndarray:
    """Training pixels of each class."""
    counts = data.counts.get("train")
    if counts is None:
        return np.array(measure(data, "train").pixels, np.float64)
    classes = range(len(data.classes))
    return np.array([float(sum(each.get(k, 0) for each in counts)) for k in classes])


def _of_mean_one(weight_K: np.ndarray) -> np.ndarray:
    return np.asarray(weight_K / weight_K.mean())
