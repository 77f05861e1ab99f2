"""Every component of segkit-bench-gpu against the contract of its kind."""

from segkit.testing import Case, conformance


@conformance("segkit-bench-gpu")
def test_conformance(case: Case) -> None:
    case.run()
