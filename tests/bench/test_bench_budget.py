"""The minutes a benchmark may take are kept, however slow its cases; by a clock that is told."""

import random

import pytest

from segkit.bench.display.watching import Quiet
from segkit.bench.records.case import Case
from segkit.bench.records.row import Row
from segkit.bench.runner.budget import Budget, Progress
from segkit.bench.runner.process import NoAnswer, WorkerFailed
from segkit.bench.runner.runner import Runner
from segkit.bench.runner.settings import Settings

SETTINGS = {"round_seconds": 0.4, "rounds": 10}
# Polite ends of workers, and what lies between two looks at the clock.
TOLERANCE = 1e-6


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow:
    """A worker that takes its time, by the clock: for preparing, and for each step."""

    def __init__(self, clock, speeds):
        self.clock, self.speeds = clock, speeds

    def ask(self, request, *, timeout, stage=None, interrupted=None):
        if request["do"] == "prepare":
            self.preparing, self.step = self.speeds[request["case"]["encoder"]]
            self._wait(self.preparing, timeout)
            memory = {"peak_bytes": 1, "idle_bytes": 1, "method": "pretended"}
            found = {"unit": "image", "units_per_step": 1, "memory": memory, "clock": "pretended"}
            found |= dict.fromkeys(("set_up_s", "first_step_s", "usual_step_s"), self.step)
            return {"found": found | {"compile_s": None, "warm_up_steps": 2}}
        steps = max(2, round(request["seconds"] / self.step))
        self._wait((steps + 1) * self.step, timeout)
        return {"samples": {"step": [self.step] * steps}, "joules_per_step": None}

    def _wait(self, seconds, timeout):
        self.clock.now += min(seconds, timeout)
        if seconds > timeout:
            raise NoAnswer("crashed", f"no answer in {timeout:.0f} s")

    def tell(self, request):
        """Loads nothing."""

    def hear(self, *, timeout):
        """Has loaded at once."""

    def kill(self):
        """Nothing to end."""

    close = kill


class Watching(Quiet):
    """Notes what is shown, and when."""

    def __init__(self, clock):
        self.clock, self.shares, self.first_figure = clock, [], None
        self.figures = []

    def working(self, case, stage, share, seconds_left):
        self.shares.append(share)
        assert seconds_left is None or seconds_left >= 0

    def preliminary(self, row: Row):
        self.figures.append((self.clock.now, row))


@pytest.fixture
def measured(monkeypatch):
    monkeypatch.setattr("segkit.bench.runner.preparing.available_bytes", lambda: 2**40)

    def measure(speeds, minutes=3.0, **settings):
        clock = Clock()
        watching = Watching(clock)
        budget = Budget.starting(minutes, clock)
        cases = [Case(encoder=name, decoder="unet", upsampler="bilinear") for name in speeds]
        runner = Runner(
            Settings(**SETTINGS | settings),
            watching,
            None,
            lambda: Slow(clock, speeds),
            budget.before_closing(),
        )
        runner.run(cases)
        rows = [runner.rows[case.name] for case in cases]
        return clock.now, rows, watching

    return measure


def test_any_budget_is_kept_whatever_cases_take(measured):
    for seed in range(300):
        draw = random.Random(seed)
        speeds = {
            f"case{number}": (10 ** draw.uniform(-1, 2.7), 10 ** draw.uniform(-3, 2))
            for number in range(draw.randint(1, 12))
        }
        minutes = 10 ** draw.uniform(-0.5, 1)
        seconds, rows, watching = measured(speeds, minutes, most_alive=draw.choice([1, 4, 16]))
        closing = min(15.0, 0.1 * 60 * minutes)
        assert seconds <= 60 * minutes - closing + TOLERANCE, seed
        assert {row.status for row in rows} <= {"ok", "skipped"}
        left_out = [row for row in rows if row.status == "skipped"]
        assert all("up; --minutes" in row.reason for row in left_out)
        assert watching.shares == sorted(watching.shares), seed
        assert not watching.shares or watching.shares[-1] < 1


def test_a_budget_that_suffices_leaves_nothing_out_and_costs_no_round(measured):
    speeds = dict.fromkeys("abcdef", (3.0, 0.05))
    _, rows, _ = measured(speeds)
    assert [row.status for row in rows] == ["ok"] * 6
    assert {len(row.rounds) for row in rows} == {10}
    assert rows == measured(speeds, None)[1]


def test_figures_are_shown_as_soon_as_a_case_is_prepared_and_after_each_turn(measured):
    _, _, watching = measured({"a": (10.0, 0.5), "b": (20.0, 0.5)}, controls=False)
    moment, row = watching.figures[0]
    assert moment == 10 and row.case.encoder == "a" and row.images_per_s == 2
    assert watching.figures[1][0] == 30 and len(watching.figures) == 2 + 2 * 10


def test_slow_cases_have_fewer_rounds_and_those_that_do_not_fit_say_so(measured):
    # Of 162 s, 105 are for preparing: three cases of 30 s. The rest is for their turns.
    _, rows, _ = measured(dict.fromkeys("abcdef", (30.0, 2.0)), controls=False)
    assert [row.status for row in rows] == ["ok"] * 3 + ["skipped"] * 3
    assert rows[5].reason == "the 3 minutes were up; --minutes 6 measures more"
    assert {len(row.rounds) for row in rows[:3]} == {4}


def test_without_a_budget_a_worker_that_does_not_answer_has_crashed(measured):
    _, rows, _ = measured({"hangs": (1e9, 1.0)}, None, controls=False)
    assert (rows[0].status, rows[0].reason) == ("crashed", "no answer in 900 s")


def test_the_time_left_is_known_from_the_first_case_on():
    clock = Clock()
    progress = Progress(2, 1.0, Budget(clock=clock))
    progress.start(3)
    assert progress.seconds_left is None and progress.share == 0
    progress.prepared(10, turns=2)
    assert progress.seconds_left == 2 * 10 + 6 * 2.0
    progress.turned(3)
    assert progress.seconds_left == 2 * 10 + 5 * 3


def test_a_lost_worker_is_not_taken_for_one_that_had_no_time(measured, monkeypatch):
    def lost(self, request, **how):
        raise WorkerFailed("crashed", "ended by SIGSEGV")

    monkeypatch.setattr(Slow, "ask", lost)
    assert measured({"a": (1.0, 1.0)})[1][0].reason == "ended by SIGSEGV"
