"""Suites that name a baseline: which case is held against which, and what comes of it."""

import numpy as np
import pytest
import yaml

from segkit.bench.comparison.baselines import baselines_of, together, with_ratios
from segkit.bench.comparison.statistics import shortened, summarise
from segkit.bench.display.labels import (
    baselines_line,
    memory_beside_baseline,
    speed_beside_baseline,
)
from segkit.bench.order import Order, planned_cases, without_baseline
from segkit.bench.records.case import Case
from segkit.bench.records.controls import ControlPair, Controls
from segkit.bench.records.row import Memory, Row
from segkit.bench.suites.grid import Grid, cases_of
from segkit.bench.suites.suite import read_suite
from segkit.errors import UsageError
from segkit.registry.index import Index

SMP = "peers/smp_unet(encoder=resnet18, variant=default)"
BEST = "peers/smp_unet(encoder=resnet18, variant=best)"


def named(*cases: Case) -> dict[str, Case]:
    return {case.name: case for case in cases}


def network(**settings) -> Case:
    settings = {"loss": "ce"} | settings
    return Case(encoder="unet", decoder="unet", upsampler="bilinear", **settings)


def peer(written=SMP, **settings) -> Case:
    return Case(task="benchmark", benchmark=written, **settings)


def found(cases, written):
    """By case, its baseline, where all of them name the same."""
    return baselines_of(named(*cases), {case.name: written for case in cases})


def test_a_component_as_baseline_is_the_one_of_like_settings():
    cases = [
        f(precision=p, size=s) for f in (peer, network) for p in ("fp32", "bf16") for s in (64, 96)
    ]
    # However it is spaced and quoted.
    assert found(cases, "peers/smp_unet(encoder='resnet18',variant=default)") == {
        case.name: peer(precision=case.precision, size=case.size).name for case in cases
    }


def test_other_precisions_are_held_against_the_only_one_there_is():
    cases = [peer(), network(), network(precision="bf16")]
    assert found(cases, SMP)[cases[2].name] == peer().name


@pytest.mark.parametrize("other", [{"mode": "infer"}, {"size": 64}, {"batch": 2}, {"classes": 3}])
def test_what_differs_in_mode_or_shape_is_held_against_nothing(other):
    cases = [peer(), network(**other)]
    assert found(cases, SMP) == {peer().name: peer().name}


def test_of_several_that_use_a_component_the_most_like_is_taken():
    alone = {
        name: Case(task="upsampler", upsampler=name, channels=64)
        for name in ("bilinear", "nearest")
    }
    inside = {name: network().model_copy(update={"upsampler": name}) for name in alone}
    cases = [*alone.values(), *inside.values()]
    baselines = found(cases, "bilinear")
    assert baselines[alone["nearest"].name] == alone["bilinear"].name
    assert baselines[inside["nearest"].name] == inside["bilinear"].name


def test_settings_as_baseline_change_these_and_keep_the_rest():
    cases = [network(precision=p, channels_last=c) for p in ("fp32", "bf16") for c in (True, False)]
    baselines = found(cases, {"precision": "fp32", "channels_last": False})
    assert set(baselines.values()) == {network(channels_last=False).name}
    assert found(cases, {"precision": "fp32"})[cases[3].name] == cases[1].name
    assert found(cases, {"precision": "fp16"}) == {}


def test_a_baseline_goes_first_among_its_own():
    baselines = {"b": "c", "c": "c", "d": "c", "e": "a"}
    assert together([*"abcde"], baselines) == [["a", "e"], ["c", "b", "d"]]


def row(case: Case, rounds, *, group=1, units=8, megabytes=100, unit="image") -> Row:
    return Row(
        case=case,
        status="ok",
        unit=unit,
        units_per_step=units,
        times={"step": summarise(rounds)},
        steps=tuple(map(len, rounds)),
        rounds=tuple(map(shortened, rounds)),
        memory=Memory(peak_bytes=megabytes * 10**6, idle_bytes=0, method="VmHWM"),
        group=group,
    )


def drifting(seconds):
    drift_R = np.exp(0.3 * np.random.default_rng(0).standard_normal(10))
    return [[seconds * drift, seconds * drift] for drift in drift_R]


def relative(own, other, controls=None):
    baselines = {own.case.name: other.case.name, other.case.name: other.case.name}
    return with_ratios([other, own], baselines, controls)[1].relative


def test_speed_is_the_baselines_time_over_the_rows_and_memory_the_rows_over_the_baselines():
    found = relative(row(network(), drifting(0.1), megabytes=55), row(peer(), drifting(0.25)))
    assert (found.speed, found.low, found.high) == pytest.approx((2.5, 2.5, 2.5))
    assert found.memory == 0.55
    assert found.paired and not found.tie


