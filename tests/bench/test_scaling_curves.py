"""Curves of cost: which cases make one, and the exponents of known functions."""

import importlib.util
from pathlib import Path

import pytest

from segkit.bench.comparison.statistics import summarise
from segkit.bench.records.case import Case
from segkit.bench.records.row import Memory, Row

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "scaling.py"
pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="not in a checkout")


@pytest.fixture(scope="module")
def scaling():
    spec = importlib.util.spec_from_file_location("scaling", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(seconds, megabytes=100, **settings):
    case = Case(encoder="a", decoder="unet", upsampler="bilinear", loss="ce", **settings)
    memory = Memory(peak_bytes=megabytes * 10**6, idle_bytes=0, method="VmHWM")
    times = {"step": summarise([[seconds]])}
    return Row(case=case, status="ok", times=times, memory=memory)


def test_the_exponents_of_powers_are_theirs(scaling):
    points = [scaling.Point(x, 3 * x**1.5, int(1000 * x)) for x in (1, 2, 4, 8)]
    curve = scaling.fitted("a", points)
    assert curve["exponent"] == pytest.approx(1.5)
    assert curve["exponent_above"] == pytest.approx(1.5)
    assert curve["memory_exponent"] == pytest.approx(1)


def test_what_is_fixed_flattens_all_of_a_curve_and_hardly_its_upper_half(scaling):
    points = [scaling.Point(x, 10 + x) for x in (1, 4, 16, 64, 256, 1024)]
    curve = scaling.fitted("a", points)
    assert curve["exponent"] < 0.8 < 0.9 < curve["exponent_above"] < 1


def test_a_curve_is_of_cases_that_differ_in_one_thing(scaling):
    rows = [row(0.1 * size, size=size, batch=2) for size in (64, 128, 256)]
    rows += [row(0.1 * batch, size=64, batch=batch) for batch in (4, 8)]
    rows += [row(0.5, size=64, batch=2, classes=4), row(0.7, size=512, batch=2, mode="infer")]
    rows += [Row(case=Case(encoder="a", size=1024, batch=2), status="oom", reason="too large")]
    curves = scaling.curves_of(rows)
    assert {name: [point.x for point in points] for name, points in curves.items()} == {
        "pixels: a + unet + bilinear + ce, train, batch 2, fp32": [64**2, 128**2, 256**2],
        "batch: a + unet + bilinear + ce, train, 64px, fp32": [2, 4, 8],
    }


def test_steeper_than_linear_or_too_little_gain_does_not_pass(scaling):
    class Described:
        started, environment = "2026-01-01", type("E", (), {"hardware": "a", "packages": {}})

    straight = scaling.fitted("a", [scaling.Point(x, x) for x in (1, 2, 4)])
    steep = scaling.fitted("a", [scaling.Point(x, x**1.3) for x in (1, 2, 4)])
    pays, does_not = {"speed_up": 1.7, "cores": 2}, {"speed_up": 1.5, "cores": 2}
    found = scaling.verdict(Described, [straight], pays)
    assert found["passed"] and "1.70 times" in scaling.shown(found)
    assert not scaling.verdict(Described, [straight, steep], pays)["passed"]
    assert not scaling.verdict(Described, [straight], does_not)["passed"]
