"""Objects of slides: those of the whole image, across every border, and counted once."""

from __future__ import annotations

import csv
import json
from itertools import product

import cv2
import numpy as np
import pytest
import tifffile
import torch

import segkit
from segkit.data.files.spacing import Spacing
from segkit.errors import UsageError
from segkit.inference.files import PredictionSettings, predict_to_folder
from segkit.inference.objects import find_objects, numbered_map
from segkit.inference.outlines import coco_annotation, geojson, traced
from segkit.inference.output import Output, object_row
from segkit.inference.slides import objects as slide_objects
from segkit.inference.slides.kept import KeptRegions
from segkit.inference.slides.objects import SlideObjects
from segkit.inference.slides.outlining import Outlining
from segkit.inference.slides.regions import Cut
from segkit.reporting.pictures import palette_for
from segkit.separation.boundary import Boundary
from segkit.separation.centre import Centre
from segkit.separation.distance import Distance
from segkit.separation.watershed import without_specks

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


@pytest.mark.parametrize("rows", [1, 7])
def test_outlines_traced_band_by_band_are_byte_for_byte_those_of_the_whole(rows, tmp_path):
    """In the order of the numbers, whatever ends first; forgotten once it is written."""
    label_HW = painted(1)
    label_HW[5:295, 5:415][label_HW[5:295, 5:415] == 0] = 1
    label_HW[200:220] = 0  # bands without an object
    found = find_objects(label_HW, CLASSES)
    palette = ((0, 0, 0), (255, 0, 0), (0, 255, 0))
    number_HW = numbered_map(found, label_HW.shape)
    files = tmp_path / "a/x.geojson", tmp_path / "b/x.jsonl"
    table = [object_row(each) for each in found]
    with Outlining(table, label_HW.shape, palette, (1, 1), *files) as outlining:
        for top in range(0, len(label_HW), rows):
            outlining.add(number_HW[top : top + rows])
        assert not outlining._open
        outlining.write()
    assert files[0].read_text() == json.dumps(geojson(found, palette))
    both = zip(found, traced(found), strict=True)
    lines = [json.dumps(coco_annotation(each, outline, *label_HW.shape)) for each, outline in both]
    assert files[1].read_text().splitlines() == lines
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2


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


def discs_and_specks():
    """Nine discs far from the border, and a grid of specks of four pixels between them."""
    number_HW = np.zeros((130, 170), np.int32)
    for place, (y, x) in enumerate(product((7, 12), range(7, 165, 5)), start=10):
        number_HW[y : y + 2, x : x + 2] = place
    number_HW = np.tile(number_HW[:20], (7, 1))[:130] * (np.arange(130) < 126)[:, None]
    for place, (y, x) in enumerate(product((25, 65, 100), (30, 85, 140)), start=1):
        cv2.circle(number_HW, (x, y), 12, 0, -1)
        cv2.circle(number_HW, (x, y), 8, place, -1)
    return number_HW


def whole_and_in_tiles(separation, true_HW, folder):
    """Numbers by perfect maps, of the whole image and joined from tiles; and the tiles' rows."""
    maps_MHW = separation.targets(true_HW)
    if isinstance(separation, Boundary):
        maps_MHW = np.where(maps_MHW > 0, 9.0, -9.0)
    cut = Cut(*true_HW.shape, 96, 0.5, 16)
    labels = KeptRegions(folder / "labels", {}, np.dtype(np.uint8))
    windows = KeptRegions(folder / "windows", {}, np.dtype(np.uint32))
    for region in (region for band in cut.bands() for region in band):
        labels.add(region.number, (true_HW > 0)[region.rows, region.columns])
        seen = separation.decode(maps_MHW[:, *region.seen], true_HW[region.seen] > 0)
        windows.add(region.number, without_specks(seen, separation.least_area))
    parts = SlideObjects(cut, ("ground", "cell"), 0, 1, None)
    rows, found_HW = numbered_bands(parts.separated(labels, windows))
    whole_HW = separation.decode(maps_MHW, true_HW > 0)
    return without_specks(whole_HW, separation.least_area), rows, found_HW


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