def test_rows_of_different_groups_are_not_paired():
    own, other = row(network(), drifting(0.1), group=2), row(peer(), drifting(0.25))
    found = relative(own, other)
    assert not found.paired and found.low < 2 < 2.5 < 3 < found.high
    shown = own.model_copy(update={"relative": found})
    assert speed_beside_baseline(shown, interval=False) == "2.5, unpaired"
    assert "Unpaired: measured in other rounds" in baselines_line([shown])


def test_speed_is_per_image_where_both_count_images():
    other = row(peer(), drifting(0.1), units=4)
    assert relative(row(network(), drifting(0.1)), other).speed == pytest.approx(2)
    assert relative(row(network(), drifting(0.1), unit="tile"), other).speed == pytest.approx(1)


def test_a_ratio_within_the_a_a_band_is_a_tie():
    own, other = row(network(), drifting(0.1)), row(peer(), drifting(0.105))
    controls = Controls(pairs=(ControlPair(case="a", ratio=1.08, low=1.08, high=1.08),))
    assert not relative(own, other).tie and relative(own, other, controls).tie


def test_a_row_without_times_has_no_ratio():
    own = row(network(), drifting(0.1))
    lost = Row(case=peer(), status="oom", reason="too large")
    assert relative(own, lost) is None
    assert relative(lost.model_copy(update={"case": network()}), row(peer(), drifting(1))) is None


def test_ratios_in_words():
    other, own = row(peer(), drifting(0.25)), row(network(), drifting(0.1), megabytes=55)
    other, own = with_ratios(
        [other, own], {peer().name: peer().name, network().name: peer().name}, None
    )
    assert speed_beside_baseline(other) == "baseline" and memory_beside_baseline(other) == ""
    assert speed_beside_baseline(own) == "2.5 (2.5 to 2.5)"
    assert memory_beside_baseline(own) == "0.55"
    assert f"baseline: {peer().name}." in baselines_line([other, own])
    assert baselines_line([row(peer(), drifting(1))]) == ""


def test_a_grids_own_baseline_comes_before_the_suites(tmp_path):
    file = tmp_path / "mine.yaml"
    grids = [
        {"task": "loss", "loss": ["ce", "dice"]},
        {"task": "loss", "loss": ["ce", "dice"], "size": 64, "baseline": {"loss": "dice"}},
    ]
    file.write_text(yaml.safe_dump({"baseline": "ce", "grids": grids}))
    suite = read_suite(file)
    cases, baselines = planned_cases(Order(suite), suite.grids, None)
    first = [case for case in cases if case.size == 256]
    assert [baselines[case.name] for case in first] == [first[0].name] * 2
    second = [case for case in cases if case.size == 64]
    assert [baselines[case.name] for case in second] == [second[1].name] * 2


def test_a_baseline_that_is_not_measured_is_told_and_one_given_by_hand_refused(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"baseline": "ce", "grids": [{"task": "loss", "loss": "dice"}]}))
    suite = read_suite(file)
    cases, baselines = planned_cases(Order(suite), suite.grids, None)
    assert baselines == {}
    assert without_baseline(Order(suite), cases, baselines) == (
        "No ratios: the suite's baseline ce is not among these cases."
    )
    with pytest.raises(UsageError) as caught:
        without_baseline(Order(suite, baseline="nothing"), cases, baselines)
    assert str(caught.value) == (
        "SK-C009: the baseline 'nothing' is none of the 1 cases.\n"
        "         Give a case's name, or that of one of its components; --dry-run lists the cases."
    )


def test_a_suite_whose_peers_are_missing_says_how_to_install_them(tmp_path):
    file = tmp_path / "mine.yaml"
    grid = {"task": "benchmark", "benchmark": ["strangers/step(size=3)"]}
    settings = {"needs": "pip install -r strangers.txt", "grids": [grid]}
    file.write_text(yaml.safe_dump(settings))
    suite = read_suite(file)
    with pytest.raises(UsageError) as caught:
        planned_cases(Order(suite), suite.grids, None)
    assert str(caught.value) == (
        "SK-B004: the suite 'mine' measures strangers, which is not installed.\n"
        "         From a checkout of segkit: pip install -r strangers.txt"
    )


def test_the_likeness_of_all_axes_of_a_grid_is_no_error():
    cases = cases_of(Grid(task="data"), device="cpu", flops=None, index=Index([]))
    assert found(cases, "demo") == {cases[0].name: cases[0].name}
