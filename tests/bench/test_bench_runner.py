"""The runner's own decisions, with workers that only pretend."""

import os
import signal

import pytest

from segkit.bench.comparison.statistics import summarise
from segkit.bench.display.watching import Quiet
from segkit.bench.limits.roofline import achieved
from segkit.bench.records.case import Case
from segkit.bench.records.controls import Controls
from segkit.bench.records.machine import Ceilings
from segkit.bench.records.row import Counts, Row
from segkit.bench.runner.budget import Budget
from segkit.bench.runner.interrupts import Interrupts
from segkit.bench.runner.measuring import MeasuredCase, file_name, row_of
from segkit.bench.runner.process import WorkerFailed
from segkit.bench.runner.rounds import rotated
from segkit.bench.runner.runner import NO_BUDGET, Runner
from segkit.bench.runner.settings import Settings
from segkit.bench.runner.survey import higher

CASES = [Case(encoder=name, decoder="unet", upsampler="bilinear", loss="ce") for name in "abcde"]
FOUND = {
    "unit": "image",
    "units_per_step": 8,
    "set_up_s": 0.1,
    "first_step_s": 0.3,
    "compile_s": None,
    "memory": {"peak_bytes": 1000, "idle_bytes": 10, "method": "pretended"},
    "warm_up_steps": 5,
    "clock": "pretended",
    "usual_step_s": 0.1,
}


class Pretender:
    """A worker that answers from a script, and notes every turn in a shared list."""

    turns: list[str]
    everyone: list["Pretender"]
    alive: int
    most: int

    def __init__(self, behaviour):
        self.behaviour, self.name, self.loads = behaviour, "", False
        self.everyone.append(self)
        type(self).alive += 1
        type(self).most = max(self.most, self.alive)
        self.ended = False

    def ask(self, request, *, timeout, stage=lambda name: None, interrupted=lambda: False):
        if request["do"] == "prepare":
            self.name = request["case"]["encoder"]
            stage("building")
            stage("checking")
        else:
            assert not any(each.loads for each in self.everyone)
            self.turns.append(self.name)
        answer = self.behaviour(self, request)
        if isinstance(answer, BaseException):
            raise answer
        if request["do"] == "prepare":
            return {"event": "prepared", "found": FOUND | (answer or {})}
        samples = {"step": [0.1, 0.1], "forward": [0.04, 0.04], "load": [0.0, 0.0]}
        return {"event": "turned", "samples": samples, "joules_per_step": None}

    def tell(self, request):
        assert request == {"do": "load"}
        self.loads = True

    def hear(self, *, timeout):
        assert self.loads
        self.loads = False
        if isinstance(answer := self.behaviour(self, {"do": "load"}), BaseException):
            raise answer

    def close(self):
        if not self.ended:
            type(self).alive -= 1
        self.ended = True

    kill = close


@pytest.fixture
def pretend(monkeypatch):
    # However little is free where the tests run: pretenders need none.
    monkeypatch.setattr("segkit.bench.runner.preparing.available_bytes", lambda: 2**40)

    def make(behaviour=lambda worker, request: None, budget=NO_BUDGET, **settings):
        Pretender.turns, Pretender.everyone, Pretender.alive, Pretender.most = [], [], 0, 0
        settings = {"rounds": 3, "controls": False} | settings
        return Runner(Settings(**settings), Quiet(), None, lambda: Pretender(behaviour), budget)

    return make


def test_every_round_has_another_order_and_every_case_its_turn(pretend):
    runner = pretend()
    assert runner.run(CASES[:3])
    assert Pretender.turns == [*"abc", *"bca", *"cab"] and len(Pretender.everyone) == 3
    assert rotated("abc", 4) == [*"bca"]
    assert Pretender.alive == 0


def test_no_more_workers_live_than_allowed_and_all_cases_are_measured(pretend):
    runner = pretend(most_alive=2)
    runner.run(CASES)
    assert [runner.rows[case.name].status for case in CASES] == ["ok"] * 5
    assert [runner.rows[case.name].group for case in CASES] == [1, 1, 2, 2, 3]
    # Two that have turns, and one in reserve.
    assert Pretender.most == 3


def test_a_group_ends_where_the_next_worker_might_not_fit(pretend, monkeypatch):
    monkeypatch.setattr("segkit.bench.runner.preparing.available_bytes", lambda: 10 * 2**30)
    large = {"memory": FOUND["memory"] | {"peak_bytes": 2 * 2**30}}
    runner = pretend(lambda worker, request: large)
    runner.run(CASES)
    # 6 GiB may be used, a worker needs 2.7: two of them, and no third.
    assert [runner.rows[case.name].group for case in CASES] == [1, 1, 2, 2, 3]


