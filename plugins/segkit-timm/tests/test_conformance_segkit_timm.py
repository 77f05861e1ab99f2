"""One encoder of each way in which timm's networks differ, against the encoder contract."""

import pytest

from segkit.testing import Case, conformance

pytestmark = pytest.mark.integration

EXAMPLES = [
    "timm/test_resnet",
    "timm/test_resnet(output_stride=16)",
    "timm/test_efficientnet(depth=3)",
    "timm/test_vit",
    "timm/test_vit(pyramid=true)",
    "timm/test_coatnet",
]
SLOW = [
    "timm/convnext_atto",
    "timm/swin_tiny_patch4_window7_224",
    "timm/vgg11",
    "timm/mobilevitv2_050",
]


@conformance(
    "segkit-timm",
    examples={"timm": EXAMPLES + SLOW},
    slow=[f"encoders/{name}/*" for name in SLOW],
)
def test_conformance(case: Case) -> None:
    case.run()
