"""Decoding the plainest files the quick way: Pillow's numbers to the last bit, or not at all."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segkit.data.files import quick_decoding
from segkit.data.files.decoding import decode
from segkit.data.files.quick_decoding import quick_jpeg, quick_png
from segkit.data.opening.open import open_data


def photograph(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(height)
    coarse_HWC = rng.integers(0, 256, (height // 7 + 2, width // 7 + 2, 3), np.uint8)
    image_HWC = cv2.resize(coarse_HWC, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(image_HWC + rng.normal(0, 9, image_HWC.shape), 0, 255).astype(np.uint8)


def written(array: np.ndarray, form: str, mode: str | None = None, **options: object) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"optimize": True},
        {"keep_rgb": True},
        {"restart_marker_blocks": 2},
    ],
)
@pytest.mark.parametrize("quality", [5, 75, 98])
def test_a_jpeg_decodes_to_pillows_numbers(subsampling, options, quality):
    for height, width in ((1, 1), (8, 17), (61, 43), (200, 301)):
        given = options | {"quality": quality}
        if "keep_rgb" not in options:
            given["subsampling"] = subsampling
        content = written(photograph(height, width), "JPEG", **given)
        expected = np.array(Image.open(io.BytesIO(content)))
        assert np.array_equal(quick_jpeg(content), expected)


@pytest.mark.parametrize("mode", ["L", "P"])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"compress_level": 0}])
def test_a_mask_of_greys_or_indices_decodes_to_pillows_numbers(mode, options):
    values_HW = (photograph(90, 131)[:, :, 0] // 16).astype(np.uint8)
    image = Image.fromarray(values_HW)
    if mode == "P":
        image = Image.fromarray(values_HW, "P")
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes())
        options = options | {"transparency": 3}
    file = io.BytesIO()
    image.save(file, "PNG", bits=8, **options)
    found = quick_png(file.getvalue())
    assert found is not None and np.array_equal(found, values_HW)


@pytest.mark.parametrize(
    "content",
    [
        written(np.zeros((9, 9), np.uint16), "PNG"),
        written(np.zeros((9, 9, 3), np.uint8), "PNG"),
        written(np.zeros((9, 9), np.uint8), "PNG", "1"),
        written(np.zeros((9, 9), np.uint8), "BMP"),
        written(np.zeros((9, 9), np.uint8), "PNG")[:50],
        written(np.zeros((9, 9), np.uint8), "PNG")[:-30],
        b"",
    ],
)
def test_other_and_damaged_masks_are_left_to_pillow(content):
    assert quick_png(content) is None


def test_a_library_that_decodes_otherwise_is_not_used(monkeypatch):
    content = written(photograph(30, 40), "JPEG")
    quick_decoding.decodes_as_pillow.cache_clear()
    right = cv2.imdecode
    monkeypatch.setattr(quick_decoding.cv2, "imdecode", lambda *given: right(*given) // 2 * 2)
    assert quick_jpeg(content) is None
    monkeypatch.undo()
    quick_decoding.decodes_as_pillow.cache_clear()
    assert quick_jpeg(content) is not None


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """JPEGs: plain, grey, CMYK, and two turned by EXIF, with masks that fit them."""
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for number in range(5):
        image = Image.fromarray(photograph(40, 56))
        image = image.convert({1: "L", 2: "CMYK"}.get(number, "RGB"))
        exif = Image.Exif()
        exif[274] = {3: 6, 4: 3}.get(number, 1)
        image.save(tmp_path / "images" / f"{number}.jpg", exif=exif)
        shape = (56, 40) if number == 3 else (40, 56)
        values_HW = np.random.default_rng(number).integers(0, 3, shape, np.uint8)
        Image.fromarray(values_HW).save(tmp_path / "masks" / f"{number}.png")
    (tmp_path / "data.yaml").write_text("exif: apply\n")
    return tmp_path


def test_a_folder_reads_the_same_with_and_without_the_quick_way(photos, monkeypatch):
    dataset = open_data(photos).split("all")
    quick = [dataset[index] for index in range(5)]
    assert {path.name for path in dataset.reader.plain} >= {"0.jpg", "0.png", "4.png"}
    assert not {"1.jpg", "2.jpg", "3.jpg", "4.jpg"} & {p.name for p in dataset.reader.plain}
    for name in ("quick_jpeg", "quick_png"):
        monkeypatch.setattr(f"segkit.data.opening.item_reader.{name}", lambda _: None)
    for before, index in zip(quick, range(5), strict=True):
        assert np.array_equal(before.image, dataset[index].image)
        assert np.array_equal(before.mask, dataset[index].mask)


def test_a_file_changed_since_it_was_checked_is_decoded_with_care(photos, monkeypatch):
    dataset = open_data(photos).split("all")
    changed_HWC = np.full((40, 56, 3), 7, np.uint8)
    Image.fromarray(changed_HWC).save(photos / "images" / "0.jpg")
    met: list[Path] = []

    def careful(path: Path, **options: object) -> object:
        met.append(path)
        return decode(path, **options)

    monkeypatch.setattr("segkit.data.files.images.decode", careful)
    assert np.array_equal(dataset[0].image, changed_HWC)
    assert [path.name for path in met] == ["0.jpg"]
