"""Every component of segkit-densenet against the contract of its kind."""

import pytest

from segkit.testing import Case, conformance

pytestmark = pytest.mark.integration


@conformance("segkit-densenet", slow=[f"encoders/densenet{depth}/*" for depth in (161, 169, 201)])
def test_conformance(case: Case) -> None:
    case.run()
