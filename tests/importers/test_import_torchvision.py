"""torchvision's DeepLabV3 gives the same outputs once imported; the others are refused by name."""

import pytest
import torch
from torchvision.models import segmentation

from segkit.errors import ModelFileError
from segkit.importers.importing import import_checkpoint
from segkit.model.folder import load_model, save_model


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


@pytest.mark.integration
def test_images_of_any_size_get_the_same_logits_and_labels_from_the_saved_model(tmp_path):
    network = source("deeplabv3_resnet50")
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    torch.save(network.state_dict(), tmp_path / "network.pth")
    imported = import_checkpoint(tmp_path / "network.pth")
    save_model(imported.model, tmp_path / "model")
    model = load_model(tmp_path / "model").eval()
    for height, width in ((375, 500), (65, 97), (33, 40)):
        image_BCHW = torch.randn(1, 3, height, width)
        with torch.no_grad():
            theirs_BKHW = network(image_BCHW)["out"]
            torch.testing.assert_close(model(image_BCHW), theirs_BKHW, rtol=1e-4, atol=1e-5)
            label_BHW = model.labels(image_BCHW)
        assert (label_BHW == theirs_BKHW.argmax(dim=1)).all()
    assert imported.plan.notes == ()


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
