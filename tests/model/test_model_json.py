"""A crafted model.json is refused with the field's name, before anything is built of it."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from segkit.errors import ModelFileError
from segkit.model.compose import build_model
from segkit.model.folder import load_model, save_model
from segkit.storage import SEAL, checksum

INTENSITY = {"scaling": "range", "black": 0.0, "white": 255.0, "dtype": "uint8"}
DELETED = object()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    model = build_model(
        "unet(depth=2, width=4)", "unet", "bilinear", num_classes=3, in_channels=3, weights="none"
    )
    return save_model(
        model,
        tmp_path_factory.mktemp("sound") / "model",
        classes=("a", "b", "c"),
        palette=((0, 0, 0), (1, 1, 1), (2, 2, 2)),
        training={"intensity": INTENSITY, "reading": {"page": None, "alpha": "drop"}},
    )


def crafted(sound, folder, **changes):
    """The folder with other values in model.json; keys are paths with two underscores."""
    shutil.copytree(sound, folder)
    content = json.loads((folder / "model.json").read_text())
    del content[SEAL]
    for path, value in changes.items():
        *outer, last = path.split("__")
        place = content
        for key in outer:
            place = place[key]
        if value is DELETED:
            del place[last]
        else:
            place[last] = value
    (folder / "model.json").write_text(json.dumps(content))
    return folder


def test_the_sound_folder_loads(sound):
    assert load_model(sound).classes == ("a", "b", "c")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"encoder": "unet"}, "encoder:"),
        ({"encoder": None}, "encoder:"),
        ({"encoder__expression": ["unet"]}, "encoder.expression:"),
        ({"encoder__expression": "unet(" * 300}, "encoder.expression:"),
        ({"encoder__expression": "unet(depth=__import__('os'))"}, "encoder.expression:"),
        ({"encoder__distribution": "x; rm -rf ~"}, "encoder.distribution:"),
        ({"decoder__version": "\x1b[31m1"}, "decoder.version:"),
        ({"decoder__module": "os:system"}, "decoder.module:"),
        ({"upsampler": DELETED}, "upsampler:"),
        ({"num_classes": "3"}, "num_classes:"),
        ({"num_classes": 0}, "num_classes:"),
        ({"num_classes": 10**30}, "num_classes:"),
        ({"num_classes": 4}, "classes has 3 names for 4 labels"),
        ({"in_channels": -1}, "in_channels:"),
        ({"in_channels": 3.5}, "in_channels:"),
        ({"classes": ["a", "b"]}, "classes has 2 names for 3 labels"),
        ({"classes": "abc"}, "classes:"),
        ({"classes": ["a", "b", 3]}, "classes.2:"),
        ({"classes": ["a", "b", "c\x1b]0;owned\x07"]}, "classes.2:"),
        ({"classes": ["a", "b", "b"]}, "classes names one class twice"),
        ({"palette": [[0, 0, 0]]}, "palette has 1 colours for 3 labels"),
        ({"palette": [[0, 0], [1, 1, 1], [2, 2, 2]]}, "palette.0:"),
        ({"palette": [[0, 0, 999], [1, 1, 1], [2, 2, 2]]}, "palette.0.2:"),
        ({"palette": {"a": 1}}, "palette:"),
        ({"ignore_index": "none"}, "ignore_index:"),
        ({"ignore_index": 2**70}, "ignore_index:"),
        ({"weights": ["imagenet"]}, "weights:"),
        ({"training": []}, "training:"),
        ({"training__intensity": "fixed"}, "training.intensity:"),
        ({"training__intensity__scaling": "eval"}, "training.intensity.scaling:"),
        ({"training__intensity__white": 0}, "training.intensity:"),
        ({"training__intensity__white": -1.0}, "training.intensity:"),
        ({"training__intensity__white": float("nan")}, "training.intensity.white:"),
        ({"training__intensity__white": None}, "training.intensity:"),
        ({"training__intensity__black": float("inf")}, "training.intensity.black:"),
        ({"training__intensity__dtype": "object"}, "training.intensity.dtype:"),
        ({"training__full_scale": 0}, "training.full_scale:"),
        ({"training__full_scale": -1}, "training.full_scale:"),
        ({"training__full_scale": float("nan")}, "training.full_scale:"),
        ({"training__reading__page": 0}, "training.reading.page:"),
        ({"training__reading__alpha": "evil"}, "training.reading.alpha:"),
        ({"normalization": {"mean": [0, 0, 0], "std": [1, 0, 1]}}, "normalization.std.1:"),
        ({"normalization": {"mean": [0], "std": [1]}}, "normalization.mean has 1 numbers for 3"),
        ({"normalization": [0.5, 0.5]}, "normalization:"),
        ({"normalization": {"mean": [0, 0, float("nan")], "std": [1, 1, 1]}}, "mean.2:"),
        ({"sha256": "0"}, "sha256:"),
        ({"sha256": "0" * 64}, "is not the file that model.json describes"),
        ({"format": 3}, "format:"),
        ({"format": "segkit-model/99"}, "is of format segkit-model/99"),
        ({"command": "rm"}, "command:"),
        ({"encoder__expression": "unet(depth=2, width=100000)"}, "do not fit the parts named"),
    ],
)
def test_what_is_no_model_names_its_field(sound, tmp_path, changes, says):
    with pytest.raises(ModelFileError) as caught:
        load_model(crafted(sound, tmp_path / "model", **changes))
    assert caught.value.code == "SK-M002"
    assert says in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "[" * 100_000, "\xff", '{"format": NaN}'])
def test_what_is_no_json_object_is_refused(sound, tmp_path, text):
    folder = crafted(sound, tmp_path / "model")
    (folder / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelFileError, match=r"model\.json"):
        load_model(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(sound, tmp_path, value):
    folder = crafted(sound, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["head.weight"][0, 0] = torch.tensor(value)
    save_file(tensors, folder / "model.safetensors")
    text = (folder / "model.json").read_text()
    old, new = json.loads(text)["sha256"], checksum(folder / "model.safetensors")
    (folder / "model.json").write_text(text.replace(old, new))
    with pytest.raises(ModelFileError, match=r"head\.weight holds values that are no finite"):
        load_model(folder)
