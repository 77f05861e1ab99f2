"""The model: its mirror padding, and its folder on disk."""

import json

import numpy as np
import pytest
import torch

import segkit
from segkit.errors import ModelFileError
from segkit.model.padding import mirror_pad
from segkit.storage import SEAL


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return segkit.build_model(
        "densenet121(depth=2)", "unet", "bilinear", num_classes=4, in_channels=1
    ).eval()


@pytest.mark.parametrize("shape", [(9, 7), (2, 3), (1, 5)])
@pytest.mark.parametrize("margin", [0, 1, 6, 20])
def test_mirroring_equals_numpys(shape, margin):
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(1, 1, *shape)
    widths = ((0, 0), (0, 0), (margin, margin + 3), (margin, margin))
    expected = np.pad(image, widths, mode="reflect")
    np.testing.assert_array_equal(mirror_pad(torch.from_numpy(image), margin, (3, 0)), expected)


def test_pixels_are_normalised_by_hand(model):
    mean, std = model.encoder.normalization
    image_BCHW = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    expected = [(x / 255 - mean[0]) / std[0] for x in (0, 51, 255)]
    np.testing.assert_allclose(model.normalize(image_BCHW).flatten(), expected, rtol=1e-6)


def test_a_saved_model_gives_the_same_logits(model, tmp_path):
    segkit.save_model(model, tmp_path / "run" / "model", classes=("a", "b", "c", "d"))
    image_BCHW = torch.randn(1, 1, 33, 47)
    for path in (tmp_path / "run", tmp_path / "run" / "model"):
        loaded = segkit.load_model(path)
        assert torch.equal(loaded(image_BCHW), model(image_BCHW))
        assert not loaded.training
        assert list(loaded.record.classes) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_model_loaded_where_gradients_are_off_can_still_be_trained(model, tmp_path, mode):
    segkit.save_model(model, tmp_path / "model")
    with mode():
        loaded = segkit.load_model(tmp_path / "model")
    loaded(torch.randn(1, 1, 16, 16)).sum().backward()
    assert loaded.head.weight.grad is not None


def test_saving_again_replaces_the_whole_folder(model, tmp_path):
    for note in ("first", "second"):
        segkit.save_model(model, tmp_path / "model", training={"note": note})
    assert segkit.load_model(tmp_path / "model").record.training == {"note": "second"}
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_does_not_exist_says_what_to_give(tmp_path):
    with pytest.raises(ModelFileError) as caught:
        segkit.load_model(tmp_path / "nowhere")
    assert caught.value.code == "SK-M001"
    assert "does not exist" in caught.value.what
    assert "the folder that `segkit train` printed" in caught.value.fix


def test_a_damaged_file_is_found_before_it_is_used(model, tmp_path):
    folder = segkit.save_model(model, tmp_path / "model")
    tensors = folder / "model.safetensors"
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"is not the file that model\.json describes"):
        segkit.load_model(folder)


def change_description(folder, **changes):
    file = folder / "model.json"
    content = json.loads(file.read_text()) | changes
    del content[SEAL]
    file.write_text(json.dumps(content))


def test_a_model_of_a_missing_plugin_says_what_to_install(model, tmp_path):
    folder = segkit.save_model(model, tmp_path / "model")
    part = {"expression": "acme(depth=3)", "distribution": "acme-nets", "version": "2.1"}
    other = {"expression": "soft", "distribution": "other-ups", "version": "0.3"}
    change_description(folder, encoder=part, decoder=part, upsampler=other)
    with pytest.raises(ModelFileError) as caught:
        segkit.load_model(folder)
    assert caught.value.code == "SK-M003"
    assert caught.value.what == (
        "the model was built with the encoder acme of acme-nets 2.1 and the decoder acme of "
        "acme-nets 2.1 and the upsampler soft of other-ups 0.3, not installed here."
    )
    assert caught.value.fix == "python -m pip install acme-nets==2.1 other-ups==0.3"


def test_a_model_of_another_version_of_a_plugin_names_both(model, tmp_path):
    folder = segkit.save_model(model, tmp_path / "model")
    part = {"expression": "unet(gone=3)", "distribution": "segkit-unet", "version": "0.0.7"}
    change_description(folder, decoder=part)
    with pytest.raises(ModelFileError) as caught:
        segkit.load_model(folder)
    assert caught.value.what.startswith(
        "the model was built with unet of segkit-unet 0.0.7, and version 0.1.0 cannot be used"
    )
    assert caught.value.fix == "python -m pip install segkit-unet==0.0.7"


def test_a_description_cannot_name_python_code(model, tmp_path):
    folder = segkit.save_model(model, tmp_path / "model")
    part = {"expression": "os.system(x=1)", "distribution": "segkit-unet", "version": "1"}
    change_description(folder, decoder=part)
    with pytest.raises(ModelFileError, match=r"no decoder is called 'segkit-unet:os\.system'"):
        segkit.load_model(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [("{", "cannot be read"), ("[]", "cannot be read"), ('{"format": "x/9"}', "of format x/9")],
)
def test_an_unreadable_description_is_named(model, tmp_path, content, reason):
    folder = segkit.save_model(model, tmp_path / "model")
    (folder / "model.json").write_text(content)
    with pytest.raises(ModelFileError, match=reason):
        segkit.load_model(folder)
