"""Choices in reading that data.yaml makes: alpha, pages, NaN and soft masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from segkit.data.opening.open import open_data
from segkit.errors import DataError

SIDE = 32
TRI = np.tri(SIDE, dtype=np.uint8)
RNG = np.random.default_rng(3)
COLOUR = RNG.integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)
MakeSet = Callable[..., Path]


def first(root: Path) -> np.ndarray:
    return open_data(root).split("all")[0].image


def tiff_set(
    root: Path, pages: np.ndarray, yaml: str = "", masks: np.ndarray | None = None
) -> Path:
    for folder, array in (("images", pages), ("masks", TRI if masks is None else masks)):
        (root / folder).mkdir(parents=True)
        tifffile.imwrite(root / folder / "a.tif", array, photometric="minisblack")
    if yaml:
        (root / "data.yaml").write_text(yaml, encoding="utf-8")
    return root


def test_alpha_is_dropped_and_the_note_says_how_to_keep_it(make_set: MakeSet):
    root = make_set({"a": TRI}, {"a": COLOUR})
    assert np.array_equal(first(root), COLOUR[:, :, :3])
    notes = " ".join(open_data(root).notes)
    assert "alpha is dropped in 1" in notes


def test_alpha_on_white_is_what_pillow_composes(make_set: MakeSet):
    root = make_set({"a": TRI}, {"a": COLOUR}, yaml="alpha: white\n")
    canvas = Image.new("RGBA", (SIDE, SIDE), "white")
    canvas.alpha_composite(Image.fromarray(COLOUR))
    expected = np.asarray(canvas.convert("RGB")).astype(int)
    # Pillow rounds its products twice.
    assert np.abs(first(root).astype(int) - expected).max() <= 1
    assert "1 with alpha are laid on white" in " ".join(open_data(root).notes)


def test_alpha_can_be_a_fourth_channel_and_is_opaque_where_a_file_has_none(make_set: MakeSet):
    images = {"a": COLOUR, "b": COLOUR[:, :, :3]}
    data = open_data(make_set({"a": TRI, "b": TRI}, images, yaml="alpha: channel\n"))
    with_alpha, without = data.split("all")[0].image, data.split("all")[1].image
    assert data.in_channels == 4
    assert np.array_equal(with_alpha, COLOUR)
    assert np.array_equal(without, np.dstack([COLOUR[:, :, :3], np.full((SIDE, SIDE), 255)]))


def test_alpha_as_a_channel_is_refused_beside_grey_files(make_set: MakeSet):
    root = make_set({"a": TRI, "b": TRI}, {"a": COLOUR, "b": COLOUR[:, :, 0]}, "alpha: channel\n")
    with pytest.raises(DataError, match="alpha cannot be a channel of all") as caught:
        open_data(root)
    assert "`alpha: drop`" in caught.value.fix


def test_the_page_asked_for_is_read_in_images_and_masks(tmp_path: Path):
    pages = RNG.integers(0, 60000, (3, SIDE, SIDE), dtype=np.uint16)
    masks = np.stack([TRI, 1 - TRI, TRI.T])
    root = tiff_set(tmp_path / "set", pages, "page: 2\n", masks)
    sample = open_data(root).split("all")[0]
    assert np.array_equal(sample.image[:, :, 0], pages[1])
    assert np.array_equal(sample.mask, masks[1])


def test_a_file_of_several_pages_names_the_setting_that_chooses_one(tmp_path: Path):
    root = tiff_set(tmp_path / "set", np.stack([TRI] * 3))
    with pytest.raises(DataError, match=r"a\.tif holds 3 pages") as caught:
        open_data(root)
    assert "`page: 1`" in caught.value.fix


def test_a_page_beyond_the_last_is_refused(tmp_path: Path):
    root = tiff_set(tmp_path / "set", np.stack([TRI] * 3), "page: 4\n", np.stack([TRI] * 4))
    with pytest.raises(DataError, match=r"images/a\.tif holds 3 pages, and page 4 is wanted\."):
        open_data(root)


def test_nan_becomes_the_value_asked_for(tmp_path: Path):
    values = RNG.random((SIDE, SIDE), dtype=np.float32)
    values[3, 4], values[5, 6] = np.nan, np.inf
    root = tiff_set(tmp_path / "set", values, "nan_fill: 0.5\n")
    image_HW = first(root)[:, :, 0]
    assert image_HW[3, 4] == image_HW[5, 6] == 0.5
    assert np.array_equal(np.delete(image_HW, (3, 5), 0), np.delete(values, (3, 5), 0))


def test_soft_masks_are_refused_until_they_are_asked_for(tmp_path: Path):
    soft = RNG.random((SIDE, SIDE), dtype=np.float32)
    with pytest.raises(DataError, match="holds fractions such as") as caught:
        open_data(tiff_set(tmp_path / "no", TRI, masks=soft))
    assert f"--declare 'soft: true', or `soft: true` in {tmp_path / 'no'}" in caught.value.fix
    data = open_data(tiff_set(tmp_path / "yes", TRI, "soft: true\n", soft))
    assert np.array_equal(data.split("all")[0].mask, soft >= 0.5)
    assert "Fractions count as label 1 from 0.5 on (soft: true)." in data.notes


@pytest.mark.parametrize("wrong", [1.5, -0.1, np.nan])
def test_soft_masks_stay_between_0_and_1(tmp_path: Path, wrong: float):
    soft = RNG.random((SIDE, SIDE), dtype=np.float32)
    soft[0, 0] = wrong
    with pytest.raises(DataError, match=r"and soft masks go from 0 to 1\."):
        open_data(tiff_set(tmp_path / "set", TRI, "soft: true\n", soft))


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("alpha: maybe", "alpha may be drop or white or channel."),
        ("page: 0", "page is a whole number from 1 on."),
        ("nan_fill: .nan", "nan_fill is a number."),
        ("soft: 1", "soft may be true or false."),
    ],
)
def test_a_choice_that_is_none_is_refused(make_set: MakeSet, line: str, fix: str):
    with pytest.raises(DataError) as caught:
        open_data(make_set({"a": TRI}, yaml=line + "\n"))
    assert caught.value.fix == fix


def test_the_alpha_of_a_tiff_is_laid_on_white_where_it_is_not_premultiplied(tmp_path: Path):
    for part, array in (("images", COLOUR), ("masks", TRI)):
        (tmp_path / part).mkdir()
        extra = {"photometric": "rgb", "extrasamples": ["unassalpha"]} if part == "images" else {}
        tifffile.imwrite(tmp_path / part / "a.tif", array, **extra)
    (tmp_path / "data.yaml").write_text("alpha: white\n")
    share = COLOUR[:, :, 3:].astype(float) / 255
    expected = np.rint(COLOUR[:, :, :3] * share + 255 * (1 - share))
    assert np.array_equal(first(tmp_path), expected)
