"""`--minutes N`: a length that fits the time, found before the first step and then fixed."""

import time

import pytest
import torch

from segkit.config import read_config
from segkit.errors import UsageError
from segkit.training.monitoring.events import Silence
from segkit.training.preparation.setup import set_up
from segkit.training.rehearsal import minutes
from segkit.training.rehearsal.deadline import Deadline
from segkit.training.rehearsal.minutes import Shape, shape, within_minutes
from segkit.training.rehearsal.rehearsal import Costs, rehearse
from segkit.training.training import train

# A step, an evaluation, a checkpoint: seconds.
USUAL = Costs(0.5, 6.0, 2.0)


@pytest.mark.parametrize("costs", [USUAL, Costs(0.01, 0.1, 0.05), Costs(30.0, 90.0, 5.0)])
@pytest.mark.parametrize("seconds", [300, 3600, 12 * 3600])
def test_steps_and_evaluations_fill_the_time_and_do_not_exceed_it(seconds, costs):
    found = shape(seconds, costs)
    look = costs.evaluation + costs.checkpoint
    looks = -(-found.epochs // found.every)
    taken = found.epochs * found.steps * costs.step + looks * look
    # An epoch, and evaluations that fell together by rounding, are left at most.
    assert seconds - found.steps * costs.step - costs.step - 0.08 * seconds <= taken
    assert taken <= seconds + 1e-6
    assert looks == 1 or looks * look <= 0.08 * seconds


def test_by_hand():
    # 8 % of 400 s are 32 s: 4 evaluations of 8 s; 368 s are left: 736 steps, 12 in each of 61.
    assert shape(400, USUAL) == Shape(12, 61, 16)


def test_no_time_is_no_training(settings, alone):
    assert shape(5, USUAL).steps == 0
    with pytest.raises(UsageError, match=r"SK-C009: --minutes 0\.0001: a step takes"):
        within_minutes(set_up(settings(), alone, Silence()), Deadline.of(0.0001, None))


def test_a_slower_machine_gets_fewer_epochs_and_a_quicker_one_more(settings, alone):
    setup = set_up(settings(epochs=60, evaluate_every=200), alone, Silence())
    for seconds, epochs in ((1.0, 60), (2.0, 35), (0.5, 110)):
        # 10 of 60 epochs are done; 50 s are left beside the last evaluation and the end.
        deadline = Deadline(60, time.perf_counter() + 56, ending=2, looked=4)
        deadline.trained.append(seconds)
        assert deadline.epochs(setup, 10) == pytest.approx(epochs, abs=1)


def test_measuring_leaves_network_and_random_numbers_as_they_were(settings, alone):
    setup = set_up(settings(), alone, Silence())
    before = {name: each.clone() for name, each in setup.model.state_dict().items()}
    expected = torch.rand(3)
    setup = set_up(settings(), alone, Silence())
    costs = rehearse(setup)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(before[name], each) for name, each in setup.model.state_dict().items())
    assert min(costs.step, costs.evaluation, costs.checkpoint) > 0


def test_a_run_by_minutes_is_repeated_from_its_config_bit_by_bit(settings, tmp_path, monkeypatch):
    # As if the machine were quick, then slow, then quick again.
    monkeypatch.setattr(minutes, "rehearse", lambda setup, seconds: Costs(0.1, 0.01, 0.02))
    monkeypatch.setattr(Deadline, "left", lambda deadline, group: 0.5)
    # Of four epochs one is taken away after the first, and given back after the second.
    plans = {1: 3, 2: 4}
    monkeypatch.setattr(Deadline, "epochs", lambda self, setup, done: plans.get(done, setup.epochs))
    first = train(settings(epochs=None, minutes=0.015, out=str(tmp_path / "first")))
    written = read_config(first.folder / "config.yaml")
    assert written.minutes is None
    assert (written.epochs, written.epoch_steps) == (4, 1)
    assert written.earlier_plans == "4 until 1, 3 until 2"
    monkeypatch.undo()
    again = train(written.model_copy(update={"out": str(tmp_path / "again")}))
    for name in ("model.safetensors",):
        assert (first.folder / "model" / name).read_bytes() == (
            again.folder / "model" / name
        ).read_bytes()


def test_an_epoch_of_given_steps_goes_on_where_the_last_one_ended(settings, alone):
    whole = set_up(settings(), alone, Silence()).loader
    cut = set_up(settings(epoch_steps=2), alone, Silence()).loader
    assert (whole.batches_per_epoch, cut.batches_per_epoch) == (3, 2)
    expected = [batch.ids for epoch in range(2) for batch in whole.epoch(epoch)]
    found = [batch.ids for epoch in range(3) for batch in cut.epoch(epoch)]
    assert found == expected
