"""What is black and white: measured on the training data, recorded, and applied by all alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

from segkit.data.intensity import Intensity, find_intensity, read_intensity, recorded
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.errors import DataError, UsageError

MASK = np.tri(32, dtype=np.uint8)


@dataclass(frozen=True)
class Values:
    dtype: str
    lowest: float
    highest: float


def make_set(root: Path, images: list[np.ndarray], settings: str = "") -> Path:
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for number, image in enumerate(images):
        tifffile.imwrite(root / f"images/{number}.tif", image)
        tifffile.imwrite(root / f"masks/{number}.tif", MASK)
    if settings:
        (root / "data.yaml").write_text(settings)
    return root


def drawn(dtype: str, highest: float, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).random((32, 32)) * highest
    values.flat[0] = highest
    return values.astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "lowest", "highest", "black", "white"),
    [
        ("uint8", 3, 7, 0, 255),
        ("uint16", 0, 250, 0, 255),
        ("uint16", 0, 256, 0, 1023),
        ("uint16", 9, 4095, 0, 4095),
        ("uint16", 0, 40_000, 0, 65535),
        ("float32", 0, 0.2, 0, 1),
        ("float32", 0, 1.15, 0, 1),
        ("float32", 0, 3.5, 0, 3.5),
        ("float32", 0, 254.6, 0, 255),
        ("float32", -1000, 3000, -1000, 3000),
    ],
)
def test_the_range_is_that_of_the_camera(dtype, lowest, highest, black, white):
    found, _ = find_intensity(None, [Values(dtype, lowest, highest)])
    assert (found.black, found.white, found.dtype) == (black, white, dtype)


def test_black_becomes_0_and_white_1_in_the_images_that_are_given_out(tmp_path):
    image = drawn("float32", 900) - 300
    data = open_data(make_set(tmp_path, [image, image]))
    given = data.split("all")[0].image / data.full_scale
    assert np.allclose(given[..., 0], (image - image.min()) / (image.max() - image.min()))


def test_percentiles_are_those_of_the_training_images(tmp_path):
    images = [drawn("uint16", 500 * n, n) for n in range(1, 5)]
    data = open_data(make_set(tmp_path, images), DataOptions(intensity=Intensity("percentile")))
    low, high = np.percentile(np.stack(images), (0.5, 99.5))
    trained = [int(sample.id) for sample in data.split("train")] if "train" in data.splits else []
    if trained:
        low, high = np.percentile(np.stack([images[i] for i in trained]), (0.5, 99.5))
    assert (data.intensity.black, data.intensity.white) == pytest.approx((low, high))
    given = data.split("all")[2].image[..., 0]
    assert np.allclose(given, ((images[2] - low) / (high - low)).clip(0, 1), atol=1e-6)


def test_each_image_is_scaled_by_itself_where_that_is_asked(tmp_path):
    image = drawn("uint16", 800)
    root = make_set(tmp_path, [image, image * 7], "intensity: per-image\n")
    first, second = (sample.image for sample in open_data(root).split("all"))
    assert first.dtype == np.float32 and (first.min(), first.max()) == (0, 1)
    assert np.allclose(first, second, atol=2e-3)


def test_scaled_pixels_are_cached_as_they_are_given(tmp_path, own_cache):
    root = make_set(tmp_path / "set", [drawn("uint16", 800, n) for n in range(4)])
    for scaling in ("per-image", "percentile", "fixed(100, 700)", "range"):
        wanted = read_intensity(scaling)
        plain, cached, again = (
            [
                s.image
                for s in open_data(root, DataOptions(intensity=wanted, cache=how)).split("all")
            ]
            for how in ("off", "on", "on")
        )
        assert all(np.array_equal(a, b) for a, b in zip(plain, cached, strict=True))
        assert all(np.array_equal(a, b) for a, b in zip(plain, again, strict=True))


@pytest.mark.parametrize(
    ("model", "dtype", "highest", "told", "white"),
    [
        (Intensity("range", 0, 255), "uint16", 60_000, "reach 60,000, and 255 counts as", 65535),
        (Intensity("range", 0, 4095), "uint8", 255, "cannot reach white, which is 4,095", 255),
        (Intensity("range", 0, 255), "float32", 0.9, "all would be black", 1),
        (Intensity("range", 0, 1), "uint8", 255, "reach 255, and 1 counts as white", 255),
        (Intensity("type"), "float32", 255, "reach 255, and 1 counts as white", 255),
    ],
)
def test_images_that_cannot_be_meant_are_refused_with_what_helps(
    tmp_path, model, dtype, highest, told, white
):
    root = make_set(tmp_path, [drawn(dtype, highest)] * 2)
    with pytest.raises(DataError) as caught:
        open_data(root, DataOptions(intensity=model))
    assert caught.value.code == "SK-D034"
    assert told in caught.value.what
    said = caught.value.fix.partition("--intensity ")[2].strip('"')
    assert said == f"fixed(0, {white})"
    assert open_data(root, DataOptions(intensity=read_intensity(said))).full_scale == white
    with pytest.raises(DataError, match=r"SK-D034: cell.tif: these"):
        model.refuse_misfit("cell.tif", drawn(dtype, highest))


@pytest.mark.parametrize(
    ("model", "dtype", "highest"),
    [
        (Intensity("range", 0, 255, "uint16"), "uint16", 250),
        (Intensity("range", 0, 255, "uint8"), "uint16", 255),
        (Intensity("range", 0, 255, "uint8"), "float32", 254.5),
        (Intensity("range", 0, 4095, "uint16"), "uint16", 1000),
        (Intensity("range", 0, 1, "float32"), "float32", 1.2),
    ],
)
def test_a_model_s_scale_is_kept_whatever_the_folder_reaches(tmp_path, model, dtype, highest):
    data = open_data(make_set(tmp_path, [drawn(dtype, highest)] * 2), DataOptions(intensity=model))
    assert data.full_scale == model.white
    model.refuse_misfit("cell.tif", drawn(dtype, highest))


def test_a_folder_that_stays_dark_is_told(tmp_path):
    model = Intensity("range", 0, 4095, "uint16")
    data = open_data(make_set(tmp_path, [drawn("uint16", 1000)] * 2), DataOptions(intensity=model))
    assert any("is 1,000, and 4,095 counts as white: they are seen at 24%" in n for n in data.notes)


@pytest.mark.parametrize("written", ["range", "percentile", "per-image", "fixed(10, 4095.5)"])
def test_what_a_model_records_is_read_as_it_was(tmp_path, written):
    found = open_data(
        make_set(tmp_path, [drawn("uint16", 700)] * 2),
        DataOptions(intensity=read_intensity(written)),
    ).intensity
    assert recorded({"intensity": yaml.safe_load(yaml.safe_dump(found.record()))}) == found


def test_a_network_of_another_library_goes_by_the_type():
    found = recorded({})
    assert [found.full_scale(d) for d in ("uint8", "uint16", "float32")] == [255, 65535, 1]


@pytest.mark.parametrize("written", ["fixed", "fixed(3)", "fixed(9, 1)", "fixed(0, inf)", "minmax"])
def test_an_intensity_that_is_none_is_refused_with_those_there_are(written):
    with pytest.raises(UsageError) as caught:
        read_intensity(written)
    assert "none of range, percentile, per-image or fixed(BLACK, WHITE)" in caught.value.what
    assert caught.value.fix == "For images of 12 bits, for example: fixed(0, 4095)."


def test_images_of_two_depths_may_be_scaled_each_by_itself(tmp_path):
    images = [drawn("uint16", 700), drawn("uint8", 200)]
    root = make_set(tmp_path, images)
    with pytest.raises(DataError, match=r"SK-D011(.|\n)*intensity: per-image"):
        open_data(root)
    data = open_data(root, DataOptions(intensity=Intensity("per-image")))
    assert {sample.image.dtype.name for sample in data.split("all")} == {"float32"}
