"""Every component of segkit-unet against the contract of its kind."""

from segkit.testing import Case, conformance


@conformance("segkit-unet")
def test_conformance(case: Case) -> None:
    case.run()