@pytest.mark.parametrize("kind", [Boundary, Distance, Centre])
def test_specks_are_left_out_in_tiles_as_in_the_whole_image(kind, tmp_path):
    """Wherever they lie, where a tile ends too."""
    true_HW = discs_and_specks()
    separation = kind(reach=5.0, least_area=20)
    whole_HW, rows, found_HW = whole_and_in_tiles(separation, true_HW, tmp_path)
    assert len(rows) == whole_HW.max() == 9
    assert ((found_HW > 0) == (whole_HW > 0)).all()


@pytest.mark.parametrize("kind", [Boundary, Distance, Centre])
def test_every_separation_finds_in_tiles_the_objects_of_the_whole_image(kind, tmp_path):
    """Objects smaller than the margin, each told apart in what one tile sees of its maps."""
    whole_HW, rows, found_HW = whole_and_in_tiles(kind(reach=5.0), round_cells(130, 170), tmp_path)
    assert len(rows) == whole_HW.max() > 100
    areas = np.bincount(whole_HW.ravel()), np.bincount(found_HW.ravel())
    shared = []
    for number in range(1, len(rows) + 1):
        common_N = np.bincount(found_HW[whole_HW == number], minlength=len(rows) + 1)
        shared.append((common_N / (areas[0][number] + areas[1] - common_N))[1:].max())
    assert min(shared) > 0.8
    assert np.mean(shared) > 0.99


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


def predict(place, out, level=0, **options):
    asked = PredictionSettings(
        str(place / "model"),
        precision="fp32",
        tile=96,
        overlap=0.5,
        background="ground",
        level=level,
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


def test_outlines_of_a_slide_are_those_of_its_mask_in_pixels_of_the_finest_level(place):
    predict(place, "whole", geojson=True, coco=True)
    label_HW = tifffile.imread(place / "whole/masks/slide.tif")
    found = find_objects(label_HW, CLASSES, Spacing(0.25, 0.5, "\u00b5m"))
    palette = segkit.load_model(place / "model").record.palette
    expected = geojson(found, palette_for(3, palette))
    assert json.loads((place / "whole/geojson/slide.geojson").read_text()) == expected
    held = [sum(map(len, each["geometry"]["coordinates"])) for each in expected["features"]]
    assert len(held) > 20 and max(held) > 100
    first = expected["features"][0]["properties"]["measurements"]
    assert first == {"area pixels": found[0].area, "area \u00b5m\u00b2": found[0].area / 8}

    written = json.loads((place / "whole/coco.json").read_text())
    outlines = traced(found)
    for each, outline, annotation in zip(found, outlines, written["annotations"], strict=True):
        told = coco_annotation(each, outline, *label_HW.shape)
        assert annotation == {"id": each.number, "image_id": 1, **told}
    predict(place, "coarse", level=1, geojson=True)
    coarse = find_objects(tifffile.imread(place / "coarse/masks/slide.tif"), CLASSES)
    features = json.loads((place / "coarse/geojson/slide.geojson").read_text())["features"]
    for each, feature in zip(coarse, features, strict=True):
        x = [x for part in _parts(feature["geometry"]) for x, _ in part[0]]
        left, width = each.box[1], each.box[3] - each.box[1]
        # 421 pixels at the finest level are 211 at this one.
        assert [min(x), max(x)] == pytest.approx(
            [left * 421 / 211, (left + width) * 421 / 211], abs=1e-3
        )


def _parts(geometry):
    parts = geometry["coordinates"]
    return [parts] if geometry["type"] == "Polygon" else parts


def test_objects_of_a_separating_model_that_cannot_be_joined_are_refused(place):
    model = segkit.build_model("unet(width=4, depth=2)", num_classes=3).eval()
    segkit.save_model(model, place / "model", classes=("background", "foreground", "boundary"))
    asked = PredictionSettings(str(place / "model"), precision="fp32", tile=96, overlap=0.0)
    with pytest.raises(UsageError, match="cannot be joined where regions meet"):
        predict_to_folder(asked, [place / "slide.tif"], Output(place / "none", geojson=True))
    assert not (place / "none").exists()
