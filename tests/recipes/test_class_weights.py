"""`--class-weights`: the definitions by hand, and that they come into the loss that is written."""

import numpy as np
import pytest

from segkit.config import read_config
from segkit.errors import UsageError
from segkit.recipes.class_weights import (
    effective_number,
    inverse_root,
    median_frequency,
)
from segkit.training.monitoring.events import Silence
from segkit.training.preparation.setup import set_up
from segkit.training.training import train

PIXELS_K = np.array([900.0, 90.0, 10.0])


def test_median_frequency_by_hand():
    assert median_frequency(PIXELS_K) == pytest.approx([0.1, 1.0, 9.0])


def test_the_inverse_root_by_hand():
    # 1/30, 1/9.487, 1/3.162, in all 0.45497; three times each share of that.
    assert inverse_root(PIXELS_K) == pytest.approx([0.2198, 0.6951, 2.0852], abs=1e-4)


def test_the_effective_number_is_the_papers_formula():
    beta = (1000 - 1) / 1000
    plain = np.array([(1 - beta) / (1 - beta**n) for n in (900, 90, 10)])
    assert effective_number(PIXELS_K) == pytest.approx(plain / plain.sum() * 3)


def test_two_hundred_million_pixels_lose_no_digits():
    weights = effective_number(np.array([2e8, 2e3]))
    assert weights[1] / weights[0] == pytest.approx((1 - np.exp(-1)) * 1e5, rel=1e-3)


def test_they_are_written_into_the_loss_and_the_run_is_repeated_with_them(settings, tmp_path):
    run = train(settings(class_weights="median", loss="dice + 0.5*ce"))
    written = read_config(run.folder / "config.yaml")
    assert written.class_weights is None
    assert written.loss.startswith("dice + 0.5*ce(class_weights=[")
    again = train(written.model_copy(update={"out": str(tmp_path / "again")}))
    assert run.scores == again.scores


def test_a_loss_without_weights_is_refused(settings, alone):
    with pytest.raises(UsageError, match="SK-C007: --class-weights root: nothing in the loss dice"):
        set_up(settings(class_weights="root", loss="dice"), alone, Silence())