def test_the_first_case_of_a_group_has_a_control_and_no_second_row(pretend):
    runner = pretend(controls=True)
    runner.run(CASES[:2])
    assert Pretender.turns.count("a") == 6 and Pretender.turns.count("b") == 3
    assert len(runner.rows) == 2
    assert [pair.case for pair in runner.controls.pairs] == [CASES[0].name]
    assert runner.controls.pairs[0].ratio == 1


def test_controls_stand_half_a_round_apart_and_every_sixth_case_has_one(pretend):
    runner = pretend(controls=True, rounds=1)
    cases = [Case(encoder=name, decoder="unet", upsampler="bilinear") for name in "abcdefg"]
    runner.run(cases)
    assert "".join(Pretender.turns) == "abcfdaefg"
    assert {row.group for row in runner.rows.values()} == {1}


@pytest.mark.parametrize(("band", "seconds", "rounds"), [(2.0, 30, 9), (1.05, 30, 3), (2.0, 0, 3)])
def test_a_group_whose_controls_stray_has_more_rounds_while_there_is_time(
    pretend, monkeypatch, band, seconds, rounds
):
    monkeypatch.setattr(Controls, "band", property(lambda self: band))
    runner = pretend(controls=True, rounds=3, extra_seconds=seconds)
    runner.run(CASES[:2])
    assert Pretender.turns.count("b") == rounds
    assert len(runner.pairs[0].rounds) == rounds


def test_all_groups_together_have_the_extra_time(pretend, monkeypatch):
    monkeypatch.setattr(Controls, "band", property(lambda self: 2.0))
    clock = iter(range(10**6))
    budget = Budget(clock=lambda: next(clock))

    def extra_rounds(cases):
        runner = pretend(controls=True, rounds=3, extra_seconds=20, most_alive=2, budget=budget)
        runner.run(cases)
        return [len(pair.rounds) - 3 for pair in runner.pairs]

    # Every group is a case and its control, and a round of them takes as many ticks.
    (first,) = extra_rounds(CASES[:1])
    assert 0 < first < 6
    assert extra_rounds(CASES) == [first, 0, 0, 0, 0]


def test_a_worker_loads_while_another_is_checked_and_never_while_times_are_taken(pretend):
    runner = pretend(most_alive=2)
    runner.run(CASES)
    # One of the next two waits, loaded, through the rounds of two; `ask` sees that none loads then.
    assert Pretender.most == 3 and len(Pretender.everyone) == 5 and Pretender.alive == 0


def test_a_worker_that_fails_while_it_loads_is_replaced(pretend):
    def behaviour(worker, request):
        fails = request["do"] == "load" and len(Pretender.everyone) == 3
        return WorkerFailed("crashed", "no torch") if fails else None

    runner = pretend(behaviour)
    runner.run(CASES[:3])
    assert [runner.rows[case.name].status for case in CASES[:3]] == ["ok"] * 3
    assert len(Pretender.everyone) == 4 and Pretender.alive == 0


def test_a_worker_in_reserve_ends_with_the_benchmark(pretend):
    def behaviour(worker, request):
        return KeyboardInterrupt() if request["do"] == "turn" else None

    runner = pretend(behaviour, most_alive=2)
    assert not runner.run(CASES)
    assert Pretender.alive == 0


def test_cases_that_belong_together_stay_in_one_group(pretend):
    runner = pretend(most_alive=4, rounds=1)
    runner.run(CASES, [CASES[:3], CASES[3:5]])
    groups = {name: runner.rows[case.name].group for name, case in zip("abcde", CASES, strict=True)}
    assert groups == {"a": 1, "b": 1, "c": 1, "d": 2, "e": 2}


def test_a_case_out_of_memory_beside_others_is_tried_again_alone(pretend):
    def behaviour(worker, request):
        crowded = request["do"] == "prepare" and worker.name == "b" and Pretender.alive > 1
        return WorkerFailed("oom", "no memory") if crowded else None

    runner = pretend(behaviour)
    runner.run(CASES[:3])
    assert [runner.rows[case.name].status for case in CASES[:3]] == ["ok"] * 3


def test_a_case_out_of_memory_alone_is_a_row(pretend):
    def behaviour(worker, request):
        return WorkerFailed("oom", "no memory") if worker.name == "b" else None

    runner = pretend(behaviour)
    runner.run(CASES[:3])
    assert [runner.rows[case.name].status for case in CASES[:3]] == ["ok", "oom", "ok"]


