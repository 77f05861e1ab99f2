"""Two results side by side: a slow-down is caught, an unchanged one is not, intervals hold 1."""

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from segkit.bench.comparison.compare import Gate, compare, parse_gate
from segkit.bench.comparison.statistics import ratio_interval, shortened, summarise
from segkit.bench.records.case import Case
from segkit.bench.records.controls import ControlPair, Controls
from segkit.bench.records.machine import Environment
from segkit.bench.records.row import Memory, Row
from segkit.bench.records.run import Method, Run
from segkit.cli.main import main
from segkit.cli.main import segkit as command
from segkit.errors import UsageError

ROUNDS, STEPS = 5, 10
# A quiet machine: rounds drift by 1.5 %, steps scatter by 3 %, and one in fifty takes half longer.
DRIFT, SCATTER = 0.015, 0.03


def times(rng, seconds):
    drift_R = rng.normal(0, DRIFT, (ROUNDS, 1))
    scatter_RS = rng.normal(0, SCATTER, (ROUNDS, STEPS))
    late_RS = np.where(rng.random((ROUNDS, STEPS)) < 0.02, 1.5, 1.0)
    return [tuple(row) for row in seconds * late_RS * np.exp(drift_R + scatter_RS)]


def case(encoder="unet"):
    return Case(encoder=encoder, decoder="unet", upsampler="bilinear", loss="ce")


def row(rng, seconds=0.1, megabytes=1000, encoder="unet"):
    return row_of_rounds(times(rng, seconds), megabytes, encoder)


def row_of_rounds(rounds, megabytes=1000, encoder="unet"):
    summary = summarise(rounds)
    return Row(
        case=case(encoder),
        status="ok",
        times={"step": summary},
        steps=tuple(map(len, rounds)),
        rounds=tuple(map(shortened, rounds)),
        images_per_s=8 / summary.median,
        memory=Memory(peak_bytes=megabytes * 10**6, idle_bytes=0, method="VmHWM"),
    )


def run(*rows, band=1.0, **machine):
    environment = {
        "processor": "a processor",
        "cores": 2,
        "memory_bytes": 24 * 2**30,
        "system": "Linux",
        "architecture": "x86_64",
        "device": "cpu",
        "threads": 2,
        "python": "3.13",
        "packages": {"torch": "2.15"},
    }
    return Run(
        command="segkit bench",
        started="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        suite="quick",
        environment=Environment(**environment | machine),
        method=Method(rounds=ROUNDS, round_seconds=1, workers_alive=2, order="rotated", seed=0),
        aa=Controls(pairs=(ControlPair(case="unet", ratio=band, low=band, high=band),)),
        rows=rows,
    )


def failures(rng, factor, gate="slower>1.10"):
    """How many of 60 comparisons a gate fails, where B takes `factor` times as long."""
    gates = [parse_gate(gate)]
    return sum(
        bool(compare(run(row(rng)), run(row(rng, 0.1 * factor)), gates).failures) for _ in range(60)
    )


def test_a_slow_down_of_a_fifth_is_caught():
    assert failures(np.random.default_rng(0), 1.20) >= 58


def test_what_did_not_change_is_not_called_slower():
    assert failures(np.random.default_rng(1), 1.00) == 0


def test_the_interval_of_an_unchanged_case_holds_1_nineteen_times_in_twenty():
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(300):
        _, low, high = ratio_interval(times(rng, 0.1), times(rng, 0.1))
        held += low <= 1 <= high
    assert held / 300 >= 0.93


def test_the_interval_of_a_slow_down_holds_it_and_not_1():
    rng = np.random.default_rng(3)
    found = [ratio_interval(times(rng, 0.12), times(rng, 0.1)) for _ in range(100)]
    assert sum(low <= 1.2 <= high for _, low, high in found) >= 93
    assert sum(low > 1 for _, low, _ in found) >= 95


def test_verdicts_follow_the_ratio_of_b_over_a():
    rng = np.random.default_rng(4)
    before = run(row(rng, 0.1, encoder="a"), row(rng, 0.1, encoder="b"), row(rng, encoder="c"))
    after = run(row(rng, 0.2, encoder="a"), row(rng, 0.05, encoder="b"), row(rng, encoder="c"))
    result = compare(before, after)
    assert [each.verdict for each in result.comparisons] == ["slower", "faster", "tie"]
    assert result.comparisons[0].ratio == pytest.approx(2, rel=0.05)
    assert result.mean == pytest.approx(1, rel=0.05)


def test_a_difference_inside_the_a_a_band_of_either_is_a_tie():
    rng = np.random.default_rng(5)
    before, after = row(rng, 0.1), row(rng, 0.115)
    assert compare(run(before), run(after)).comparisons[0].verdict == "slower"
    assert compare(run(before, band=1.25), run(after)).comparisons[0].verdict == "tie"
    assert compare(run(before), run(after, band=0.8)).comparisons[0].verdict == "tie"


