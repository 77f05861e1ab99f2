"""SMP's decoders and an encoder of each of its classes, against the contracts of their kinds."""

import pytest

from segkit.testing import Case, conformance

pytestmark = pytest.mark.integration

DECODERS = ["unet", "linknet", "fpn", "pspnet", "pan", "segformer"]
SLOW_DECODERS = ["unetplusplus", "manet", "deeplabv3", "deeplabv3plus", "upernet", "dpt"]
ENCODERS = ["resnet18", "resnet18(depth=3)", "resnet18(output_stride=16)"]
SLOW_ENCODERS = [
    *("vgg11", "densenet121", "mobilenet_v2", "mobileone_s0", "mit_b0", "efficientnet-b0"),
    *("xception", "inceptionv4", "dpn68", "timm-skresnet18", "timm-tf_efficientnet_lite0"),
]

# Kept, since SMP's weights were trained with it: the README tells users.
SHUFFLED = "SMP's attention of manet takes a (pixels, channels) matrix for (channels, pixels)"


@conformance(
    "segkit-smp",
    examples={
        "decoders/smp": [f"smp/{name}" for name in DECODERS + SLOW_DECODERS],
        "encoders/smp": [f"smp/{name}" for name in ENCODERS + SLOW_ENCODERS],
    },
    expected_failures={"decoders/smp/manet/keeps_everything_in_its_place": SHUFFLED},
    slow=[
        *(f"decoders/smp/{name}/*" for name in SLOW_DECODERS),
        *(f"encoders/smp/{name}/*" for name in SLOW_ENCODERS),
    ],
)
def test_conformance(case: Case) -> None:
    case.run()
