"""Every component of segkit-losses against the contract of its kind."""

from segkit.testing import Case, conformance


@conformance("segkit-losses")
def test_conformance(case: Case) -> None:
    case.run()
