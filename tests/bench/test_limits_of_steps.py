"""Limits: the least a step could take, by hand."""

import importlib.util
from itertools import pairwise
from pathlib import Path

import pytest

from segkit.bench.comparison.statistics import summarise
from segkit.bench.display.labels import limit_text
from segkit.bench.limits.counting import Step, StepCount
from segkit.bench.limits.roofline import achieved
from segkit.bench.limits.tracing import Operation
from segkit.bench.order import threads_of
from segkit.bench.records.case import Case
from segkit.bench.records.machine import Ceilings, Environment
from segkit.bench.records.row import Counts, Row
from segkit.bench.records.run import Method, Run
from segkit.bench.suites.grid import Grid

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "limits.py"
CEILINGS = Ceilings(matmul_flops={"fp32": 1e11}, convolution_flops={"fp32": 2e11}, copy_bytes=1e10)
CASE = Case(encoder="unet", decoder="unet", upsampler="bilinear", loss="ce")


def row(flops=None, fewest=None, seconds=1.0, **changes):
    counts = Counts(flops=flops, fewest_bytes=fewest)
    case = CASE.model_copy(update=changes)
    found = Row(case=case, status="ok", times={"step": summarise([[seconds]])}, counts=counts)
    return found.model_copy(update={"achieved": achieved(found, CEILINGS)})


@pytest.mark.parametrize(
    ("flops", "fewest", "least", "times"),
    [
        # 1e11 FLOPs at 2e11 a second, 1e9 bytes at 1e10: arithmetic takes longer.
        (10**11, 10**9, 0.5, 2.0),
        # 1e10 FLOPs and 8e9 bytes: traffic does.
        (10**10, 8 * 10**9, 0.8, 1.25),
        (None, 10**9, 0.1, 10.0),
        (10**11, None, 0.5, 2.0),
    ],
)
def test_the_distance_from_the_limit_is_by_hand(flops, fewest, least, times):
    found = row(flops, fewest).achieved
    assert found.least_s == pytest.approx(least)
    assert found.times_limit == pytest.approx(times)
    assert limit_text(row(flops, fewest)) == f"{times:.3g}"


def test_a_row_without_counts_or_with_other_threads_has_no_limit():
    assert limit_text(row()) == ""
    assert row(10**11, 10**9, threads=1).achieved.times_limit is None
    of_one = CEILINGS.model_copy(update={"threads": 1})
    found = row(10**11, 10**9, threads=1)
    assert achieved(found, of_one).times_limit == pytest.approx(2.0)
    assert achieved(row(10**11, 10**9), of_one).times_limit is None


def test_ceilings_are_measured_with_the_threads_of_the_cases():
    one, two = Grid(threads=1), Grid(threads=2)
    assert threads_of([one, one]) == 1
    assert threads_of([one, two]) is threads_of([one, Grid()]) is threads_of([Grid()]) is None


def test_a_peers_step_has_the_arithmetic_of_hand_calculation():
    peers = pytest.importorskip("segkit_bench_peers.networks")
    step = peers.ClassicUnet("cpu", size=32, batch=1, classes=2)
    step.set_up()
    counts = step.counts
    # 31.0 million parameters; per pixel, layer by layer: nine-fold convolutions, the enlarging
    # ones of four values each, and the last of one.
    widths, products = (64, 128, 256, 512, 1024), 9 * (3 * 64 + 64 * 64) + 64 * 2
    for level, (few, many) in enumerate(pairwise(widths), 1):
        products += 9 * (few * many + many * many) / 4**level
        products += (9 * (many * few + few * few) + many * few) / 4 ** (level - 1)
    assert counts["multiply_adds"] == products * 32 * 32
    # The image needs no gradient: its convolution has two products, all others three.
    assert counts["flops"] == 6 * counts["multiply_adds"] - 2 * 9 * 3 * 64 * 32 * 32
    assert 31.0e6 < counts["parameters"] < 31.1e6


@pytest.fixture(scope="module")
def script():
    if not SCRIPT.is_file():
        pytest.skip("not in a checkout")
    spec = importlib.util.spec_from_file_location("limits", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_phase_takes_the_longer_of_arithmetic_and_traffic(script, monkeypatch):
    operations = (
        Operation("forward", 4 * 10**10, 10**9),
        Operation("backward", 2 * 10**10, 5 * 10**9),
    )
    count = StepCount(
        parameters=1,
        operations=operations,
        fewest_bytes={"forward": 10**9, "backward": 3 * 10**9},
        saved_bytes=0,
        model_bytes=0,
        kept_bytes=0,
        peak_bytes=0,
        peak_phase="forward",
    )
    monkeypatch.setattr(script, "count_step", lambda step: count)
    found = script.limits(Step(encoder="unet", device="cpu"), CEILINGS)
    # Forward: 0.2 s of arithmetic, 0.1 of traffic; backward: 0.1 and 0.3.
    assert (found["arithmetic_ms"], found["traffic_ms"]) == (300, 400)
    assert found["least_ms"] == 500
    # Unfused, every operation by itself: 0.2 and 0.5.
    assert found["eager_ms"] == 700
    assert found["step"] == "unet + unet + bilinear + dice+ce, train, 8 x 512 x 512, fp32"


def test_rows_of_a_result_are_shown_the_nearest_first(script):
    run = Run(
        **{"command": "segkit bench", "started": "2026-01-01", "seconds": 1, "suite": "quick"},
        environment=Environment(
            **{"processor": "a processor", "cores": 2, "memory_bytes": 2**34, "system": "Linux"},
            **{"architecture": "x86_64", "device": "cpu", "threads": 2, "python": "3.13"},
            packages={},
        ),
        method=Method(rounds=5, round_seconds=1, workers_alive=2, order="rotated", seed=0),
        ceilings=CEILINGS,
        rows=(row(10**10, 10**9), row(10**11, 10**9, size=64), row(size=32)),
    )
    lines = script.distances(run).splitlines()
    assert "64px" in lines[2] and lines[2].split()[-3:] == ["500", "2", "arithmetic"]
    assert lines[3].split()[-3:] == ["100", "10", "memory"]
    assert len(lines) == 4