def test_a_worker_lost_in_a_round_is_a_row_and_the_others_go_on(pretend):
    def behaviour(worker, request):
        lost = request["do"] == "turn" and worker.name == "a" and Pretender.turns.count("a") == 2
        return WorkerFailed("crashed", "ended by SIGSEGV") if lost else None

    runner = pretend(behaviour)
    runner.run(CASES[:2])
    assert runner.rows[CASES[0].name].reason == "ended by SIGSEGV"
    assert runner.rows[CASES[1].name].times["step"].n == 6


def test_one_interrupt_skips_the_case_and_two_end_the_benchmark(pretend):
    def once(worker, request):
        return KeyboardInterrupt() if worker.name == "b" else None

    runner = pretend(once)
    assert runner.run(CASES[:3])
    assert [runner.rows[case.name].status for case in CASES[:3]] == ["ok", "skipped", "ok"]

    def always(worker, request):
        return KeyboardInterrupt() if worker.name in "bc" else None

    runner = pretend(always, most_alive=1)
    assert not runner.run(CASES[:4])
    statuses = [runner.rows[case.name].status for case in CASES[:4]]
    assert statuses == ["ok", "skipped", "skipped", "skipped"]
    assert Pretender.alive == 0


def test_a_benchmark_ended_in_its_rounds_keeps_the_cases_that_had_two(pretend):
    def behaviour(worker, request):
        turns = Pretender.turns
        if request["do"] == "turn" and len(turns) in (6, 7):
            return KeyboardInterrupt()
        return None

    runner = pretend(behaviour)
    assert not runner.run(CASES[:3])
    assert Pretender.turns == [*"abc", *"bca", "c"]
    rows = [runner.rows[case.name] for case in CASES[:3]]
    assert [row.status for row in rows] == ["skipped", "ok", "ok"]
    assert [row.times["step"].n for row in rows[1:]] == [4, 4]


@pytest.fixture
def heard():
    """SIGINT raises KeyboardInterrupt, which a shell's background jobs are started without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_waits_until_a_case_can_be_given_up(heard):
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.pending
        assert not interrupts.heed() and not interrupts.pending
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.pending and interrupts.heed()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_row_holds_the_phases_and_the_rate_of_its_samples():
    rounds = [{"step": [0.1, 0.2], "forward": [0.05, 0.1], "load": [0, 0]}, {"step": [0.3]}]
    row = row_of(MeasuredCase(CASES[0], None, FOUND, rounds=rounds, joules=[16.0]), None)
    assert row.rounds == ((0.1, 0.2), (0.3,)) and row.steps == (2, 1)
    assert set(row.times) == {"step", "forward"}
    assert row.images_per_s == pytest.approx(8 / 0.2)
    assert row.energy_j_per_image == 2.0


def test_shares_of_the_ceilings_are_by_hand():
    ceilings = Ceilings(
        matmul_flops={"fp32": 1e11}, convolution_flops={"fp32": 2e11}, copy_bytes=1e10
    )
    second = summarise([[1.0]])

    def shares(counts, case=CASES[0]):
        row = Row(case=case, status="ok", times={"step": second}, counts=counts)
        return achieved(row, ceilings)

    found = shares(Counts(flops=10**11, fewest_bytes=10**9))
    assert (found.flops_share, found.bytes_share) == (0.5, 0.1)
    assert (found.flops_per_s, found.bytes_per_s, found.bound) == (1e11, 1e9, "arithmetic")
    assert shares(Counts(flops=10**9, fewest_bytes=5 * 10**9)).bound == "memory"
    assert shares(None) is None and shares(Counts(parameters=3)) is None
    alone = CASES[0].model_copy(update={"threads": 1})
    assert shares(Counts(flops=10**11), alone).flops_share is None


def test_a_ceiling_is_the_most_seen():
    low = Ceilings(matmul_flops={"fp32": 1}, convolution_flops={"fp32": 4}, copy_bytes=5)
    high = Ceilings(matmul_flops={"fp32": 2}, convolution_flops={"fp32": 3}, copy_bytes=6)
    found = higher(low, high)
    assert (found.matmul_flops["fp32"], found.convolution_flops["fp32"]) == (2, 4)
    assert found.copy_bytes == 6


def test_a_cases_name_becomes_a_files_name():
    assert file_name(CASES[0]) == "a-unet-bilinear-ce-train-256px-batch-8-fp32"