def test_more_memory_fails_its_gate():
    rng = np.random.default_rng(6)
    result = compare(run(row(rng)), run(row(rng, megabytes=1100)), [Gate("memory", 1.05)])
    assert result.failures == ((case().name, "needs 1.100 times the memory, more than 1.05"),)
    assert not compare(run(row(rng)), run(row(rng)), [Gate("memory", 1.05)]).failures


def test_a_case_that_b_could_not_measure_fails_every_gate():
    rng = np.random.default_rng(7)
    lost = Row(case=case(), status="oom", reason="killed at 23 GiB")
    result = compare(run(row(rng)), run(lost), [Gate("slower", 1.1)])
    assert result.comparisons[0].verdict == "lost"
    assert result.failures == (
        (case().name, "was measured in A and not in B (B: oom. killed at 23 GiB)"),
    )
    assert compare(run(lost), run(row(rng)), [Gate("slower", 1.1)]).failures == ()


def test_cases_of_one_result_only_and_changed_versions_are_told():
    rng = np.random.default_rng(8)
    before = run(row(rng), row(rng, encoder="old"))
    after = run(row(rng), row(rng, encoder="new"), packages={"torch": "2.16"}, threads=1)
    result = compare(before, after)
    assert result.only_a == (case("old").name,)
    assert result.only_b == (case("new").name,)
    assert result.changed == (("threads", "2", "1"), ("torch", "2.15", "2.16"))


def test_different_hardware_is_refused_unless_allowed():
    rng = np.random.default_rng(9)
    before, after = run(row(rng)), run(row(rng), cores=64)
    with pytest.raises(UsageError) as caught:
        compare(before, after)
    assert str(caught.value) == (
        "SK-B002: the results are from different hardware.\n"
        "           A: a processor, 2 cores, 24 GiB, x86_64, cpu\n"
        "           B: a processor, 64 cores, 24 GiB, x86_64, cpu\n"
        "         Measure both on one machine, or add --allow-different-hardware."
    )
    allowed = compare(before, after, allow_different_hardware=True)
    assert allowed.changed[0][0] == "hardware"


def test_results_without_a_common_case_are_refused():
    rng = np.random.default_rng(10)
    with pytest.raises(UsageError) as caught:
        compare(run(row(rng, encoder="a")), run(row(rng, encoder="b")))
    assert str(caught.value) == (
        "SK-B005: none of A's 1 cases is among B's 1.\n"
        "         Run the same suite with the same options for both."
    )


@pytest.mark.parametrize("text", ["slower", "slower>fast", "slower>0.9", "faster>1.1", "slower<1"])
def test_what_is_no_gate_is_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_gate(text)
    assert caught.value.what == f"'{text}' is no gate."
    assert caught.value.fix.startswith("Write --fail-if 'slower>1.10'")


@pytest.fixture
def results(tmp_path):
    rng = np.random.default_rng(11)
    runs = {"before": row(rng), "same": row(rng), "slower": row(rng, 0.12)}
    for name, each in runs.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "results.json").write_text(run(each).to_json())
    return tmp_path


@pytest.mark.parametrize(("after", "status"), [("same", 0), ("slower", 10)])
def test_a_gate_decides_the_exit_status(results, after, status):
    arguments = ["bench", "compare", str(results / "before"), str(results / after)]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--fail-if", "slower>1.10"])
    assert stopped.value.code == status


def test_the_command_shows_ratio_interval_and_verdict(results):
    files = [str(results / name / "results.json") for name in ("before", "slower")]
    shown = CliRunner().invoke(
        command, ["bench", "compare", *files, "--fail-if", "slower>1.10"], catch_exceptions=False
    )
    assert "unet, decoder unet, bilinear, ce, train, 256px, batch 8, fp32" in shown.output
    assert " slower " in shown.output
    assert "1 slower; geometric mean 1.2" in shown.output
    assert f"FAILED: {case().name} takes 1.2" in shown.output


def test_the_command_prints_json(results):
    files = [str(results / name) for name in ("before", "slower")]
    shown = CliRunner().invoke(command, ["bench", "compare", *files, "--json"])
    facts = json.loads(shown.stdout)
    found = facts["comparisons"][0]
    assert (facts["format"], found["verdict"]) == ("segkit-comparison/1", "slower")
    assert found["low"] < found["ratio"] < found["high"]
    assert found["memory_ratio"] == 1


def test_comparing_and_reporting_import_no_torch():
    modules = "segkit.bench.comparison.compare, segkit.bench.pages.result, segkit.bench.pages.page"
    probe = f"import sys, {modules}; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize("steps", [3, 8, 9, 200])
def test_a_comparison_of_short_results_says_what_one_of_all_steps_does(steps):
    rng = np.random.default_rng(steps)
    a, b = ([rng.lognormal(0, 0.2, steps) for _ in range(ROUNDS)] for _ in range(2))
    rows = [row_of_rounds(each) for each in (a, b)]
    ratio, low, high = ratio_interval(b, a)
    (found,) = compare(run(rows[0]), run(rows[1])).comparisons
    assert found.ratio == pytest.approx(ratio)
    assert (found.low, found.high) == pytest.approx((low, high), rel=0.06 if steps > 8 else 1e-9)
