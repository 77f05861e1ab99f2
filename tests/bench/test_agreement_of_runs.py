"""The trial of `segkit bench` itself: what counts as agreement, and what as caught."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "agreement.py"
pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="not in a checkout")
STEADY = "peers/steady(work=copy), train"


@pytest.fixture(scope="module")
def agreement():
    spec = importlib.util.spec_from_file_location("agreement", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compared(*verdicts, failures=(), band=1.05):
    rows = [
        {"case": case, "verdict": verdict, "ratio": ratio, "low": low, "high": high}
        for case, verdict, ratio, low, high in verdicts
    ]
    return {"comparisons": rows, "failures": [(case, "why") for case in failures], "band": band}


TIE = ("loss: ce", "tie", 1.01, 0.98, 1.04)
BAND = ("loss: dice", "tie", 1.04, 1.03, 1.05)
OFF = ("loss: focal", "slower", 1.2, 1.1, 1.3)
SLOW = (STEADY, "slower", 1.2, 1.15, 1.25)


def test_unchanged_runs_pass_and_a_slow_down_that_is_caught_does(agreement):
    found = agreement.verdict([compared(TIE, BAND)] * 2, compared(TIE, SLOW, failures=[STEADY]))
    assert found["passed"]
    assert (found["rows_agree"], found["rows_compared"]) == (4, 4)
    assert found["rows_whose_interval_holds_1"] == 2
    assert agreement.lines(found)[0].startswith(
        "4 of 4 rows of unchanged runs agree (100.0%), 2 by"
    )


@pytest.mark.parametrize(
    ("same", "slowed"),
    [
        # A row in ten disagrees.
        (compared(*[TIE] * 9, OFF), compared(SLOW, failures=[STEADY])),
        # An unchanged row fails the gate.
        (compared(*[TIE] * 30, OFF, failures=["loss: focal"]), compared(SLOW, failures=[STEADY])),
        # The slowed row is missed, or another is taken for it, or nothing was slowed.
        (compared(TIE), compared(TIE, SLOW)),
        (compared(TIE), compared(OFF, SLOW, failures=[STEADY, "loss: focal"])),
        (compared(TIE), compared(TIE)),
    ],
)
def test_what_does_not_pass(agreement, same, slowed):
    assert not agreement.verdict([same], slowed)["passed"]


def test_the_slow_down_lengthens_a_step_by_its_share(monkeypatch):
    steady = pytest.importorskip("segkit_bench_peers.steady")
    clock = iter([10.0, 12.0, 12.1, 12.3, 12.5, 99.0])
    monkeypatch.setattr(steady.time, "perf_counter", lambda: next(clock))
    monkeypatch.setenv("PEERS_SLOWER", "1.2")
    benchmark = steady.Steady("cpu", work="copy")
    benchmark.set_up()
    assert benchmark.run() == 1
    # Two seconds of work end at 10 + 1.2 * 2: the clock is read until then and no longer.
    assert next(clock) == 99.0
