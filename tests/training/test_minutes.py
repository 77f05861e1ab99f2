"""`--minutes N`: a length that fits the time, found before the first step and then fixed."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from segkit.config import read_config
from segkit.errors import UsageError
from segkit.training.monitoring.events import Silence
from segkit.training.preparation.setup import set_up
from segkit.training.rehearsal import minutes, speed
from segkit.training.rehearsal.deadline import Deadline
from segkit.training.rehearsal.minutes import Shape, shape, within_minutes
from segkit.training.rehearsal.rehearsal import Costs, rehearse, rehearsed
from segkit.training.rehearsal.speed import MeasuredSpeed
from segkit.training.training import resume, train

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
    # An evaluation of 8 s at the end; 392 s are left: 784 steps, 13 in each of 60.
    assert shape(400, USUAL) == Shape(13, 60, 120)
    # 8 % of 2000 s are 160 s: 20 evaluations; 1840 s are left: 3680 steps, 61 in each of 60.
    assert shape(2000, USUAL) == Shape(61, 60, 3)


def test_no_time_is_no_training(settings, alone):
    assert shape(5, USUAL).steps == 0
    with pytest.raises(UsageError, match=r"0\.0001: a step takes .* s for the start: with"):
        within_minutes(set_up(settings(), alone, Silence()), Deadline.of(0.0001, None))


def test_a_slower_machine_gets_fewer_epochs_and_a_quicker_one_more(settings, alone):
    setup = set_up(settings(epochs=60, evaluate_every=200), alone, Silence())
    for seconds, epochs in ((1.0, 60), (2.0, 35), (0.5, 110)):
        # 10 of 60 epochs are done; 50 s are left beside the last evaluation and the end.
        deadline = Deadline(60, time.perf_counter() + 56, ending=2, looked=4)
        deadline.trained.append(seconds)
        assert deadline.epochs(setup, 10) == pytest.approx(epochs, abs=1)


def test_a_plan_is_told_again_where_it_has_changed_by_a_tenth(monkeypatch):
    told, plans = [], iter((59, 62, 50, 48, 61))
    setup = SimpleNamespace(epochs=60, loader=SimpleNamespace(batches_per_epoch=4))
    loop = SimpleNamespace(
        clock=SimpleNamespace(started=0.0, stepped=2.0),
        position=SimpleNamespace(epoch=1),
        setup=setup,
        replan=lambda epochs: setattr(setup, "epochs", epochs),
    )
    monkeypatch.setattr(Deadline, "epochs", lambda self, setup, done: next(plans))
    deadline = Deadline(60, time.perf_counter() + 56, ending=2)
    events = SimpleNamespace(decided=lambda lines: told.extend(text for _, text in lines))
    for _ in range(5):
        deadline.keep(loop, None, events, looked=False)
    assert [text.partition(",")[0] for text in told] == [
        "50 epochs in place of 60",
        "61 epochs in place of 50",
    ]
    assert setup.epochs == 61


def test_measuring_leaves_network_and_random_numbers_as_they_were(settings, alone):
    setup = set_up(settings(), alone, Silence())
    before = {name: each.clone() for name, each in setup.model.state_dict().items()}
    expected = torch.rand(3)
    setup = set_up(settings(), alone, Silence())
    costs = rehearse(setup)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(before[name], each) for name, each in setup.model.state_dict().items())
    assert min(costs.step, costs.evaluation, costs.checkpoint) > 0


def test_a_dry_run_with_minutes_says_no_other_time(settings, alone, tmp_path):
    setup = set_up(settings(), alone, Silence())
    told = dict(rehearsed(setup, tmp_path / "run", given=900.0))["time"]
    assert told.startswith("15 min 0 s as given, with more or fewer epochs as a step takes: ")


@pytest.fixture
def changing_speed(monkeypatch):
    """Of four epochs one is taken away after the first, and given back after the second."""
    plans = {1: 3, 2: 4}
    monkeypatch.setattr(minutes, "rehearse", lambda setup, seconds: Costs(0.1, 0.01, 0.02))
    monkeypatch.setattr(minutes, "shape", lambda seconds, costs: Shape(1, 4, 1))
    monkeypatch.setattr(Deadline, "epochs", lambda self, setup, done: plans.get(done, setup.epochs))


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_a_run_by_minutes_is_repeated_from_its_config_bit_by_bit(
    settings, tmp_path, changing_speed
):
    first = train(settings(epochs=None, minutes=1, out=str(tmp_path / "first")))
    written = read_config(first.folder / "config.yaml")
    assert written.minutes is None
    assert (written.epochs, written.epoch_steps) == (4, 1)
    assert written.earlier_plans == "4 until 1, 3 until 2"
    again = train(written.model_copy(update={"out": str(tmp_path / "again")}))
    assert weights(first.folder) == weights(again.folder)


def test_a_plan_that_grows_is_evaluated_at_its_end_alone(settings, monkeypatch):
    monkeypatch.setattr(minutes, "rehearse", lambda setup, seconds: Costs(20.0, 0.01, 0.02))
    monkeypatch.setattr(Deadline, "epochs", lambda self, setup, done: 3)
    run = train(settings(epochs=None, minutes=1, samples=1)).folder
    assert read_config(run / "config.yaml").earlier_plans == "2 until 1"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [bool(row["scores"]) for row in rows] == [False, False, True]
    assert len(list((run / "samples").iterdir())) == 1


class Stopping(Silence):
    """Ends the training as a fault would, when the third epoch is told."""

    def finished_epoch(self, report):
        if report.epoch == 3:
            raise ConnectionError


def test_a_run_whose_plan_changed_goes_on_as_if_nothing_had_stopped_it(
    settings, tmp_path, changing_speed
):
    whole = train(settings(epochs=None, minutes=1, out=str(tmp_path / "whole")))
    stopped = settings(epochs=None, minutes=1, out=str(tmp_path / "stopped"))
    with pytest.raises(ConnectionError):
        train(stopped, Stopping())
    resumed = resume(tmp_path / "stopped")
    assert resumed.epochs == 4
    assert weights(whole.folder) == weights(resumed.folder)


def test_an_epoch_of_given_steps_goes_on_where_the_last_one_ended(settings, alone):
    whole = set_up(settings(), alone, Silence()).loader
    cut = set_up(settings(epoch_steps=2), alone, Silence()).loader
    assert (whole.batches_per_epoch, cut.batches_per_epoch) == (3, 2)
    expected = [batch.ids for epoch in range(2) for batch in whole.epoch(epoch)]
    found = [batch.ids for epoch in range(3) for batch in cut.epoch(epoch)]
    assert found == expected


def test_crops_whose_measuring_would_take_too_long_are_estimated(monkeypatch):
    """A step takes 1 ms for each 1,000 pixels, and finding that three times as long."""
    measured = []

    def took(self: MeasuredSpeed, size: int, stride: int) -> tuple[float, float]:
        measured.append(size)
        return size**2 * 1e-6, 3 * size**2 * 1e-6

    monkeypatch.setattr(MeasuredSpeed, "_measured", took)
    found = MeasuredSpeed(setup=None, seconds=9.0)  # measuring may take 0.36 s
    steps = {size: found.steps(size) for size in (64, 128, 256, 384)}
    assert measured == [64, 128, 256]
    assert [steps[size] for size in measured] == [2197, 549, 137]
    assert steps[384] == int(137.3 / 1.5**2.5)
    assert found.spent[1] <= 0.36


def test_steps_that_wake_the_machine_are_not_counted(settings, alone, monkeypatch):
    """Of steps of 1.08, 0.73, 0.56 and 0.47 s, which a core of a Xeon took, the last one counts."""
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)

    class Waking(speed.Learner):
        def step(self, batch, number):
            clock.now += (1.08, 0.73, 0.56, 0.47)[number]
            return SimpleNamespace(loss=0.0)

    monkeypatch.setattr(speed, "time", clock)
    monkeypatch.setattr(speed, "Learner", Waking)
    setup = set_up(settings(), alone, Silence())
    assert MeasuredSpeed(setup, seconds=470.0).steps(32) == 1000
