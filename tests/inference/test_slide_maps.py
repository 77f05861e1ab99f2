"""Probabilities and doubt of slides: those of the whole picture, at the depth the file says."""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import segkit
from segkit.inference.files import PredictionSettings, predict_to_folder
from segkit.inference.output import Output

CLASSES = ("ground", "<cell & gap>")
MAPS = ("probabilities", "uncertainty", "mutual-information")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One picture as slide.tif, a pyramid, and as whole.png; a model that looks 22 pixels far."""
    folder = tmp_path_factory.mktemp("maps")
    torch.manual_seed(0)
    picture = np.random.default_rng(0).integers(0, 256, (160, 224, 3), dtype=np.uint8)
    picture = cv2.GaussianBlur(picture, (0, 0), 3)
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
    with tifffile.TiffWriter(folder / "slide.tif") as writer:
        writer.write(picture, subifds=1, photometric="rgb", tile=(64, 64))
        writer.write(picture[::2, ::2].copy(), subfiletype=1, photometric="rgb", tile=(64, 64))
    Image.fromarray(picture).save(folder / "whole.png")
    model = segkit.build_model("unet(width=4, depth=3)", "unet(dropout=0.3)", num_classes=2).eval()
    segkit.save_model(model, folder / "model", classes=CLASSES)
    return folder


def predict(place, image, out, on_region=lambda name, done, regions: None, **options):
    asked = PredictionSettings(
        str(place / "model"),
        precision="fp32",
        tile=128 if image.suffix != ".png" else None,
        overlap=0.5,
        mc_dropout=options.pop("mc_dropout", 0),
        tta=options.pop("tta", False),
    )
    output = Output(out, overlays=False, probabilities=True, uncertainty=True, **options)
    return predict_to_folder(asked, [image], output, on_region=on_region)


def test_maps_of_a_slide_are_the_whole_pictures(place, tmp_path):
    """Mirrors too: sides that the stride divides lie on the network's grid mirrored as well."""
    slide = predict(place, place / "slide.tif", tmp_path / "slide", tta=True)
    whole = predict(place, place / "whole.png", tmp_path / "whole", tta=True)
    answer = segkit.predict(
        place / "model", place / "whole.png", probabilities=True, tta=True, precision="fp32"
    )
    read = {kind: tifffile.imread(tmp_path / f"slide/{kind}/slide.tif") for kind in MAPS}
    assert {kind: read[kind].dtype.name for kind in MAPS} == dict(
        zip(MAPS, ("uint8", "uint16", "uint16"), strict=True)
    )
    float_KHW = tifffile.imread(tmp_path / "whole/probabilities/whole.tif")
    assert float_KHW.std() > 0.02
    assert np.abs(read["probabilities"] / 255 - float_KHW).max() <= 0.5 / 255 + 1e-4
    assert np.abs(read["uncertainty"] / 65535 - answer.uncertainty).max() < 1e-4
    assert np.abs(read["mutual-information"] / 65535 - answer.mutual_information).max() < 1e-4
    for name in ("doubt", "mutual_information"):
        of_slide, of_whole = getattr(slide.images[0], name), getattr(whole.images[0], name)
        assert of_slide == pytest.approx(of_whole, abs=1e-4)
    with (tmp_path / "slide/summary.csv").open(newline="") as opened:
        (row,) = csv.DictReader(opened)
    assert float(row["doubt_p95"]) == slide.images[0].doubt["p95"] > 0


def test_the_file_says_what_its_values_are_and_of_which_class(place, tmp_path):
    predict(place, place / "slide.tif", tmp_path / "out")
    with tifffile.TiffFile(tmp_path / "out/probabilities/slide.tif") as opened:
        said = tifffile.xml2dict(opened.ome_metadata)["OME"]["Image"]
        assert all(page.is_tiled for page in opened.pages)
    assert [each["Name"] for each in said["Pixels"]["Channel"]] == list(CLASSES)
    assert said["Description"] == "the probability of each class, 255 being 1"


def test_killed_and_continued_the_files_are_equal(place, tmp_path):
    class Killed(BaseException):
        pass

    def die(name, done, regions):
        if done == 3:
            raise Killed

    options = {"mc_dropout": 2, "objects": True, "geojson": True, "coco": True, "resume": True}
    predict(place, place / "slide.tif", tmp_path / "whole", **options)
    with pytest.raises(Killed):
        predict(place, place / "slide.tif", tmp_path / "parts", die, **options)
    # As if the kill had come in the middle of writing a region's second plane.
    kept = tmp_path / "parts/masks/slide.tif.probabilities.regions"
    kept.write_bytes(kept.read_bytes()[:-5])
    predict(place, place / "slide.tif", tmp_path / "parts", **options)
    one, other = (
        {p.relative_to(tmp_path / out): p.read_bytes() for p in (tmp_path / out).rglob("*.*")}
        for out in ("whole", "parts")
    )
    assert one == other and len(one) == 12


def test_maps_of_an_ome_zarr_are_ome_zarr(place, tmp_path):
    zarr = pytest.importorskip("zarr")
    picture = tifffile.imread(place / "slide.tif")
    group = zarr.open_group(tmp_path / "slide.zarr", mode="w", zarr_format=3)
    stored = group.create_array("0", shape=(3, 160, 224), dtype=np.uint8, chunks=(1, 90, 100))
    stored[:] = picture.transpose(2, 0, 1)
    axes = [{"name": name} for name in "cyx"]
    said = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
    group.attrs["ome"] = said
    predict(place, tmp_path / "slide.zarr", tmp_path / "zarr")
    predict(place, place / "slide.tif", tmp_path / "tiff")
    folder = tmp_path / "zarr/probabilities/slide.zarr"
    found_KHW = zarr.open_array(folder / "0", mode="r")[:]
    assert np.array_equal(found_KHW, tifffile.imread(tmp_path / "tiff/probabilities/slide.tif"))
    told = json.loads((folder / "zarr.json").read_text())["attributes"]["ome"]
    assert [each["label"] for each in told["omero"]["channels"]] == list(CLASSES)
    assert [axis["name"] for axis in told["multiscales"][0]["axes"]] == ["c", "y", "x"]
    assert "image-label" not in told
    doubt_HW = zarr.open_array(tmp_path / "zarr/uncertainty/slide.zarr/0", mode="r")[:]
    assert np.array_equal(doubt_HW, tifffile.imread(tmp_path / "tiff/uncertainty/slide.tif"))
