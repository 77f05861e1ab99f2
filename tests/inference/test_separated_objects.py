"""A model that separates objects: numbers, tables and outlines are its own, whole or in tiles."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import nn

import segkit
from segkit.data.batches import collate
from segkit.data.opening.background import background_of
from segkit.errors import UsageError
from segkit.inference.files import PredictionSettings, predict_files
from segkit.inference.objects import background_label, find_objects, numbered_map
from segkit.inference.output import Output
from segkit.inference.predictor import Predictor
from segkit.inference.sources import find_sources
from segkit.inference.tiling import Tiling
from segkit.interfaces import Features, Normalization, Sample
from segkit.model.network import ModelRecord, Part, SegmentationModel
from segkit.scoring.evaluation import evaluate
from segkit.scoring.evaluator import Evaluator
from segkit.separation.distance import Distance
from segkit.separation.watershed import in_order

REACH = 12.0


class Seen(nn.Module):
    """An encoder that gives the picture itself."""

    channels, strides, normalization = (3,), (1,), Normalization((0.0,) * 3, (1.0,) * 3)

    def forward(self, image_BCHW):
        return Features([image_BCHW])


class Passed(nn.Module):
    """A decoder that passes it on."""

    channels, stride = 3, 1

    def forward(self, features):
        return features.maps[0]


def perfect_model(separates=True, least_area=1):
    """Reads from the picture what a perfect network says: red is foreground, green the distance."""
    part = Part("made", "made", "1")
    separation = f"distance(reach={REACH}, least_area={least_area})" if separates else ""
    record = ModelRecord(part, part, part, 2, 3, separation=separation, maps=int(separates))
    model = SegmentationModel(Seen(), Passed(), replace(record, classes=("background", "cell")))
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.weight[1, 0] = 1.0
        model.head.bias[:2] = torch.tensor([0.5, 0.0])
        if separates:
            model.head.weight[2, 1] = 1.0
            model.head.bias[2] = 0.0
    return model.eval()


def cells(count=6):
    """A row of discs that overlap, cut where they meet, and one alone."""
    y_H1, x_W = np.mgrid[:64, : 22 * count + 30]
    far_NHW = np.stack([np.hypot(y_H1 - 30, x_W - 22 * n - 20) for n in range(count)])
    return in_order(np.where(far_NHW.min(0) < 14, far_NHW.argmin(0) + 1, 0))


def picture(true_HW):
    depth_HW = Distance(reach=REACH).targets(true_HW)[0]
    planes = [255 * (true_HW > 0), np.rint(255 * depth_HW), 0 * true_HW]
    return np.stack(planes, axis=2).astype(np.uint8)


def wrong_share(found_HW, true_HW):
    return (found_HW != true_HW).sum() / (true_HW > 0).sum()


def test_objects_that_touch_are_told_apart_in_python_whole_and_in_tiles():
    true_HW = cells()
    model = perfect_model()
    for options in ({}, {"tile": 48}, {"tta": True}, {"probabilities": True}):
        answer = segkit.predict(model, picture(true_HW), **options)
        assert len(answer.objects) == 6, options
        assert wrong_share(numbered_map(answer.objects, true_HW.shape), true_HW) < 0.02
    assert len(segkit.predict(perfect_model(separates=False), picture(true_HW)).objects) == 1


def test_its_logits_are_those_of_the_classes():
    image_BCHW = torch.rand(2, 3, 17, 23)
    model = perfect_model()
    assert model(image_BCHW).shape == (2, 2, 17, 23)
    assert torch.equal(model.labels(image_BCHW), model(image_BCHW).argmax(1).to(torch.uint8))


def test_a_folder_gets_16_bit_numbers_a_table_and_outlines_of_the_same_objects(tmp_path):
    true_HW = cells()
    Image.fromarray(picture(true_HW)).save(tmp_path / "a.png")
    output = Output(tmp_path / "out", geojson=True, coco=True)
    asked = PredictionSettings("made")
    predictor = Predictor(perfect_model(), torch.device("cpu"))
    predict_files(predictor, find_sources([tmp_path / "a.png"]), output, asked=asked)
    number_HW = tifffile.imread(tmp_path / "out/objects/a.tif")
    assert number_HW.dtype == np.uint16
    assert wrong_share(number_HW, true_HW) < 0.02
    with (tmp_path / "out/objects.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        own_HW = number_HW == int(row["object"])
        assert int(row["area_pixels"]) == own_HW.sum()
        y, x = (places.mean() for places in np.nonzero(own_HW))
        assert (float(row["centre_y"]), float(row["centre_x"])) == pytest.approx((y, x), abs=0.01)
    assert [row["class"] for row in rows] == ["cell"] * 6
    assert len(json.loads((tmp_path / "out/geojson/a.geojson").read_text())["features"]) == 6
    assert len(json.loads((tmp_path / "out/coco.json").read_text())["annotations"]) == 6
    assert "objects/cell" in (tmp_path / "out/summary.csv").read_text()


def test_what_is_smaller_than_all_in_training_is_no_object_unless_it_is_asked_for(tmp_path):
    true_HW = np.pad(cells(), ((0, 20), (0, 0)))
    true_HW[70:75, 50:55] = 7
    Image.fromarray(picture(true_HW)).save(tmp_path / "a.png")
    predictor = Predictor(perfect_model(least_area=100), torch.device("cpu"))
    asked, sources = PredictionSettings("made"), find_sources([tmp_path / "a.png"])
    found = []
    for name, least_area in (("as-trained", None), ("all", 1), ("larger", 30)):
        output = Output(tmp_path / name, least_area=least_area)
        predict_files(predictor, sources, output, asked=asked)
        number_HW = tifffile.imread(tmp_path / name / "objects/a.tif")
        found.append((int(number_HW.max()), bool(number_HW[72, 52])))
    assert found == [(6, False), (7, True), (6, False)]
    # It stays what it is, foreground.
    answer = segkit.predict(predictor.model, picture(true_HW))
    assert (len(answer.objects), answer.labels[72, 52]) == (6, 1)


def test_an_object_is_of_the_class_that_most_of_its_pixels_have():
    number_HW = np.array([[1, 1, 1, 0, 2, 2]])
    label_HW = np.array([[1, 2, 2, 0, 1, 1]])
    found = find_objects(label_HW, ("ground", "cell", "fibre"), number_HW=number_HW)
    assert [each.name for each in found] == ["fibre", "cell"]


def test_the_background_need_not_be_the_first_class():
    digits = tuple(f"class {n}" for n in range(11))
    assert background_of(digits, {10: 94, 0: 3, 1: 3}) == 10
    assert background_of(("cell", "Background"), {0: 90, 1: 10}) == 1
    assert background_of(("background", "foreground"), {0: 10, 1: 90}) == 0
    assert background_of(("road", "sky", "car"), {0: 40, 1: 30, 2: 30}) == 0
    label_HW = np.array([[10, 10, 0, 10, 3, 3]])
    found = find_objects(label_HW, digits, background=10)
    assert [each.label for each in found] == [0, 3]
    assert background_label("class 3", digits, 10) == background_label(3, digits, 10) == 3
    assert background_label(None, digits, 10) == 10
    with pytest.raises(UsageError, match=r"(?s)background is 'clas 3'.*Did you mean 'class 3'"):
        background_label("clas 3", digits, 10)


def test_the_background_asked_for_is_no_object():
    true_HW = cells()
    answer = segkit.predict(perfect_model(False), picture(true_HW), background="cell")
    assert [each.name for each in answer.objects] == ["background"]


@pytest.mark.parametrize("tiling", [None, Tiling(48)])
def test_an_evaluation_scores_the_objects_that_the_model_tells_apart(alone, tiling):
    true_HW = cells().astype(np.int64)
    sample = Sample(picture(true_HW), (true_HW > 0).astype(np.int64), "cells", true_HW)
    evaluator = Evaluator("seg, ap, pq, miou", num_classes=2, ignore_index=None, group=alone)

    def scores(separates):
        predictor = Predictor(perfect_model(separates), torch.device("cpu"), tiling=tiling)
        return evaluate(predictor, [collate([sample])], evaluator, full_scale=255).values

    apart, joined = scores(separates=True), scores(separates=False)
    assert min(apart["seg"], apart["pq"], apart["ap/50"]) > 0.97
    # One answer covers all six: the largest is a sixth of it.
    assert joined["seg"] == pytest.approx(1 / 6, abs=0.03)
    assert joined["pq"] == joined["ap"] == 0
    assert apart["miou"] == joined["miou"] == 1
