"""What a user sees of a training, on a terminal and without one."""

import io
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from segkit.reporting.words import duration
from segkit.training.monitoring.clock import Clock
from segkit.training.monitoring.events import EpochReport, Silence, StepReport, TrainingResult
from segkit.training.monitoring.progress import LiveProgress, PlainProgress, epoch_line
from segkit.training.run.expected_time import ExpectedTime

STEP = StepReport(
    epoch=2, epochs=10, batch=3, batches=20, step=23, loss=0.51234, learning_rate=1e-3,
    images_per_second=12.34, seconds_left=200.0, memory=3 * 2**30, data_share=0.256,
)  # fmt: skip
EPOCH = EpochReport(
    epoch=2, epochs=10, step=40, loss=0.5, learning_rate=1e-3, images_per_second=12.3, seconds=20.0,
    memory=None, data_share=0.08, val_loss=0.6, scores={"miou": 0.75}, score_name="miou",
    is_best=True,
)  # fmt: skip
RESULT = TrainingResult(
    folder=Path("runs/street"), scores={"miou": 0.75}, score_name="miou", best_epoch=2, epochs=10,
    seconds=65.0,
)  # fmt: skip


@pytest.fixture
def plain(monkeypatch):
    lines, warnings = [], []
    progress = PlainProgress(lines.append, warnings.append)
    return progress, lines, warnings


def test_an_epoch_is_one_line(plain):
    progress, lines, _ = plain
    progress.finished_epoch(EPOCH)
    assert lines == [
        "epoch  2/10  loss 0.5000  val loss 0.6000  miou 0.7500 *  lr 1.00e-03  12.3 images/s  "
        "data 8%  20 s",
    ]


def test_an_undefined_score_is_not_applicable():
    report = EpochReport(**{**EPOCH.__dict__, "scores": {"miou": math.nan}, "is_best": False})
    assert "miou n/a  " in epoch_line(report)


def test_steps_are_quiet_until_ten_seconds_have_passed(plain, monkeypatch):
    progress, lines, _ = plain
    progress.stepped(STEP)
    assert lines == []
    progress.said -= 11
    progress.stepped(STEP)
    assert lines == [
        "  epoch 2/10  batch 3/20  loss 0.5123  lr 1.00e-03  12.3 images/s  data 26%  "
        "3.0 GiB  3 min 20 s left"
    ]


def test_warnings_go_their_own_way(plain):
    progress, lines, warnings = plain
    progress.warned("training starts from RANDOM weights.")
    assert (lines, warnings) == ([], ["WARNING: training starts from RANDOM weights."])


def test_the_end_says_what_was_reached_and_where_everything_lies(plain):
    progress, lines, _ = plain
    progress.finished(RESULT)
    assert lines == [
        "Trained 10 epochs in 1 min 5 s.",
        "Best miou 0.7500, in epoch 2.",
        "model     runs/street/model",
        "scores    runs/street/metrics.csv",
        "pictures  runs/street/samples",
        "report    runs/street/report.html",
        "Next: segkit predict runs/street IMAGES... --out DIR",
    ]


def test_a_terminal_shows_bar_epochs_and_end():
    screen = io.StringIO()
    progress = LiveProgress(Console(file=screen, force_terminal=True, width=160))
    progress.decided([("device", "cpu [2 threads]")])
    progress.stepped(STEP)
    progress.live.refresh()
    progress.evaluating(3, 40)
    progress.live.refresh()
    progress.finished_epoch(EPOCH)
    progress.finished(RESULT)
    shown = screen.getvalue()
    for expected in (
        "cpu [2 threads]",
        "epoch 2/10",
        "12.3 images/s",
        "miou 0.7500 *",
        "scoring",
        "runs/street",
    ):
        assert expected in shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.4, "0.4 s"),
        (12.4, "12 s"),
        (59.97, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_read_as_people_say_them(seconds, shown):
    assert duration(seconds) == shown


def test_the_share_of_waiting_is_the_loaders_time_in_the_epochs(monkeypatch):
    moments = iter([0.0, 0.0, 3.0, 4.0, 4.0, 5.0, 10.0, 10.0])
    monkeypatch.setattr("segkit.training.monitoring.clock.time.perf_counter", lambda: next(moments))
    clock = Clock(8)
    assert clock.data_share == 0.0
    for _ in clock.timed(iter(["one", "two"])):
        clock.step()
    # Asked at 0 and had at 3, stepped at 4; asked at 4 and had at 5, stepped at 10.
    assert clock.waited == 3 + 1
    assert clock.data_share == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("reason", "device", "left", "told"),
    [
        ("to make 1,500 steps", "cpu", 4 * 3600.0, ["about 4 h 0 min at this speed"]),
        ("to make 1,500 steps", "cpu", 600.0, []),
        ("", "cpu", 4 * 3600.0, []),
        ("to make 1,500 steps", "cuda", 4 * 3600.0, []),
    ],
)
def test_the_time_is_told_once_where_segkit_chose_hours_on_a_cpu(reason, device, left, told):
    heard = []

    class Ear(Silence):
        def decided(self, lines):
            heard.extend(lines)

    length = SimpleNamespace(reason=reason)
    group = SimpleNamespace(device=SimpleNamespace(type=device))
    expected = ExpectedTime(SimpleNamespace(length=length, group=group), Ear())
    for step in range(1, 9):
        expected.stepped(StepReport(1, 9, step, 9, step, 1.0, 1e-3, 1.0, left, None))
    assert [
        sentence[: len(start)] for (_, sentence), start in zip(heard, told, strict=True)
    ] == told
    assert all("--minutes 30" in sentence for _, sentence in heard)
