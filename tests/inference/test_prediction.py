"""From a model and image files to masks: the labels, the files, and what goes wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from segkit.errors import OutOfMemory, UsageError
from segkit.inference.files import PredictionSettings, predict_files
from segkit.inference.output import Output
from segkit.inference.predictor import Predictor
from segkit.inference.sources import find_sources
from segkit.model.labels import most_likely
from segkit.model.network import ModelRecord, Part

PART = Part("fake", "fake", "1")


class Brightness(nn.Module):
    """Three classes by brightness, dark below 0.335 and bright above 0.665 (no 8-bit value)."""

    def __init__(self, in_channels=1, **record):
        super().__init__()
        self.record = ModelRecord(PART, PART, PART, 3, in_channels, **record)
        self.calls = []

    def normalize(self, image_BCHW, full_scale=255.0):
        return image_BCHW.float() / full_scale

    def forward(self, image_BCHW):
        self.calls.append(len(image_BCHW))
        grey_B1HW = image_BCHW.mean(dim=1, keepdim=True)
        return torch.cat([0.335 - grey_B1HW, 0 * grey_B1HW, grey_B1HW - 0.665], dim=1)

    def labels(self, image_BCHW):
        return most_likely(self(image_BCHW))


def truth(image_HW, full_scale=255):
    return np.digitize(image_HW / full_scale, [0.335, 0.665])


def predict(model, folder, out, *given, batch=1, **options):
    predictor = Predictor(model, torch.device("cpu"))
    sources = find_sources(given or [folder])
    output = Output(out, **options)
    return predict_files(predictor, sources, output, asked=PredictionSettings("run"), batch=batch)


@pytest.fixture
def images(tmp_path):
    folder, generator = tmp_path / "images", np.random.default_rng(0)
    folder.mkdir()
    pixels = {}
    for name, shape in {"one": (7, 11), "two": (7, 11), "tall": (13, 5)}.items():
        pixels[name] = generator.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels[name]).save(folder / f"{name}.png")
    return folder, pixels


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_masks_hold_the_classes_at_the_size_of_the_image(images, tmp_path, batch):
    folder, pixels = images
    predict(Brightness(), folder, tmp_path / "out", batch=batch)
    for name, image_HW in pixels.items():
        mask = Image.open(tmp_path / "out/masks" / f"{name}.png")
        assert mask.mode == "P"
        assert np.array_equal(np.asarray(mask), truth(image_HW))
        # Small images are enlarged, and have a legend below.
        assert Image.open(tmp_path / "out/overlays" / f"{name}.png").width >= 256


def test_only_images_of_one_size_share_a_batch(images, tmp_path):
    model = Brightness()
    predict(model, images[0], tmp_path / "out", batch=2)
    assert model.calls == [1, 1, 1]  # one, tall, two: neighbours differ
    (images[0] / "tall.png").unlink()
    predict(model, images[0], tmp_path / "again", batch=2)
    assert model.calls[3:] == [2]


def test_the_report_says_what_was_predicted_and_by_what(images, tmp_path):
    folder, pixels = images
    model = Brightness(
        classes=["dark", "middle", "bright"], palette=[(0, 0, 0), (9, 9, 9), (255,) * 3]
    )
    predict(model, folder, tmp_path / "out")
    written = json.loads((tmp_path / "out/predictions.json").read_text())
    assert written["classes"] == ["dark", "middle", "bright"]
    tall = next(each for each in written["images"] if each["file"].endswith("tall.png"))
    assert (tall["height"], tall["width"], tall["mask"]) == (13, 5, "masks/tall.png")
    expected = np.bincount(truth(pixels["tall"]).ravel(), minlength=3) / 65
    assert list(tall["shares"].values()) == pytest.approx(expected, abs=1e-6)
    assert Image.open(tmp_path / "out/masks/tall.png").getpalette()[3:6] == [9, 9, 9]


def test_a_bad_image_is_named_and_the_others_go_on(images, tmp_path):
    folder, pixels = images
    whole = (folder / "one.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    report = predict(Brightness(), folder, tmp_path / "out")
    assert len(report.images) == len(pixels)
    [failed] = report.failed
    assert failed.code == "SK-D004"
    assert "cut.png" in failed.what
    assert (
        json.loads((tmp_path / "out/predictions.json").read_text())["failed"][0]["code"]
        == "SK-D004"
    )


def test_existing_results_are_not_replaced_unasked(images, tmp_path):
    out = tmp_path / "out"
    predict(Brightness(), images[0], out)
    before = {p: p.read_bytes() for p in out.rglob("*.png")}
    with pytest.raises(UsageError) as caught:
        predict(Brightness(classes=["a", "b", "c"]), images[0], out)
    assert caught.value.code == "SK-C012"
    assert "holds 7 of the files to be written already" in caught.value.what
    assert "--overwrite" in caught.value.fix
    assert before == {p: p.read_bytes() for p in out.rglob("*.png")}
    predict(Brightness(), images[0], out, overwrite=True)


def test_an_image_is_never_replaced_by_its_own_mask(images, tmp_path):
    folder, _ = images
    masks = folder.rename(tmp_path / "masks")
    with pytest.raises(UsageError, match="its mask would replace it"):
        predict(Brightness(), masks, tmp_path, overwrite=True)


def test_nothing_is_written_but_into_the_output_folder(images, tmp_path):
    before = {p.relative_to(tmp_path) for p in tmp_path.rglob("*")}
    predict(Brightness(), images[0], tmp_path / "out", overlays=False)
    new = {p.relative_to(tmp_path) for p in tmp_path.rglob("*")} - before
    assert {p.parts[0] for p in new} == {"out"}
    assert not list((tmp_path / "out").rglob(".tmp*"))
    assert not (tmp_path / "out/overlays").exists()


def test_deep_images_keep_their_depth(tmp_path):
    image_HW = np.linspace(0, 65535, 35).reshape(5, 7).astype(np.uint16)
    Image.fromarray(image_HW).save(tmp_path / "deep.png")
    predict(Brightness(), tmp_path, tmp_path / "out")
    mask_HW = np.asarray(Image.open(tmp_path / "out/masks/deep.png"))
    assert np.array_equal(mask_HW, truth(image_HW, 65535))


def test_grey_images_go_into_a_model_of_three_channels(images, tmp_path):
    folder, pixels = images
    predict(Brightness(in_channels=3), folder, tmp_path / "out")
    assert np.array_equal(
        np.asarray(Image.open(tmp_path / "out/masks/one.png")), truth(pixels["one"])
    )


def test_a_single_logit_is_a_class_where_it_is_positive():
    logits_BKHW = torch.tensor([[[[-1.0, 0.5]]]])
    assert most_likely(logits_BKHW).tolist() == [[[0, 1]]]


def test_memory_that_is_too_small_halves_the_batch_and_then_says_so():
    class Small(Brightness):
        def forward(self, image_BCHW):
            if len(image_BCHW) > self.fits:
                raise torch.OutOfMemoryError("no memory")
            return super().forward(image_BCHW)

    model = Small()
    predictor = Predictor(model, torch.device("cpu"))
    images = [np.full((4, 6, 1), value, np.uint8) for value in (0, 100, 250)]
    model.fits = 1
    assert [int(label_HW[0, 0]) for label_HW in predictor.label_maps(images, 255)] == [0, 1, 2]
    model.fits = 0
    with pytest.raises(
        OutOfMemory,
        match=r"an image of 4 x 6 pixels \(height x width\) does not fit into cpu's memory",
    ):
        predictor.label_maps(images, 255)


def test_real_images_of_any_size_are_predicted(tmp_path):
    import os

    import segkit

    root = os.environ.get("SEGKIT_TEST_DATA")
    if not root:
        pytest.skip("SEGKIT_TEST_DATA is not set")
    given = [
        next(iter(sorted(Path(root).glob(f"{name}/**/*.png")))) for name in ("isbi2012", "camvid")
    ]
    model = segkit.build_model("unet(width=8, depth=3)", num_classes=4).eval()
    report = predict(model, tmp_path, tmp_path / "out", *given)
    for each in report.images:
        assert Image.open(tmp_path / "out" / each.mask).size == Image.open(each.file).size
    assert len(report.images) == 2
