"""The method itself, on work whose truth is known: in processes, through the whole runner."""

import pytest

from segkit.bench.display.watching import Quiet
from segkit.bench.records.case import Case
from segkit.bench.runner.runner import Runner
from segkit.bench.runner.settings import Settings

pytestmark = pytest.mark.integration

SETTINGS = Settings(rounds=2, round_seconds=0.3, prepare_timeout=240, controls=False)


def probe(**options) -> Case:
    written = ", ".join(f"{key}={value!r}" for key, value in options.items())
    return Case(task="benchmark", benchmark=f"probe({written})" if written else "probe", batch=4)


@pytest.fixture(scope="module")
def measured(probe_site):
    """All cases in one benchmark, as their rows by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(probe_site))
        patch.setenv("OMP_NUM_THREADS", "1")
        runner = Runner(SETTINGS, Quiet())
        cases = {
            "sleeps": probe(milliseconds=20),
            "allocates": probe(megabytes=100),
            "raises": probe(does="raise"),
            "exits": probe(does="exit"),
            "killed": probe(does="be killed"),
            "greedy": probe(does="want too much"),
            "refuses": probe(does="refuse"),
            "wrong": probe(error=0.2),
            "biased": Case(
                encoder="biased", decoder="unet", upsampler="nearest", loss="ce", size=16, batch=1
            ),
        }
        assert runner.run(list(cases.values()))
        return {name: runner.rows[case.name] for name, case in cases.items()}


def test_a_case_that_sleeps_20_ms_reads_20_ms(measured):
    row = measured["sleeps"]
    assert row.status == "ok", row.reason
    assert 0.020 <= row.times["step"].median <= 0.026
    assert row.images_per_s == pytest.approx(4 / row.times["step"].median)
    assert len(row.rounds) == 2 and row.times["step"].n == sum(row.steps)


def test_a_case_that_allocates_100_mb_reads_100_mb(measured):
    row = measured["allocates"]
    assert row.status == "ok", row.reason
    assert row.memory.peak_bytes == pytest.approx(100e6, rel=0.05)
    assert measured["sleeps"].memory.peak_bytes < 5e6


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("raises", "crashed", "ValueError: a fault of the component"),
        ("exits", "crashed", "the process ended with status 3"),
        ("killed", "crashed", "the process was ended by SIGKILL"),
        ("greedy", "oom", "can't allocate memory"),
        ("refuses", "refused", "SK-C007: this cannot work."),
    ],
)
def test_a_case_that_fails_is_a_row_with_the_reason(measured, name, status, reason):
    assert measured[name].status == status
    assert reason in measured[name].reason
    assert not measured[name].times


def test_a_wrong_output_is_refused_and_shows_no_speed(measured):
    for name in ("wrong", "biased"):
        row = measured[name]
        assert row.status == "wrong", row.reason
        assert not row.times and row.images_per_s is None
    assert "the error is 0.2, more than 0.1" in measured["wrong"].reason
    assert "of the same weights in float64" in measured["biased"].reason


def test_a_worker_that_does_not_answer_in_time_is_a_row(probes):
    runner = Runner(Settings(rounds=2, prepare_timeout=15, controls=False), Quiet())
    case = probe(does="hang")
    runner.run([case])
    assert runner.rows[case.name].status == "crashed"
    assert runner.rows[case.name].reason == "no answer in 15 s"
