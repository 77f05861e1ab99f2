"""torchvision's DeepLabV3 gives the same outputs once imported; the others are refused by name."""

import pytest
import torch
from torchvision.models import segmentation

from segkit.errors import ModelFileError
from segkit.importers.importing import import_checkpoint


def source(name, **options):
    torch.manual_seed(0)
    network = getattr(segmentation, name)(
        weights=None, weights_backbone=None, num_classes=4, **options
    )
    return network.eval()


@pytest.mark.parametrize(
    "name",
    ["deeplabv3_resnet50", pytest.param("deeplabv3_resnet101", marks=pytest.mark.slow)],
)
def test_the_imported_network_gives_the_same_logits(tmp_path, name):
    network = source(name, aux_loss=True)
    torch.save(network.state_dict(), tmp_path / "network.pth")
    imported = import_checkpoint(tmp_path / "network.pth")
    image_BCHW = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected_BKHW, logits_BKHW = network(image_BCHW)["out"], imported.model(image_BCHW)
    assert expected_BKHW.std() > 1e-4
    torch.testing.assert_close(logits_BKHW, expected_BKHW, rtol=1e-4, atol=1e-5)
    assert {key.partition(".")[0] for key in imported.plan.left_out} == {"aux_classifier"}


def test_the_report_says_where_outputs_differ(tmp_path):
    network = source("deeplabv3_resnet50")
    torch.save(network.state_dict(), tmp_path / "network.pth")
    imported = import_checkpoint(tmp_path / "network.pth")
    image_BCHW = torch.randn(1, 3, 65, 97)
    with torch.no_grad():
        theirs_BKHW, ours_BKHW = network(image_BCHW)["out"], imported.model(image_BCHW)
    assert not torch.allclose(theirs_BKHW, ours_BKHW, rtol=1e-2)
    [note] = imported.plan.notes
    assert "are torchvision's where both sides are multiples of 8" in note


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("fcn_resnet50", "its FCN head, a 3x3 convolution before the classifier"),
        ("deeplabv3_mobilenet_v3_large", "its backbone is neither ResNet-50 nor ResNet-101"),
        ("lraspp_mobilenet_v3_large", "its backbone is neither ResNet-50 nor ResNet-101"),
    ],
)
def test_what_segkit_cannot_represent_is_refused_with_the_reason(tmp_path, name, why):
    torch.save(source(name).state_dict(), tmp_path / "network.pth")
    with pytest.raises(ModelFileError) as caught:
        import_checkpoint(tmp_path / "network.pth")
    assert caught.value.code == "SK-M006"
    assert why in caught.value.what
    assert "deeplabv3_resnet50 and deeplabv3_resnet101" in caught.value.fix
