"""Every component of segkit-unet against the contract of its kind."""

import pytest

from segkit.testing import Case, conformance

pytestmark = pytest.mark.integration


@conformance(
    "segkit-unet",
    examples={
        "encoders/unet": ["unet(width=8)", "unet(width=8, padding=valid, norm=none)"],
        "decoders/unet": ["unet", "unet(norm=group, conv=separable)", "unet(output_stride=2)"],
        "decoders/segnet": ["segnet(any_upsampler=true)"],
        "decoders/linear": ["linear", "linear(dropout=0.1)"],
        "decoders/fcn": ["fcn(hidden=64)", "fcn(variant=16s, hidden=64, norm=none)"],
        "decoders/deeplabv3plus": [
            "deeplabv3plus(width=64)",
            "deeplabv3plus(width=64, conv=separable, dropout=0.0)",
        ],
    },
    slow=["encoders/vgg13_bn/*", "encoders/vgg16_bn/*", "encoders/vgg19_bn/*"],
)
def test_conformance(case: Case) -> None:
    case.run()
