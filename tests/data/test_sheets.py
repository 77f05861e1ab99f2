"""Sheets of images beside their masks: a legend for every colour, dim images brightened."""

import numpy as np
from PIL import Image

from segkit.data.checks import sheets
from segkit.data.checks.sheets import Key, sheet_of_data, sheet_of_files
from segkit.data.opening.inspection import inspect
from segkit.data.opening.open import open_data


def stored(root, masks, bright=200):
    for name, mask_HW in masks.items():
        for kind in ("images", "masks"):
            (root / kind).mkdir(parents=True, exist_ok=True)
        pixels_HW = np.random.default_rng(0).integers(0, bright, mask_HW.shape, dtype=np.uint8)
        Image.fromarray(pixels_HW).save(root / f"images/{name}.png")
        Image.fromarray(mask_HW).save(root / f"masks/{name}.png")
    return root


def drawn(monkeypatch):
    """The legends and titles of the sheets that are made from now on."""
    legends, titles = [], []
    monkeypatch.setattr(sheets, "with_legend", lambda sheet, rows: legends.append(rows) or sheet)
    beside = sheets.side_by_side
    monkeypatch.setattr(
        sheets, "side_by_side", lambda each, names=(): titles.extend(names) or beside(each, names)
    )
    return legends, titles


def test_values_that_nobody_understands_have_one_colour_in_all_masks_and_a_legend(
    tmp_path, monkeypatch
):
    legends, _ = drawn(monkeypatch)
    masks = {"a": np.full((40, 40), 3, np.uint8), "b": np.full((40, 40), 1, np.uint8)}
    masks["a"][:20] = 2
    seen = inspect(stored(tmp_path / "set", masks))
    assert seen.labelling is None
    assert sheet_of_files(seen) is not None
    assert [text for _, text in legends[0]] == ["value 1", "value 2", "value 3"]
    assert len({colour for colour, _ in legends[0]}) == 3


def test_the_background_is_the_class_that_covers_most_and_dim_images_are_brightened(
    tmp_path, monkeypatch
):
    legends, titles = drawn(monkeypatch)
    mask_HW = np.full((40, 40), 2, np.uint8)
    mask_HW[:8, :8], mask_HW[-8:, -8:] = 0, 1
    root = stored(tmp_path / "set", {"a": mask_HW, "b": mask_HW}, bright=50)
    for _ in (sheet_of_files(inspect(root)), sheet_of_data(open_data(root))):
        assert [text for _, text in legends.pop()] == [
            "class 0",
            "class 1",
            "class 2 (not coloured)",
        ]
    assert sum(each.startswith("brightened 5.") for each in titles) == 4


def test_a_legend_of_many_says_how_many_it_leaves_out():
    names = [str(number) for number in range(30)]
    rows = Key(names, [(1, 1, 1)] * 30, 5, 0).rows(range(30))
    assert rows[0] == (None, "0 (not coloured)")
    assert rows[5] == (None, "hatched: ignored")
    assert rows[-1] == (None, "and 6 more")
