"""Every component of segkit-upsamplers against the contract of its kind."""

import pytest

from segkit.testing import Case, conformance

pytestmark = pytest.mark.integration


@conformance(
    "segkit-upsamplers",
    examples={
        "nearest": ["nearest", "nearest(kernel=1)"],
        "transposed": [
            "transposed",
            "transposed(kernel=3)",
            "transposed(kernel=4, stride=scale, padding=0, bias=false)",
        ],
        "dysample": ["dysample", "dysample(style=pl, groups=1, dynamic_scope=true)"],
    },
)
def test_conformance(case: Case) -> None:
    case.run()
