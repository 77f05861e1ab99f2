"""Images that are odd or broken, and a full disk: the good ones between them are predicted."""

import csv
import errno

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import segkit
from segkit.errors import StorageError
from segkit.inference import prediction
from segkit.inference.files import predict_to_folder
from segkit.inference.output import Output
from segkit.inference.prediction_settings import PredictionSettings

CLASSES = ("=cmd()", "<script>alert(1)</script>", "[red]")


@pytest.fixture
def place(tmp_path):
    torch.manual_seed(0)
    model = segkit.build_model("unet(width=2, depth=2)", num_classes=3).eval()
    segkit.save_model(model, tmp_path / "model", classes=CLASSES)
    (tmp_path / "images").mkdir()
    return tmp_path


def predict(place, **options):
    asked = PredictionSettings(str(place / "model"), precision="fp32")
    output = Output(place / "out", objects=True, **options)
    return predict_to_folder(asked, [place / "images"], output)


def rows_of(file):
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def test_odd_images_are_predicted_and_broken_ones_named_between_them(place):
    random, images = np.random.default_rng(0), place / "images"
    grey_HW = random.integers(0, 256, (9, 11), dtype=np.uint8)
    not_finite_HW = grey_HW.astype(np.float32)
    not_finite_HW[3, 4] = np.nan
    (images / "a_empty.png").write_bytes(b"")
    Image.fromarray(grey_HW[:1, :1]).save(images / "b_pixel.png")
    tifffile.imwrite(images / "c_pages.tif", np.stack([grey_HW] * 8), photometric="minisblack")
    Image.fromarray(np.dstack([grey_HW] * 3 + [grey_HW * 0 + 255])).save(images / "d_rgba.png")
    Image.fromarray(grey_HW.astype(np.uint16) * 257).save(images / "e_deep.png")
    tifffile.imwrite(images / "f_nan.tif", not_finite_HW)
    (images / "g_page.png").write_text("<!doctype html>")
    Image.fromarray(grey_HW).save(images / "h_good.png")
    report = predict(place)
    failed = {each.file.rpartition("/")[2]: each.code for each in report.failed}
    assert failed == {
        "a_empty.png": "SK-D004",
        "c_pages.tif": "SK-D015",
        "f_nan.tif": "SK-D016",
        "g_page.png": "SK-D006",
    }
    assert all(each.what and each.fix for each in report.failed)
    sizes = {each.file.rpartition("/")[2]: (each.height, each.width) for each in report.images}
    assert sizes == {
        "b_pixel.png": (1, 1),
        "d_rgba.png": (9, 11),
        "e_deep.png": (9, 11),
        "h_good.png": (9, 11),
    }
    for each in report.images:
        assert np.asarray(Image.open(place / "out" / each.mask)).shape == (each.height, each.width)
        assert Image.open(place / "out" / each.overlay).width >= 256
    rows = rows_of(place / "out/summary.csv")
    assert len(rows) == 8
    assert [row["status"][:7] for row in rows if row["status"] != "ok"] == [*failed.values()]


def test_names_of_classes_are_text_in_tables(place):
    Image.new("RGB", (20, 20), "gray").save(place / "images/a.png")
    predict(place)
    (row,) = rows_of(place / "out/summary.csv")
    assert {f"share/{name}" for name in CLASSES} <= set(row)
    assert {each["class"] for each in rows_of(place / "out/objects.csv")} <= {
        "'=cmd()",
        *CLASSES[1:],
    }


def test_a_disk_that_is_full_in_the_middle_is_named_and_gone_on_from(place, monkeypatch):
    for number in range(5):
        Image.new("RGB", (20, 20), (9 * number,) * 3).save(place / f"images/{number}.png")
    write, written = prediction.write_mask, []

    def full(path, *rest):
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        write(path, *rest)

    monkeypatch.setattr(prediction, "write_mask", full)
    with pytest.raises(StorageError, match=r"SK-S001: the disk that holds .*masks/3.png is full"):
        predict(place)
    assert sorted(file.name for file in (place / "out/masks").iterdir()) == [
        "0.png",
        "1.png",
        "2.png",
    ]
    monkeypatch.setattr(prediction, "write_mask", write)
    report = predict(place, resume=True)
    assert (len(report.images), report.failed) == (5, [])
    assert len(rows_of(place / "out/summary.csv")) == 5
