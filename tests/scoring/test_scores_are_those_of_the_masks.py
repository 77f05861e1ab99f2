"""`evaluate` against scikit-learn over the files that `predict` writes: exactly, always."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix

import segkit
from segkit.cli.main import main

SPLITS = "train: images/val\nval: images/val\nallow_leak: true\n"
REAL = os.environ.get("SEGKIT_TEST_DATA")


@pytest.fixture
def run(capsys):
    """run("evaluate", ...): its exit status, and what it printed on both streams."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(each) for each in arguments])
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


def model_in(folder, num_classes, **record):
    """A small network with random weights whose answers vary from pixel to pixel."""
    torch.manual_seed(len(str(record)))
    channels = record.pop("in_channels", 1)
    model = segkit.build_model(
        "unet(width=6, depth=2)", num_classes=num_classes, in_channels=channels
    )
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
    return segkit.save_model(model, folder / "model", **record)


def balanced_model_in(folder, image_HW):
    """Three classes, each of which the network gives to some of the image's pixels."""
    place = model_in(folder, 3)
    model = segkit.load_model(place)
    with torch.no_grad():
        logits_BKHW = model(model.normalize(torch.from_numpy(image_HW)[None, None]))
        model.head.bias -= logits_BKHW.flatten(2).median(dim=2).values[0]
    return segkit.save_model(model, place)


def write_set(folder, images, masks):
    for kind, arrays in (("images", images), ("masks", masks)):
        (folder / kind / "val").mkdir(parents=True)
        for number, array in enumerate(arrays):
            file = folder / kind / "val" / f"{number}.tif"
            if kind == "masks":
                Image.fromarray(array).save(file.with_suffix(".png"))
            else:
                tifffile.imwrite(file, array)
    return folder


def counted(truths, masks, classes, ignore_index):
    counts = np.zeros((classes, classes), int)
    for true_HW, label_HW in zip(truths, masks, strict=True):
        valid = np.ones_like(true_HW, bool) if ignore_index is None else true_HW != ignore_index
        if valid.any():
            counts += confusion_matrix(true_HW[valid], label_HW[valid], labels=range(classes))
    return counts.tolist()


def blocks(rng, classes, shape):
    return np.kron(rng.integers(0, classes, (3, 3)), np.ones((9, 9), int))[: shape[0], : shape[1]]


@pytest.mark.filterwarnings("ignore:A single label was found")
@pytest.mark.parametrize("seed", range(8))
def test_every_depth_and_scale_scores_what_is_written(run, tmp_path, seed):
    """Depth, type, highest value, recorded white, sizes, channels and precision drawn at random."""
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 6))
    kind = ("uint8", "uint16", "float32")[seed % 3]
    white = {"uint8": 255.0, "uint16": rng.choice([255.0, 4095.0, 65535.0])}.get(
        kind, rng.choice([1.0, 255.0, 40.0])
    )
    scaling = str(rng.choice(["range", "per-image", "fixed"]))
    model = model_in(
        tmp_path,
        classes,
        classes=tuple("abcdef"[:classes]),
        training={"intensity": {"scaling": scaling, "black": 0.0, "white": white, "dtype": kind}},
    )
    highest = white * rng.choice([0.3, 1.0, 1.2 if kind == "float32" else 1.0])
    images, truths = [], []
    for _ in range(3):
        shape = tuple(rng.integers(12, 27, 2))
        truths.append(blocks(rng, classes, shape).astype(np.uint8))
        images.append((rng.random(truths[-1].shape) * highest).astype(kind))
    truths[0][:4] = 255
    data = write_set(tmp_path / "set", images, truths)
    (data / "data.yaml").write_text(
        f"{SPLITS}names: [{', '.join('abcdef'[:classes])}]\nignore_index: 255\n"
    )
    precision = str(rng.choice(["fp32", "bf16"]))
    status, out, err = run(
        "evaluate", model, "--data", data, "--json", "--precision", precision, "--batch", "2"
    )
    assert status == 0, err
    given = [model, data / "images/val", "--out", tmp_path / "out", "--precision", precision]
    assert run("predict", *given)[0] == 0
    masks = [np.asarray(Image.open(tmp_path / f"out/masks/{n}.png")) for n in range(3)]
    assert json.loads(out)["confusion"] == counted(truths, masks, classes, 255)


REAL_SETS = {
    "m2nist": ("val.txt", 11, None),
    "drive": (None, 2, None),
    "pets_cat_dog": (None, 3, 255),
}


