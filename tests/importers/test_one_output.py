"""A network with one output: background and foreground, whatever is asked of it."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import segkit
from segkit.cli.import_command import command
from segkit.errors import UsageError
from segkit.scoring.evaluate_model import EvaluationSettings, evaluate_model

SIZE = 24


def checkpoint(file):
    """A U-Net with one output under the names of milesial's form."""
    torch.manual_seed(1)
    model = segkit.build_model("unet(depth=2, width=4)", "unet", "transposed", num_classes=1)
    with torch.no_grad():
        model.head.bias -= model.eval()(torch.rand(4, 3, SIZE, SIZE)).median()
    names = {
        "encoder.levels.0.": "inc.double_conv.",
        "encoder.levels.1.": "down1.maxpool_conv.1.double_conv.",
        "decoder.steps.0.block.": "up1.conv.double_conv.",
        "decoder.steps.0.upsampler.steps.0.convolution.": "up1.up.",
        "head.": "outc.conv.",
    }
    tensors = {}
    for name, tensor in model.state_dict().items():
        ours = next(prefix for prefix in names if name.startswith(prefix))
        tensors[names[ours] + name.removeprefix(ours)] = tensor
    torch.save(tensors, file)
    return model


@pytest.fixture
def imported(tmp_path):
    """The network, and the folder it was imported to."""
    network = checkpoint(tmp_path / "cells.pth")
    arguments = [str(tmp_path / "cells.pth"), "--out", str(tmp_path / "model")]
    told = CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False)
    assert "3 channels in, 1 output" in told.output
    assert "foreground (label 1) where that is above 0, a probability of one half" in told.output
    return network, tmp_path / "model"


def test_its_labels_are_those_of_a_probability_above_one_half(imported):
    network, folder = imported
    model = segkit.load_model(folder)
    image_BCHW = torch.rand(3, 3, 17, 31)
    with torch.no_grad():
        expected_BHW = (network(image_BCHW)[:, 0].double().sigmoid() > 0.5).to(torch.uint8)
    assert torch.equal(model.labels(image_BCHW), expected_BHW)
    assert 0.05 < expected_BHW.float().mean() < 0.95
    assert (model.record.label_count, model.record.num_classes) == (2, 1)
    assert model.record.label_names == ("background", "foreground")


def test_it_is_scored_on_background_and_foreground(imported, tmp_path):
    network, folder = imported
    generator = np.random.default_rng(0)
    both = []
    for number in range(4):
        image_HWC = generator.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        mask_HW = np.kron(generator.integers(0, 2, (3, 3)), np.ones((8, 8), int)).astype(np.uint8)
        for name, array in (("images", image_HWC), ("masks", 255 * mask_HW)):
            place = tmp_path / "data" / name / "val" / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(place)
        pixels_BCHW = torch.from_numpy(image_HWC).permute(2, 0, 1)[None].double() / 255
        with torch.no_grad():
            label_HW = network.double()(pixels_BCHW)[0, 0].numpy() > 0
        both.append((label_HW, mask_HW == 1))
    labels, truths = (np.stack(each) for each in zip(*both, strict=True))
    overlaps = [
        (labels == side)[truths == side].sum() / ((labels == side) | (truths == side)).sum()
        for side in (False, True)
    ]
    found = evaluate_model(
        EvaluationSettings(str(folder), "val", tmp_path / "data", metric="miou", device="cpu")
    )
    assert found.scores.values["miou"] == pytest.approx(np.mean(overlaps), abs=2e-3)
    assert found.classes == ("background", "foreground")


@pytest.mark.parametrize("named", ["cell", "rest, cell"])
def test_its_foreground_may_be_named(tmp_path, named):
    checkpoint(tmp_path / "cells.pth")
    arguments = [str(tmp_path / "cells.pth"), "--out", str(tmp_path / "m"), "--classes", named]
    CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False)
    description = json.loads((tmp_path / "m" / "model.json").read_text())
    assert description["classes"] == [named.split(",")[0] if "," in named else "background", "cell"]


def test_three_names_are_too_many(tmp_path):
    checkpoint(tmp_path / "cells.pth")
    arguments = [str(tmp_path / "cells.pth"), "--out", str(tmp_path / "m"), "--classes", "a, b, c"]
    with pytest.raises(UsageError, match="--classes names 3 classes, and the checkpoint has 2"):
        CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False)
