"""The learning rate's course, the averages of weights and statistics, by hand calculation."""

import json
import math

import pytest
import torch
from torch import nn

from segkit.errors import UsageError
from segkit.training.loop.learner import make_optimizer
from segkit.training.optimization.ema import WeightAverage
from segkit.training.optimization.norm_statistics import YoungNorms
from segkit.training.optimization.schedule import Plan, Schedule, read_plans, written_plans
from segkit.training.training import train


def test_the_rate_rises_in_equal_steps_to_its_peak():
    shares = [Schedule(100, 0.04).share(step) for step in range(5)]
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_the_rate_then_falls_as_half_a_cosine():
    schedule = Schedule(100, 0.04)
    assert schedule.share(52) == pytest.approx(0.5)
    assert schedule.share(76) == pytest.approx((1 + math.cos(0.75 * math.pi)) / 2)
    assert 0 < schedule.share(99) < 0.001


def test_or_by_a_power_as_torchs_own_polynomial():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=20, power=0.9)
    for step in range(20):
        share = Schedule(20, shape="poly").share(step)
        assert share == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()


def test_a_plan_that_is_cut_goes_the_rest_of_its_way_in_fewer_steps():
    # Of 100 steps 40 are done; 30 are left for the other 60, two of them at a time.
    whole, cut = Schedule(100), Schedule(70, earlier=[Plan(100, 40)])
    assert [cut.share(step) for step in range(40)] == [whole.share(step) for step in range(40)]
    assert [cut.share(40 + step) for step in range(30)] == pytest.approx(
        [whole.share(40 + 2 * step) for step in range(30)]
    )
    # Twenty of those thirty become forty: three quarters of a step more of the first plan each.
    again = Schedule(90, earlier=[Plan(100, 40), Plan(70, 50)])
    assert again.share(50) == pytest.approx(whole.share(60))
    assert again.share(70) == pytest.approx(whole.share(80))


def test_plans_are_read_as_they_are_written():
    plans = (Plan(24, 7), Plan(20, 12))
    assert written_plans(plans) == "24 until 7, 20 until 12"
    assert read_plans(written_plans(plans)) == plans
    assert (read_plans(None), written_plans(())) == ((), None)


@pytest.mark.parametrize("text", ["24 till 7", "24 until x", "5 until 7", "24 until 7, 20 until 7"])
def test_plans_of_another_kind_are_refused(text):
    with pytest.raises(UsageError, match="SK-C009: earlier_plans cannot be"):
        read_plans(text)


def test_it_equals_torchs_own_cosine():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    for step in range(20):
        assert Schedule(20).share(step) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()


def test_a_training_of_one_step_has_a_rate():
    assert Schedule(1).share(0) == 1.0


def test_the_average_follows_by_its_formula():
    model = nn.Linear(1, 1, bias=False).double()
    model.weight.data.fill_(1.0)
    average = WeightAverage(model, decay=0.5)
    expected = None
    for step, value in enumerate([2.0, 4.0, -1.0]):
        model.weight.data.fill_(value)
        average.update(step)
        decay = min(0.5, step / (9 + step))
        # The random start counts for nothing: the first step's weights take its place.
        expected = value if step == 0 else decay * expected + (1 - decay) * value
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


@pytest.mark.parametrize(("momentum", "calls"), [(0.1, 1), (0.03, 1), (0.1, 2), (0.4, 3)])
def test_a_young_norms_statistics_are_the_plain_mean_of_the_batches(momentum, calls):
    norm = nn.BatchNorm2d(3, momentum=momentum).double()
    young = YoungNorms(norm)
    means, variances, after = [], [], []
    for _ in range(40):
        with young.corrected():
            # A norm that several places share sees several batches a step.
            seen = [5 + 2 * torch.randn(4, 3, 6, 6).double() for _ in range(calls)]
            for batch_BCHW in seen:
                norm(batch_BCHW)
        weights = [(1 - momentum) ** (calls - 1 - n) for n in range(calls)]
        for values, of in (
            (means, lambda b: b.mean(dim=(0, 2, 3))),
            (variances, lambda b: b.var(dim=(0, 2, 3))),
        ):
            values.append(sum(w * of(b) for w, b in zip(weights, seen, strict=True)) / sum(weights))
        after.append((norm.running_mean.clone(), norm.running_var.clone()))
    plain = [n for n in range(40) if (n * calls + 1) * momentum < 1]
    assert plain
    for step in plain:
        expected = [torch.stack(v[: step + 1]).mean(dim=0) for v in (means, variances)]
        torch.testing.assert_close(list(after[step]), expected, rtol=1e-9, atol=1e-9)
    assert not young.norms


def test_norms_that_are_frozen_or_pretrained_are_left_alone():
    frozen, pretrained = nn.BatchNorm1d(2).eval(), nn.BatchNorm1d(2)
    pretrained.num_batches_tracked.fill_(1000)
    reference = nn.BatchNorm1d(2)
    batch_BC = torch.randn(8, 2)
    reference(batch_BC)
    with YoungNorms(nn.ModuleList([frozen, pretrained])).corrected():
        frozen(batch_BC), pretrained(batch_BC)
    assert torch.equal(frozen.running_mean, torch.zeros(2))
    assert torch.equal(pretrained.running_var, reference.running_var)


def test_a_channel_that_hardly_varies_keeps_a_variance_of_at_least_nothing():
    norm = nn.BatchNorm1d(64)
    with YoungNorms(norm).corrected():
        norm(1e-6 * torch.randn(16, 64))
    assert (norm.running_var >= 0).all()


def test_scores_of_the_first_epochs_are_of_what_was_learnt(settings, tmp_path):
    """An epoch is one step. With statistics that still hold the made-up start, the scores rise from
    0.13 to 0.23 only, though the weights are the same."""
    train(settings(epochs=6, batch=12, size=24, lr=0.004, decoder="unet", augmentation="none"))
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    scores = [json.loads(line)["scores"]["miou"] for line in lines]
    assert min(scores) > 0.2
    assert max(scores) > 0.35


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_an_encoder_moves_by_its_part_of_the_rate_and_the_told_rate_is_the_others(kind):
    model = nn.Sequential()
    for name in ("encoder", "decoder"):
        model.add_module(name, nn.Linear(1, 1))
        nn.init.constant_(model.get_submodule(name).weight, 1.0)
    optimizer = make_optimizer(model, 0.1, 0.0, kind, encoder_factor=0.25)
    assert optimizer.param_groups[0]["lr"] == 0.1
    for each in model.parameters():
        each.grad = torch.full_like(each, 3.0)
    optimizer.step()
    # The first step: AdamW's is the rate itself; Nesterov's the rate times 3 + 0.9 * 3.
    step = 0.1 if kind == "adamw" else 0.1 * 1.9 * 3
    moved = {name: 1 - model.get_submodule(name).weight.item() for name in ("encoder", "decoder")}
    assert moved["decoder"] == pytest.approx(step, rel=1e-4)
    assert moved["encoder"] == pytest.approx(step / 4, rel=1e-4)


def test_sgd_moves_as_nesterovs_momentum_does_by_hand():
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 1.0)
    optimizer = make_optimizer(model, lr=0.1, weight_decay=0.0, kind="sgd")
    for _ in range(2):  # the gradient is 2 each time: momentum 2, then 0.9 * 2 + 2
        model.weight.grad = torch.full_like(model.weight, 2.0)
        optimizer.step()
    steps = 0.1 * ((2 + 0.9 * 2) + (2 + 0.9 * 3.8))
    assert model.weight.item() == pytest.approx(1.0 - steps)