@pytest.mark.integration
@pytest.mark.skipif(not REAL, reason="SEGKIT_TEST_DATA is not set")
@pytest.mark.parametrize("name", REAL_SETS)
def test_real_sets_score_what_is_written(run, tmp_path, name):
    _, classes, ignore_index = REAL_SETS[name]
    model = model_in(tmp_path, classes, in_channels=3, ignore_index=ignore_index)
    data = ("--data", Path(REAL, name), "--split", "all")
    status, out, err = run("evaluate", model, *data, "--json")
    assert status == 0, err
    found = json.loads(out)
    images = sorted(Path(REAL, name, "images").rglob("*.*"))
    images = [each for each in images if each.suffix.lower() in (".png", ".jpg", ".jpeg")]
    assert run("predict", model, *images, "--out", tmp_path / "out", "--no-overlay")[0] == 0
    report = json.loads((tmp_path / "out/predictions.json").read_text())
    truths, masks = [], []
    for each in report["images"]:
        (mask,) = Path(REAL, name, "masks").rglob(f"{Path(each['file']).stem}.*")
        true_HW = np.asarray(Image.open(mask))
        if classes == 2:
            true_HW = (true_HW > 0).astype(np.uint8)
        truths.append(true_HW)
        masks.append(np.asarray(Image.open(tmp_path / "out" / each["mask"])))
    assert found["images"] == len(masks)
    assert found["confusion"] == counted(truths, masks, classes, ignore_index)
    counts = np.array(found["confusion"])
    union = counts.sum(0) + counts.sum(1) - counts.diagonal()
    assert found["scores"]["miou"] == pytest.approx(
        np.mean(counts.diagonal()[union > 0] / union[union > 0])
    )


