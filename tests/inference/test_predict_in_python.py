"""`model.predict` on what people have: paths, PIL images, arrays of any depth, lists of them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import segkit
from segkit.errors import DataError, OutOfMemory, UsageError
from segkit.inference import predict as predict_room
from segkit.inference.predictor import Predictor

WHITE_12 = {"intensity": {"scaling": "range", "black": 0.0, "white": 4095.0, "dtype": "uint16"}}


@pytest.fixture
def saved(tmp_path):
    """saved(classes, **record): a small network's folder."""

    def saved(num_classes=3, in_channels=1, **record):
        torch.manual_seed(0)
        model = segkit.build_model(
            "unet(width=6, depth=2)", num_classes=num_classes, in_channels=in_channels
        )
        return segkit.save_model(model, tmp_path / "model", **record)

    return saved


def picture(shape=(20, 31), seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_a_path_a_pil_image_and_arrays_give_the_masks_of_the_command(saved, tmp_path):
    from click.testing import CliRunner

    from segkit.cli.predict_command import command

    model, image_HW = segkit.load_model(saved()), picture()
    file = tmp_path / "one.png"
    Image.fromarray(image_HW).save(file)
    given = [str(tmp_path / "model"), str(file), "--out", str(tmp_path / "out")]
    CliRunner().invoke(command, given, catch_exceptions=False)
    written_HW = np.asarray(Image.open(tmp_path / "out/masks/one.png"))
    forms = [str(file), file, Image.open(file), image_HW, image_HW[..., None]]
    for form in forms:
        assert np.array_equal(model.predict(form).labels, written_HW)
    several = model.predict(forms)
    assert [np.array_equal(each.labels, written_HW) for each in several] == [True] * len(forms)
    assert np.array_equal(segkit.predict(tmp_path / "model", file).labels, written_HW)


def test_the_recorded_white_is_used_and_other_values_are_refused(saved):
    model = segkit.load_model(saved(training=WHITE_12))
    image_HW = picture().astype(np.uint16) * 16
    expected_HW = Predictor(model, torch.device("cpu"), "fp32").label_maps(
        [image_HW[..., None]], 4095.0
    )[0]
    assert np.array_equal(model.predict(image_HW, precision="fp32").labels, expected_HW)
    with pytest.raises(DataError, match="SK-D034: image 1: these 8-bit images cannot reach white"):
        model.predict(picture())
    assert model.predict(picture(), intensity="fixed(0, 255)").labels.shape == (20, 31)


def test_an_answer_has_names_shares_probabilities_and_pictures(saved, tmp_path):
    colours = ((0, 0, 0), (200, 10, 10), (10, 200, 10))
    model = segkit.load_model(saved(classes=("sky", "<b>road", "car"), palette=colours))
    assert model.classes == ("sky", "<b>road", "car")
    answer = model.predict(picture(), probabilities=True)
    assert answer.classes == model.classes
    assert answer.palette == colours
    assert answer.probabilities.shape == (3, 20, 31)
    assert answer.probabilities.sum(0) == pytest.approx(1, abs=1e-2)
    for label, name in enumerate(model.classes):
        assert answer.shares[name] == pytest.approx((answer.labels == label).mean(), abs=1e-6)
    folder = answer.save(tmp_path / "answer")
    assert np.array_equal(np.asarray(Image.open(folder / "mask.png")), answer.labels)
    assert json.loads((folder / "prediction.json").read_text())["shares"] == dict(answer.shares)
    assert Image.open(folder / "overlay.png").size == answer.overlay().size
    assert answer._repr_png_().startswith(b"\x89PNG")
    assert "20 x 31, height x width" in repr(answer)


def test_one_output_is_background_and_foreground(saved):
    answer = segkit.load_model(saved(num_classes=1)).predict(picture(), probabilities=True)
    assert answer.classes == ("background", "foreground")
    assert set(np.unique(answer.labels)) <= {0, 1}
    assert np.array_equal(answer.probabilities[1] > 0.5, answer.labels == 1)


def test_channels_are_fitted_as_in_training(saved):
    model = segkit.load_model(saved(in_channels=3))
    grey_HW = picture()
    rgba_HWC = np.dstack([grey_HW] * 3 + [np.full_like(grey_HW, 9)])
    assert np.array_equal(model.predict(grey_HW).labels, model.predict(rgba_HWC).labels)
    with pytest.raises(DataError, match="SK-D011: image 1 has 5 channels"):
        model.predict(picture((8, 9, 5)))


NO_IMAGES = [np.zeros(3, np.uint8), np.zeros((2, 3), int), np.zeros((0, 4)), np.zeros((2, 2), "U1")]


@pytest.mark.parametrize("wrong", NO_IMAGES)
def test_what_is_no_image_is_refused(saved, wrong):
    with pytest.raises(UsageError, match="and no image"):
        segkit.load_model(saved()).predict(wrong)


def test_a_tensor_is_refused_with_the_way_to_give_it(saved):
    with pytest.raises(UsageError, match=r"tensor\.permute\(1, 2, 0\)"):
        segkit.load_model(saved()).predict(torch.zeros(3, 4, 4))


def test_where_memory_ends_tiles_are_tried_and_halved(saved, monkeypatch):
    model, seen = segkit.load_model(saved()), []
    whole = Predictor.labels

    def small(self, pixels_BCHW, full_scale, tiling=None):
        seen.append(tiling.tile if tiling else None)
        if tiling is None or tiling.tile > 256:
            raise torch.OutOfMemoryError("no memory")
        return whole(self, pixels_BCHW, full_scale, tiling)

    monkeypatch.setattr(Predictor, "labels", small)
    assert model.predict(picture((40, 50))).labels.shape == (40, 50)
    assert seen == [None, 1024, 512, 256]
    with pytest.raises(OutOfMemory, match="in tiles of 512 x 512"):
        model.predict(picture((40, 50)), tile=512)


def test_large_images_are_tiled_unasked(saved, monkeypatch):
    monkeypatch.setattr(predict_room, "WHOLE", 32 * 32)
    monkeypatch.setattr(predict_room, "TILE", 32)
    model = segkit.load_model(saved())
    image_HW = picture((50, 70))
    asked_HW = model.predict(image_HW, tile=32).labels
    assert np.array_equal(model.predict(image_HW).labels, asked_HW)


def test_the_network_is_rewritten_once_until_its_weights_change(saved, monkeypatch):
    made = []
    rewrite = predict_room.Predictor.__post_init__

    def counting(self):
        made.append(self.rewritten is None)
        rewrite(self)

    monkeypatch.setattr(predict_room.Predictor, "__post_init__", counting)
    model = segkit.load_model(saved())
    first_HW = model.predict(picture()).labels
    assert np.array_equal(model.predict(picture()).labels, first_HW)
    with torch.no_grad():
        model.head.bias.add_(torch.tensor([0.0, 100.0, 0.0]))
    assert (model.predict(picture()).labels == 1).all()
    assert made == [True, False, True]


def test_a_training_an_evaluation_and_an_answer_in_four_lines(tmp_path):
    result = segkit.train(
        encoder="unet(width=4, depth=2)", epochs=1, out=str(tmp_path / "run"), size=32, samples=1
    )
    found = segkit.evaluate(result.folder)
    assert found.scores.values["miou"] == pytest.approx(result.scores["miou"])
    data = segkit.open_data()
    sample = data.split("val")[0]
    answer = segkit.load_model(result.folder).predict(sample.image)
    assert answer.labels.shape == sample.mask.shape
    assert answer.classes == tuple(data.classes)
    with pytest.raises(UsageError, match="Did you mean 'ignore_index'"):
        segkit.open_data(ignore_indx=3)
    with pytest.raises(UsageError, match="encodr"):
        segkit.train(encodr="unet")
