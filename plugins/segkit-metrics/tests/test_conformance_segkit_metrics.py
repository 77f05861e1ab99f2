"""Every component of segkit-metrics against the contract of its kind."""

from segkit.testing import Case, conformance


@conformance("segkit-metrics")
def test_conformance(case: Case) -> None:
    case.run()