@pytest.mark.integration
def test_an_exported_file_scores_what_it_writes(run, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    rng, file = np.random.default_rng(0), tmp_path / "model.onnx"
    truths = [blocks(rng, 3, (20 + n, 25 - n)).astype(np.uint8) for n in range(3)]
    images = [rng.integers(0, 256, each.shape, np.uint8) for each in truths]
    model = balanced_model_in(tmp_path, images[0])
    assert run("export", model, "--out", file)[0] == 0
    data = write_set(tmp_path / "set", images, truths)
    status, out, err = run("evaluate", file, "--data", data, "--json")
    assert status == 0, err
    assert run("predict", file, data / "images/val", "--out", tmp_path / "out")[0] == 0
    masks = [np.asarray(Image.open(tmp_path / f"out/masks/{n}.png")) for n in range(3)]
    counts = counted(truths, masks, 3, None)
    assert json.loads(out)["confusion"] == counts
    assert np.min(np.sum(counts, axis=0)) > 50


def test_slides_are_scored_as_they_are_written_but_for_rounding(run, tmp_path):
    """Scored whole, written by region: the network's view ends within the margin of a region."""
    rng = np.random.default_rng(0)
    (true_HW,) = truths = [np.kron(rng.integers(0, 3, (30, 45)), np.ones((9, 9))).astype(np.uint8)]
    data = write_set(tmp_path / "set", [], truths)
    image_HW = rng.integers(0, 256, true_HW.shape, np.uint8)
    model = balanced_model_in(tmp_path, image_HW)
    with tifffile.TiffWriter(data / "images/val/0.tif") as writer:
        writer.write(image_HW, tile=(64, 64), subifds=1)
        writer.write(image_HW[::2, ::2].copy(), tile=(64, 64), subfiletype=1)
    given = ["--precision", "fp32"]
    status, out, err = run("evaluate", model, "--data", data, "--json", *given)
    assert status == 0, err
    given += ["--tile", "128", "--overlap", "0.5", "--out", tmp_path / "out"]
    assert run("predict", model, data / "images/val", *given)[0] == 0
    masks = [tifffile.imread(tmp_path / "out/masks/0.tif")]
    scored, written = json.loads(out)["confusion"], counted(truths, masks, 3, None)
    assert np.abs(np.subtract(scored, written)).sum() <= 1e-4 * true_HW.size
    assert np.min(np.sum(written, axis=0)) > 1000


def two_squares(folder, values=(0, 1), count=2):
    images = [np.full((20, 24), 90, np.uint8) for _ in range(count)]
    truths = [np.full((20, 24), values[0], np.uint8) for _ in range(count)]
    for image_HW, true_HW in zip(images, truths, strict=True):
        image_HW[4:14, 4:14], true_HW[4:14, 4:14] = 200, values[1]
        image_HW[::3] += 20
    return write_set(folder, images, truths)


def test_a_network_with_one_output_is_scored_as_background_and_foreground(run, tmp_path):
    """Its advice was once to ignore the foreground, which scores 1.0000."""
    model, data = model_in(tmp_path, 1), two_squares(tmp_path / "set", (0, 255))
    status, out, err = run("evaluate", model, "--data", data, "--json", "--metric", "iou, ece")
    assert status == 0, err
    found = json.loads(out)
    run("predict", model, data / "images", "--out", tmp_path / "out")
    masks = [np.asarray(Image.open(tmp_path / f"out/masks/val/{n}.png")) for n in range(2)]
    truths = [np.asarray(Image.open(data / f"masks/val/{n}.png")) // 255 for n in range(2)]
    assert found["confusion"] == counted(truths, masks, 2, None)
    assert 0 < found["scores"]["iou/0"] < 1
    assert 0 <= found["scores"]["ece"] < 1
    assert found["classes"] == ["background", "foreground"]


def test_a_set_whose_foreground_is_ignored_is_refused(run, tmp_path):
    model, data = model_in(tmp_path, 2), two_squares(tmp_path / "set")
    status, _, err = run("evaluate", model, "--data", data, "--ignore-index", "1")
    assert status == 2
    assert "of the classes 0 and 1 the ignored label 1 leaves one" in " ".join(err.split())
    three = two_squares(tmp_path / "void", (0, 7))
    status, _, err = run("evaluate", model, "--data", three, "--ignore-index", "7")
    assert status == 3
    assert "pixels that count are of the class 'background'" in " ".join(err.split())


@pytest.mark.parametrize(
    ("known", "given", "said"),
    [
        (("sky", "road"), "road, sky", "the model's are sky, road"),
        (("sky", "road", "car", "tree", "dog"), None, "the model tells 5 classes apart"),
    ],
)
def test_classes_that_do_not_match_are_refused_by_name(run, tmp_path, known, given, said):
    model = model_in(tmp_path, len(known), classes=known, ignore_index=255)
    data = two_squares(tmp_path / "set", (0, 1) if given else (0, 255))
    if given:
        (data / "data.yaml").write_text(f"{SPLITS}names: [{given}]\n")
    status, _, err = run("evaluate", model, "--data", data)
    assert status == 3
    assert "SK-D035" in err
    assert said in " ".join(err.split())


def test_names_written_otherwise_and_names_never_given_match(run, tmp_path):
    data = two_squares(tmp_path / "set")
    named = model_in(tmp_path, 2, classes=("Cell", "gap"))
    assert run("evaluate", named, "--data", data)[0] == 0
    (data / "data.yaml").write_text(f"{SPLITS}names: [cell, Gap]\n")
    assert run("evaluate", named, "--data", data)[0] == 0


def test_images_of_other_values_than_the_models_are_refused_before_anything_is_computed(
    run, tmp_path
):
    intensity = {"scaling": "range", "black": 0.0, "white": 4095.0, "dtype": "uint16"}
    model = model_in(tmp_path, 2, training={"intensity": intensity})
    data = two_squares(tmp_path / "set")
    status, out, err = run("evaluate", model, "--data", data)
    assert (status, out) == (3, "")
    assert "SK-D034" in err
    assert run("evaluate", model, "--data", data, "--intensity", "fixed(0, 255)")[0] == 0
    assert run("predict", model, data / "images", "--out", tmp_path / "out")[0] == 3
    given = ["predict", model, data / "images", "--out", tmp_path / "out2", "--intensity"]
    assert run(*given, "fixed(0, 255)")[0] == 0
    status, _, err = run(*given, "percentile")
    assert status == 2
    assert "measured over the training data" in err


def test_data_that_have_moved_are_named_with_the_command_that_helps(run, tmp_path):
    data = two_squares(tmp_path / "set", count=3)
    (data / "images/val").rename(data / "images/train")
    (data / "masks/val").rename(data / "masks/train")
    trained = ["train", "--data", data, "--out", tmp_path / "run", "--epochs", "1", "--size", "32"]
    trained += ["--encoder", "unet(width=4, depth=2)", "--weights", "none", "--batch", "2"]
    assert run(*trained, "--set", "samples=0")[0] == 0
    data.rename(tmp_path / "elsewhere")
    status, _, err = run("evaluate", tmp_path / "run", "--split", "all")
    assert status == 3
    said = " ".join(err.split())
    assert f"was trained on {data}, which is not there any more." in said
    assert f"segkit evaluate {tmp_path / 'run'} --data DIR" in said
