"""Objects: SciPy's components, exact outlines, sizes only where a file tells them."""

import numpy as np
import pytest
import tifffile
from matplotlib.path import Path as Outline
from PIL import Image
from scipy import ndimage

from segkit.data.files.spacing import Spacing, read_spacing
from segkit.data.layouts.shapes import from_run_lengths
from segkit.inference.objects import find_objects
from segkit.inference.outlines import coco_annotation, geojson, traced
from segkit.inference.tracing import doubled_area, outlines, runs_of

CLASSES = ("ground", "cell", "fibre")
PALETTE = ((0, 0, 0), (255, 0, 0), (0, 255, 0))


def label_map(seed, shape=(23, 31)):
    random = np.random.default_rng(seed)
    return np.where(random.random(shape) < 0.45, random.integers(1, 3, shape), 0).astype(np.uint8)


@pytest.mark.parametrize("seed", range(4))
def test_objects_are_scipys_components_with_their_areas_and_centres(seed):
    label_HW = label_map(seed)
    found = find_objects(label_HW, CLASSES)
    expected = []
    for label in (1, 2):
        number_HW, count = ndimage.label(label_HW == label, structure=np.ones((3, 3)))
        numbers = range(1, count + 1)
        areas = ndimage.sum_labels(np.ones_like(number_HW), number_HW, numbers)
        centres = ndimage.center_of_mass(np.ones_like(number_HW), number_HW, numbers)
        boxes = ndimage.find_objects(number_HW)
        for area, (y, x), (rows, columns) in zip(areas, centres, boxes, strict=True):
            box = (rows.start, columns.start, rows.stop, columns.stop)
            expected.append((label, int(area), round(y, 6), round(x, 6), box))
    ours = [(o.label, o.area, *(round(c, 6) for c in o.centre), o.box) for o in found]
    assert sorted(ours) == sorted(expected)
    assert [each.number for each in found] == list(range(1, len(found) + 1))
    assert {each.name for each in found} == {"cell", "fibre"}


def test_objects_put_back_make_the_label_map_and_small_ones_can_be_left_out():
    label_HW = label_map(5)
    again_HW = np.zeros_like(label_HW)
    for each in find_objects(label_HW, CLASSES):
        top, left, bottom, right = each.box
        again_HW[top:bottom, left:right][each.mask_hw] = each.label
        assert each.at_border == (0 in (top, left) or bottom == 23 or right == 31)
    assert (again_HW == label_HW).all()
    large = find_objects(label_HW, CLASSES, least_area=3)
    assert {each.area for each in large} == {
        each.area for each in find_objects(label_HW, CLASSES) if each.area >= 3
    }


def test_a_map_of_background_has_no_objects():
    assert find_objects(np.zeros((4, 5), np.uint8), CLASSES) == ()
    assert traced(()) == geojson((), ())["features"] == []


def test_a_boundary_class_keeps_touching_objects_apart():
    label_HW = np.zeros((12, 30), np.uint8)
    label_HW[1:11, 1:21] = 2
    label_HW[2:10, 2:10] = label_HW[2:10, 12:20] = 1
    label_HW[4:6, 25:27] = 2
    found = find_objects(label_HW, ("background", "foreground", "boundary"))
    assert [each.area for each in found] == [100, 100, 4]
    assert [each.box for each in found] == [(1, 1, 11, 11), (1, 11, 11, 21), (4, 25, 6, 27)]
    assert {each.name for each in found} == {"foreground"}


@pytest.mark.parametrize("seed", range(6))
def test_polygons_hold_exactly_the_pixels_of_their_object(seed):
    label_HW = label_map(seed, (14, 17))
    features = geojson(find_objects(label_HW, CLASSES), PALETTE)["features"]
    objects = find_objects(label_HW, CLASSES)
    y_HW, x_HW = np.mgrid[:14, :17] + 0.5
    centres_N2 = np.stack([x_HW.ravel(), y_HW.ravel()], axis=1)
    for each, feature in zip(objects, features, strict=True):
        shape = feature["geometry"]
        parts = shape["coordinates"]
        parts = [parts] if shape["type"] == "Polygon" else parts
        inside_N = np.zeros(14 * 17, bool)
        for outer, *holes in parts:
            held_N = Outline(outer).contains_points(centres_N2)
            for hole in holes:
                in_hole_N = Outline(hole).contains_points(centres_N2)
                assert (held_N | ~in_hole_N).all()
                held_N &= ~in_hole_N
            inside_N |= held_N
        expected_HW = np.zeros((14, 17), bool)
        top, left, bottom, right = each.box
        expected_HW[top:bottom, left:right] = each.mask_hw
        assert (inside_N.reshape(14, 17) == expected_HW).all()
        assert feature["properties"]["classification"]["name"] == each.name


