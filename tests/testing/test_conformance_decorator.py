"""The decorator: which cases there are, what they are called, and how known failures are listed."""

import pytest

from segkit.errors import UsageError
from segkit.interfaces import KINDS
from segkit.registry.components import Registry
from segkit.registry.index import Index
from segkit.testing import Case, conformance
from segkit.testing.conformance import checks_of, collect_cases
from segkit.testing.subject import claim_of, mend_of

pytest_plugins = ["pytester"]

PLUGIN = """
from segkit.api import Factory, hookimpl

class Fixed:
    def __init__(self, device, *, count: int = 1):
        self.unit, self.count = "image", count

    def set_up(self):
        pass

    def run(self):
        return self.count

@hookimpl
def segkit_benchmark(name: str) -> Factory | None:
    return Fixed if name in ("one", "family/member") else None

@hookimpl
def segkit_members(kind: str, family: str):
    return ["family/member"] if family == "family" else None
"""
ENTRIES = {"benchmarks": {"one": "acme_module", "family": "acme_module"}}
TEST = """
from segkit.registry.components import Registry
from segkit.testing import conformance

@conformance("acme", registry=Registry(), {arguments})
def test_conformance(case):
    case.run()
"""


@pytest.fixture
def registry(install_fake):
    install_fake("acme", ENTRIES, acme_module=PLUGIN)
    return Registry(Index.of_installed(()))


def collected(registry, **arguments) -> list[Case]:
    defaults = {"examples": None, "make_root": None, "registry": registry}
    return collect_cases("acme", **(defaults | arguments))


def test_there_is_a_case_for_every_component_and_check(registry):
    ids = [case.id for case in collected(registry)]
    assert len(ids) == 2 * len(checks_of("benchmarks"))
    assert "benchmarks/one/runs_after_set_up" in ids


def test_examples_stand_for_the_bare_name(registry):
    examples = {"family": ["family/member"], "benchmarks/one": ["one", "one(count=2)"]}
    written = {case.subject.written for case in collected(registry, examples=examples)}
    assert written == {"family/member", "one", "one(count=2)"}


def test_a_distribution_that_is_not_installed_is_named(registry):
    with pytest.raises(UsageError) as caught:
        conformance("segkit-nowhere", registry=registry)
    assert "no installed distribution called 'segkit-nowhere' offers a component" in str(
        caught.value
    )
    assert "python -m pip install -e ." in caught.value.fix


@pytest.mark.parametrize(
    "stale",
    [
        {"expected_failures": {"benchmarks/one/no_such_check": "because"}},
        {"slow": ["benchmarks/gone/*"]},
        {"examples": {"gone": ["gone(1)"]}},
    ],
)
def test_a_pattern_that_names_nothing_is_refused(registry, stale):
    with pytest.raises(UsageError, match=r"names none of the \d+ conformance cases or components"):
        conformance("acme", registry=registry, **stale)


def test_every_check_says_what_it_expects_and_what_to_do():
    for kind in KINDS:
        names = [check.__name__ for check in checks_of(kind)]
        assert len(set(names)) == len(names)
        for check in checks_of(kind):
            assert claim_of(check).endswith((".", ")")), check.__name__
            assert mend_of(check).endswith((".", ")")), check.__name__


@pytest.fixture
def run(pytester, registry):
    def run(arguments):
        pytester.makepyfile(TEST.format(arguments=arguments))
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-k", "runs_after_set_up")

    return run


# Three components are written; one check of each is chosen.
OTHERS = 3 * (len(checks_of("benchmarks")) - 1)
FAMILY = "examples={'family': ['family/member', 'family/member(count=0)']}"


def test_cases_run_under_pytest_and_a_broken_component_fails(run):
    ran = run(FAMILY)
    ran.assert_outcomes(passed=2, failed=1, deselected=OTHERS)
    ran.stdout.fnmatch_lines(["*run() returned [[]0, 0, 0[]], not how many units it processed*"])


def test_a_known_failure_is_no_failure(run):
    known = "expected_failures={'benchmarks/family/member(count=0)/*': 'counts nothing'}"
    ran = run(f"{FAMILY}, {known}")
    ran.assert_outcomes(passed=2, xfailed=1, deselected=OTHERS)


def test_a_known_failure_that_passes_fails(run):
    known = "expected_failures={'benchmarks/one/runs_after_set_up': 'wrongly listed'}"
    ran = run(f"{FAMILY}, {known}")
    ran.assert_outcomes(passed=1, failed=2, deselected=OTHERS)
    ran.stdout.fnmatch_lines(["*XPASS(strict)*wrongly listed*"])


def test_another_distribution_may_offer_the_same_name(install_fake):
    install_fake("acme", ENTRIES, acme_module=PLUGIN)
    install_fake("other", {"benchmarks": {"one": "other_module"}}, other_module="")
    cases = collected(Registry(Index.of_installed(())))
    one = next(case.subject for case in cases if case.subject.written == "one")
    assert one.component.entry.distribution == "acme"
