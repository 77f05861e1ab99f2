"""`--minutes N`: a length that fits the time, found before the first step and then fixed."""

import pytest
import torch

from segkit.config import read_config
from segkit.errors import UsageError
from segkit.training.monitoring.events import Silence
from segkit.training.preparation.setup import set_up
from segkit.training.rehearsal import minutes
from segkit.training.rehearsal.minutes import shape, within_minutes
from segkit.training.rehearsal.rehearsal import Costs, rehearse
from segkit.training.training import train

# A step, an evaluation, a checkpoint: seconds.
USUAL = Costs(0.5, 6.0, 2.0)


@pytest.mark.parametrize("costs", [USUAL, Costs(0.01, 0.1, 0.05), Costs(30.0, 90.0, 5.0)])
@pytest.mark.parametrize("seconds", [300, 3600, 12 * 3600])
def test_steps_and_evaluations_fill_the_time_and_do_not_exceed_it(seconds, costs):
    steps, epochs = shape(seconds, costs)
    look = costs.evaluation + costs.checkpoint
    taken = epochs * (steps * costs.step + look)
    assert seconds - epochs * costs.step - costs.step <= taken <= seconds + 1e-6
    assert epochs <= 50
    assert epochs == 1 or epochs * look <= 0.15 * seconds


def test_by_hand():
    # 15 % of 400 s are 60 s: 7 evaluations of 8 s; 344 s are left: 688 steps, 98 in each of 7.
    assert shape(400, USUAL) == (98, 7)


def test_no_time_is_no_training(settings, alone):
    assert shape(5, USUAL) == (0, 0)
    with pytest.raises(UsageError, match=r"SK-C009: --minutes 0\.0001: a step takes"):
        within_minutes(set_up(settings(), alone, Silence()), 0.0001)


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
    # 0.9 s are not enough for what starting a training takes: as if it were quick.
    monkeypatch.setattr(minutes, "rehearse", lambda setup, seconds: Costs(0.1, 0.01, 0.02))
    first = train(settings(epochs=None, minutes=0.015, out=str(tmp_path / "first")))
    written = read_config(first.folder / "config.yaml")
    assert written.minutes is None
    assert (written.epochs, written.epoch_steps) == (4, 1)
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