def test_no_ring_touches_itself_and_their_areas_add_up():
    random = np.random.default_rng(0)
    for _ in range(60):
        mask_hw = random.random((9, 9)) < 0.55
        (outline,) = outlines([runs_of(mask_hw)[1]])
        parts = outline.polygons()
        rings = [ring for part in parts for ring in part]
        assert sum(map(doubled_area, rings)) == 2 * mask_hw.sum()
        assert all(len(set(ring)) == len(ring) for ring in rings)
        # Pixels that touch at their sides are one polygon.
        assert len(parts) == ndimage.label(mask_hw)[1]


def test_run_lengths_are_read_back_by_the_reader_of_coco_files():
    label_HW = label_map(3)
    objects = find_objects(label_HW, CLASSES)
    for each, outline in zip(objects, traced(objects), strict=True):
        annotation = coco_annotation(each, outline, *label_HW.shape)
        counts = annotation["segmentation"]["counts"]
        plain_N = np.repeat(np.arange(len(counts)) % 2, counts)
        plain_HW = plain_N.reshape(label_HW.shape[::-1]).T.astype(bool)
        assert (from_run_lengths(counts, *label_HW.shape).astype(bool) == plain_HW).all()
        left, top, width, height = annotation["bbox"]
        assert (plain_HW[top : top + height, left : left + width] == each.mask_hw).all()
        assert plain_HW.sum() == annotation["area"] == each.area


def write_tiff(file, **how):
    tifffile.imwrite(file, np.zeros((4, 6), np.uint8), **how)
    return read_spacing(file)


def test_sizes_are_taken_from_files_that_mean_them(tmp_path):
    imagej = {"imagej": True, "resolution": (4.0, 2.0), "metadata": {"unit": "um"}}
    assert write_tiff(tmp_path / "j.tif", **imagej) == Spacing(0.5, 0.25, "µm")
    ome = {"axes": "YX", "PhysicalSizeX": 0.3, "PhysicalSizeY": 0.4, "PhysicalSizeXUnit": "nm"}
    assert write_tiff(tmp_path / "o.ome.tif", metadata=ome) is None  # one unit for x, another for y
    both = {**ome, "PhysicalSizeYUnit": "nm"}
    assert write_tiff(tmp_path / "p.ome.tif", metadata=both) == Spacing(0.4, 0.3, "nm")
    fine = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}
    assert write_tiff(tmp_path / "c.tif", **fine) == Spacing(0.5, 0.5, "µm")


def test_a_printers_resolution_is_no_size(tmp_path):
    for number, how in enumerate(
        (
            {"resolution": (72, 72), "resolutionunit": "INCH"},
            {"resolution": (28, 28), "resolutionunit": "CENTIMETER"},
            {"imagej": True, "resolution": (1.0, 1.0)},
            {},
        )
    ):
        assert write_tiff(tmp_path / f"{number}.tif", **how) is None
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png", dpi=(300, 300))
    assert read_spacing(tmp_path / "a.png") is None
    (tmp_path / "broken.tif").write_bytes(b"II*\0nothing")
    assert read_spacing(tmp_path / "broken.tif") is None


def test_an_area_is_given_in_the_files_unit_too():
    label_HW = np.zeros((9, 9), np.uint8)
    label_HW[2:5, 3:7] = 1
    (cell,) = find_objects(label_HW, CLASSES, Spacing(0.5, 0.25, "µm"))
    assert (cell.area, cell.size, cell.unit, cell.centre) == (12, 1.5, "µm²", (3.0, 4.5))
