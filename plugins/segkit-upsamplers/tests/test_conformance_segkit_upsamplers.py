"""Every component of segkit-upsamplers against the contract of its kind."""

from segkit.testing import Case, conformance


@conformance("segkit-upsamplers")
def test_conformance(case: Case) -> None:
    case.run()
