"""Objects of slides: those of the whole image, across every border, and counted once."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest
import tifffile
import torch

import segkit
from segkit.errors import UsageError
from segkit.inference.files import PredictionSettings, predict_to_folder
from segkit.inference.objects import find_objects
from segkit.inference.output import Output, object_row
from segkit.inference.slides import objects as slide_objects
from segkit.inference.slides.kept import KeptRegions
from segkit.inference.slides.objects import SlideObjects
from segkit.inference.slides.regions import Cut

CLASSES = ("ground", "cell", "gap")


def painted(seed, height=300, width=421):
    """Labels of many shapes: specks, blobs, long curves and rings."""
    random = np.random.default_rng(seed)
    coarse = random.normal(size=(height // 9, width // 9)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    label_HW = np.digitize(smooth, [-0.2, 0.5]).astype(np.uint8)
    specks_HW = random.random((height, width)) < 0.01
    label_HW[specks_HW] = random.integers(0, 3, specks_HW.sum())
    return label_HW


def cut_of(label_HW, tile=64):
    return Cut(*label_HW.shape, tile, 0.5, 16)


def numbered_bands(found):
    rows, bands = found
    return rows.rows, np.concatenate(list(bands()))


@pytest.mark.parametrize("stripe", [1, 421 * 7, 2**22])
@pytest.mark.parametrize("least_area", [1, 5])
def test_connected_objects_are_those_of_the_whole_image(stripe, least_area, monkeypatch):
    monkeypatch.setattr(slide_objects, "STRIPE", stripe)
    label_HW = painted(0)
    parts = SlideObjects(cut_of(label_HW), CLASSES, 1, least_area, None)
    bands = [slice(top, top + 32) for top in range(0, 300, 32)]
    rows, number_HW = numbered_bands(parts.connected(lambda: (label_HW[each] for each in bands)))
    whole = find_objects(label_HW, CLASSES, least_area=least_area, background=1)
    assert rows == [object_row(each) for each in whole]
    expected_HW = np.zeros_like(number_HW)
    for each in whole:
        top, left, bottom, right = each.box
        expected_HW[top:bottom, left:right][each.mask_hw] = each.number
    assert np.array_equal(number_HW, expected_HW)


def round_cells(height, width):
    """Touching discs of a few sizes, as numbers."""
    number_HW = np.zeros((height, width), np.int32)
    random, place = np.random.default_rng(1), 0
    for y in range(0, height + 12, 13):
        for x in range(0, width + 12, 13):
            place += 1
            radius = int(random.integers(5, 8))
            cv2.circle(number_HW, (x, y + 4 * (x % 2)), radius, place, -1)
    return number_HW


def test_separated_objects_are_joined_at_every_border_and_touching_ones_are_not(tmp_path):
    number_HW = round_cells(300, 421)
    label_HW = (number_HW > 0).astype(np.uint8)
    cut = cut_of(label_HW)
    labels = KeptRegions(tmp_path / "labels", {}, np.dtype(np.uint8))
    windows = KeptRegions(tmp_path / "windows", {}, np.dtype(np.uint32))
    random = np.random.default_rng(0)
    for region in (region for band in cut.bands() for region in band):
        labels.add(region.number, label_HW[region.rows, region.columns])
        # What a region calls an object is its own.
        seen_hw = np.unique(number_HW[region.seen], return_inverse=True)[1]
        seen_hw = seen_hw.reshape(number_HW[region.seen].shape)
        renamed = np.concatenate([[0], 1 + random.permutation(seen_hw.max())])
        windows.add(region.number, renamed[seen_hw])
    parts = SlideObjects(cut, ("ground", "cell"), 0, 1, None)
    rows, found_HW = numbered_bands(parts.separated(labels, windows))
    pairs = np.unique(np.stack([number_HW.ravel(), found_HW.ravel()]), axis=1)
    assert len(pairs[0]) == len(np.unique(pairs[0])) == len(np.unique(pairs[1]))
    whole = find_objects(label_HW, ("ground", "cell"), number_HW=number_HW)
    assert rows == [object_row(each) for each in whole]


@pytest.fixture
def place(tmp_path):
    torch.manual_seed(0)
    picture = np.random.default_rng(0).integers(0, 256, (300, 421, 3), dtype=np.uint8)
    picture = cv2.GaussianBlur(picture, (0, 0), 4)
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
    options = {"photometric": "rgb", "tile": (64, 64), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(tmp_path / "slide.tif") as writer:
        writer.write(picture, subifds=1, resolution=(20000, 40000), **options)
        writer.write(picture[::2, ::2].copy(), subfiletype=1, **options)
    model = segkit.build_model("unet(width=4, depth=3)", num_classes=3).eval()
    with torch.no_grad():
        logits_BKHW = model(model.normalize(torch.from_numpy(picture).permute(2, 0, 1)[None]))
        model.head.bias -= logits_BKHW.flatten(2).median(dim=2).values[0]
    segkit.save_model(model, tmp_path / "model", classes=CLASSES)
    return tmp_path


def predict(place, out, overlap=0.5, **options):
    asked = PredictionSettings(
        str(place / "model"), precision="fp32", tile=96, overlap=overlap, background="ground"
    )
    output = Output(place / out, overlays=False, objects=True, **options)
    return predict_to_folder(asked, [place / "slide.tif"], output)


def test_predict_numbers_a_slides_objects_and_goes_on_after_a_stop(place):
    report = predict(place, "out")
    label_HW = tifffile.imread(place / "out/masks/slide.tif")
    number_HW = tifffile.imread(place / "out/objects/slide.tif")
    whole = find_objects(label_HW, CLASSES)
    assert number_HW.max() == len(whole) > 20
    with (place / "out/objects.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [int(row["area_pixels"]) for row in rows] == [each.area for each in whole]
    assert {row["unit"] for row in rows} != {""} and report.failed == []
    assert sorted(path.name for path in (place / "out/masks").iterdir()) == ["slide.tif"]
    (place / "out/objects/slide.tif").unlink()
    predict(place, "out", resume=True)
    assert np.array_equal(tifffile.imread(place / "out/objects/slide.tif"), number_HW)


def test_outlines_and_objects_that_cannot_be_joined_are_refused(place):
    with pytest.raises(UsageError, match="--objects numbers and measures objects of large images"):
        predict(place, "out", geojson=True)
    model = segkit.build_model("unet(width=4, depth=2)", num_classes=3).eval()
    segkit.save_model(model, place / "model", classes=("background", "foreground", "boundary"))
    asked = PredictionSettings(str(place / "model"), precision="fp32", tile=96, overlap=0.0)
    with pytest.raises(UsageError, match="cannot be joined where regions meet"):
        predict_to_folder(asked, [place / "slide.tif"], Output(place / "none", objects=True))
    assert not (place / "none").exists()
