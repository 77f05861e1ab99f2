"""The learning rate's course, and the average of the weights, against hand calculations."""

import math

import pytest
import torch
from torch import nn

from segkit.training.ema import WeightAverage
from segkit.training.loop import make_optimizer
from segkit.training.schedule import learning_rate_share


def test_the_rate_rises_in_equal_steps_to_its_peak():
    shares = [learning_rate_share(step, 100, 4) for step in range(5)]
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_the_rate_then_falls_as_half_a_cosine():
    assert learning_rate_share(52, 100, 4) == pytest.approx(0.5)
    assert learning_rate_share(76, 100, 4) == pytest.approx((1 + math.cos(0.75 * math.pi)) / 2)
    assert 0 < learning_rate_share(99, 100, 4) < 0.001


def test_it_equals_torchs_own_cosine():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    for step in range(20):
        assert learning_rate_share(step, 20, 0) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()


def test_a_training_of_one_step_has_a_rate():
    assert learning_rate_share(0, 1, 0) == 1.0


def test_the_average_follows_by_its_formula():
    model = nn.Linear(1, 1, bias=False).double()
    model.weight.data.fill_(1.0)
    average = WeightAverage(model, decay=0.5)
    expected = 1.0
    for step, value in enumerate([2.0, 4.0, -1.0]):
        model.weight.data.fill_(value)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert float(average.model.weight) == pytest.approx(expected, rel=1e-12)


def test_a_decay_of_nothing_is_the_model_itself():
    model = nn.BatchNorm1d(3)
    average = WeightAverage(model, decay=0.0)
    model(torch.randn(8, 3))
    average.update(0)
    for name, tensor in model.state_dict().items():
        assert torch.equal(average.model.state_dict()[name], tensor)


def test_norms_and_biases_are_not_decayed():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    decayed, plain = make_optimizer(model, lr=1e-3, weight_decay=0.1).param_groups
    assert [tuple(each.shape) for each in decayed["params"]] == [(4, 3, 3, 3)]
    assert decayed["weight_decay"] == 0.1
    assert [tuple(each.shape) for each in plain["params"]] == [(4,), (4,), (4,)]
    assert plain["weight_decay"] == 0
