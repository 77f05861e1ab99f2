"""The kit against components made for it: every wrong one is caught, every good one passes.

The wrong ones lie in corpus_<kind>.py beside this file, each with the check that is to see it and
what it is to see. Their modules are found by name, so that a second process can import them too.
"""

import contextlib
import os
import re
from importlib import import_module

import pytest
import torch

from segkit.interfaces import KINDS
from segkit.testing import Breach, Case, NotApplicable
from segkit.testing.conformance import checks_of

CORPUS = {kind: import_module(f"corpus_{kind}") for kind in KINDS}
CHECKS = {kind: {check.__name__: check for check in checks_of(kind)} for kind in KINDS}
WRONG = [
    pytest.param(kind, factory, *seen, id=f"{kind}-{factory.__name__}-{seen[0]}")
    for kind, corpus in CORPUS.items()
    for factory, seen in corpus.WRONG.items()
]
GOOD = [
    pytest.param(kind, factory, id=f"{kind}-{factory.__name__}")
    for kind, corpus in CORPUS.items()
    for factory in corpus.GOOD
]
# Asked of a distribution that is installed: test_import_checks.py has the wrong ones.
TOLD = r"{}\nexpected: (?P<due>.+)\ncame:     (?P<came>.+)\nto do:    (?P<mend>.+)"
# Their verdict does not hang on the numbers drawn, and they take long.
LEFT_OUT_OF_20 = {"exports", "travels_to_a_second_process", "travels_to_worker_processes"}
OF_DISTRIBUTIONS = {"import_leaves_the_process_alone", "unknown_option_is_refused"}


@pytest.fixture
def subject(subject_of):
    def make(kind, factory):
        return subject_of(kind, factory, getattr(CORPUS[kind], "make_root", None))

    return make


@pytest.mark.parametrize(("kind", "factory", "check", "seen"), WRONG)
def test_a_wrong_component_is_caught_and_its_author_told_what_to_do(
    kind, factory, check, seen, subject
):
    with pytest.raises(Breach) as caught:
        Case(subject(kind, factory), CHECKS[kind][check]).run()
    told = re.fullmatch(TOLD.format(f"{kind}/fake/{check}"), str(caught.value), re.DOTALL)
    assert told is not None
    assert re.search(seen, told["came"])
    assert min(len(told["due"]), len(told["mend"])) > 20


@pytest.mark.parametrize(("kind", "factory"), GOOD)
def test_a_good_component_passes(kind, factory, subject):
    passed = 0
    for name, check in CHECKS[kind].items():
        if name in OF_DISTRIBUTIONS:
            continue
        try:
            check(subject(kind, factory))
            passed += 1
        except NotApplicable:
            continue
    assert passed >= len(CHECKS[kind]) / 2


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "factory"), GOOD)
def test_no_check_is_flaky_in_20_runs(kind, factory, subject):
    for name, check in CHECKS[kind].items():
        if name in OF_DISTRIBUTIONS | LEFT_OUT_OF_20:
            continue
        for seed in range(20):
            torch.manual_seed(seed)
            with contextlib.suppress(NotApplicable):
                check(subject(kind, factory))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "factory", "check", "seen"), WRONG)
def test_what_is_wrong_is_caught_in_20_of_20_runs(kind, factory, check, seen, subject):
    for seed in range(20):
        torch.manual_seed(seed)
        with pytest.raises(Exception):  # noqa: B017
            CHECKS[kind][check](subject(kind, factory))


@pytest.mark.integration
@pytest.mark.parametrize("kind", KINDS)
def test_all_checks_of_one_component_cost_less_than_a_minute(kind, subject):
    """Of processor time here and in the processes it starts and ends, which a busy machine leaves
    alone."""
    before = cost()
    factory = CORPUS[kind].GOOD[0]
    for check in CHECKS[kind].values():
        with contextlib.suppress(NotApplicable, Breach):
            check(subject(kind, factory))
    assert cost() - before < 60


def cost() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


@pytest.mark.parametrize(
    ("kind", "factory", "check", "reason"),
    [
        ("decoders", "FromTwo", "fits_four_levels_from_stride_4", "it cannot begin at stride 4"),
        ("encoders", "Sound", "margins_are_one_per_level", "loses no border"),
        ("losses", "Sound", "fused_with_itself_adds_up", "it is no FusableLoss"),
        ("losses", "Sound", "coarse_logits_are_enlarged", "it is no CoarseLoss"),
        ("losses", "Sound", "instances_are_optional", "it is no InstanceLoss"),
        ("metrics", "Counting", "counts_determine_it", "not derived from a confusion matrix"),
        ("datasets", "Sound", "sizes_are_those_of_the_samples", "it offers no sizes"),
        ("datasets", "Sound", "splits_begin_with_train", "it offers no splits"),
        ("datasets", "Sound", "publication_says_terms_and_source", "it offers no published"),
    ],
)
def test_what_is_refused_or_not_offered_is_no_verdict(kind, factory, check, reason, subject):
    with pytest.raises(NotApplicable, match=reason):
        CHECKS[kind][check](subject(kind, getattr(CORPUS[kind], factory)))


def test_one_fault_is_one_failure_that_names_the_line(subject):
    returns_a_list = subject("encoders", CORPUS["encoders"].ReturnsAList)
    with pytest.raises(pytest.skip.Exception, match="before returns_features holds"):
        Case(returns_a_list, CHECKS["encoders"]["pool_indices_are_as_declared"]).run()
    windows = subject("encoders", CORPUS["encoders"].EvenMapsOnly)
    with pytest.raises(Breach, match=r"corpus_encoders.py, line \d+, `windows = coarse"):
        Case(windows, CHECKS["encoders"]["odd_maps_have_declared_shapes"]).run()


def test_without_data_there_is_no_verdict(subject_of):
    with pytest.raises(NotApplicable, match="make_root"):
        CHECKS["datasets"]["ids_are_unique"](subject_of("datasets", CORPUS["datasets"].Sound))


def test_every_check_has_something_to_catch():
    catching = {
        kind: {seen[0] for seen in corpus.WRONG.values()} for kind, corpus in CORPUS.items()
    }
    anywhere = set().union(*catching.values())
    for kind, checks in CHECKS.items():
        # Checks that several kinds share catch something in one of them.
        shared = {name for name, check in checks.items() if not check.__module__.endswith(kind)}
        assert set(checks) - shared <= catching[kind]
        assert shared - OF_DISTRIBUTIONS <= anywhere
