"""Ensembles, dropout and mirrors: means and doubt as NumPy has them, and one folder for several."""

import csv
import json

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from click.testing import CliRunner
from PIL import Image

import segkit
from segkit.cli.main import main
from segkit.cli.predict_command import command
from segkit.errors import ModelFileError, UsageError
from segkit.inference.certainty import Ways, answer
from segkit.inference.predictor import Predictor
from segkit.inference.reading import as_trained
from segkit.inference.tiling import Tiling
from segkit.model.folder import change_record

FP32 = {"precision": "fp32", "probabilities": True}
CLASSES = ("ground", "road", "sky")


def built(seed, folder, expression="unet(width=4, depth=2)", decoder="unet", **changes):
    torch.manual_seed(seed)
    classes = changes.pop("classes", CLASSES)
    model = segkit.build_model(expression, decoder=decoder, num_classes=changes.pop("outputs", 3))
    with torch.no_grad():
        model.head.weight.mul_(20)
    return str(segkit.save_model(model, folder, classes=classes, **changes))


@pytest.fixture
def place(tmp_path, one_thread):
    """Three networks, one of another depth, and a picture."""
    for seed, depth in enumerate((2, 2, 3)):
        built(seed, tmp_path / f"{seed}", f"unet(width=4, depth={depth})")
    pixels_HWC = np.random.default_rng(0).integers(0, 256, (21, 34, 3), dtype=np.uint8)
    (tmp_path / "images").mkdir()
    Image.fromarray(pixels_HWC).save(tmp_path / "images/a.png")
    return tmp_path


def runs(place):
    return [str(place / str(seed)) for seed in range(3)]


def mutual_information(share_SKHW):
    """By its definition: entropy of the mean less the mean entropy, over that of equal shares."""
    of_mean = scipy.stats.entropy(share_SKHW.mean(axis=0), axis=0)
    return (of_mean - scipy.stats.entropy(share_SKHW, axis=1).mean(axis=0)) / np.log(
        share_SKHW.shape[1]
    )


def test_an_ensemble_is_the_mean_of_its_members_and_says_where_they_contradict(place):
    picture = place / "images/a.png"
    each = np.stack([segkit.predict(run, picture, **FP32).probabilities for run in runs(place)])
    found = segkit.predict(runs(place), picture, **FP32)
    np.testing.assert_allclose(found.probabilities, each.mean(axis=0), atol=1e-5)
    assert (found.labels == each.mean(axis=0).argmax(axis=0)).all()
    np.testing.assert_allclose(found.mutual_information, mutual_information(each), atol=1e-5)
    assert found.mutual_information.max() > 0.05
    assert segkit.predict(runs(place)[0], picture, **FP32).mutual_information is None


def test_members_whose_logits_are_coarse_are_an_ensemble_too(place):
    picture = place / "images/a.png"
    several = [built(seed, place / f"linear{seed}", decoder="linear") for seed in range(2)]
    each = [segkit.predict(run, picture, **FP32).probabilities for run in several]
    found = segkit.predict(several, picture, **FP32)
    np.testing.assert_allclose(found.probabilities, np.mean(each, axis=0), atol=1e-5)


def test_a_members_temperature_counts_for_nothing_and_the_ensembles_is_last(place):
    picture = place / "images/a.png"
    before = segkit.predict(runs(place), picture, **FP32)
    change_record(place / "0", temperature=3.0)
    segkit.save_model(segkit.load_model(runs(place)), place / "all")
    folder = place / "all"
    np.testing.assert_array_equal(
        segkit.predict(folder, picture, **FP32).probabilities, before.probabilities
    )
    change_record(folder, temperature=2.0)
    found = segkit.predict(folder, picture, **FP32)
    due_KHW = np.sqrt(before.probabilities.astype(np.float64))
    np.testing.assert_allclose(found.probabilities, due_KHW / due_KHW.sum(axis=0), atol=1e-5)
    assert (found.labels == before.labels).all()


def test_one_folder_holds_its_members_and_a_missing_one_is_noticed(place, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["ensemble", *runs(place), "--out", str(place / "all")])
    assert ended.value.code == 0 and "3 models in" in capsys.readouterr().out
    image_BCHW = torch.rand(2, 3, 20, 30)
    loaded, given = segkit.load_model(place / "all"), segkit.load_model(runs(place))
    with torch.no_grad():
        assert torch.equal(loaded(image_BCHW), given(image_BCHW))
    (place / "all/members/2/model.json").unlink()
    with pytest.raises(ModelFileError, match=r"SK-M002.*members/2"):
        segkit.load_model(place / "all")
    said = json.loads((place / "all/model.json").read_text())
    said["members"][0] = "members/../../0"
    (place / "all/model.json").write_text(json.dumps(said))
    with pytest.raises(ModelFileError, match=r"members\.0"):
        segkit.load_model(place / "all")


def test_labels_in_tiles_are_labels_of_the_whole_image_where_nothing_is_cut(place):
    network = segkit.load_model(runs(place))
    predictor = Predictor(network, torch.device("cpu"))
    pixels_BCHW = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    whole_BHW = predictor.labels(pixels_BCHW, 255.0)
    assert torch.equal(whole_BHW, predictor.logits(pixels_BCHW, 255.0).argmax(dim=1))
    in_tiles_BHW = predictor.labels(pixels_BCHW, 255.0, Tiling(48, 0.5))
    assert (in_tiles_BHW == whole_BHW).float().mean() > 0.9


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"classes": ("ground", "sky", "road")}, "classes ground, road, sky and ground, sky, road"),
        ({"ignore_index": 255}, "ignored label None and 255"),
        ({"training": {"full_scale": 4095.0}}, "full scale None and 4095.0"),
        ({"classes": ("a", "b"), "outputs": 2}, "classes ground, road, sky and a, b"),
    ],
)
def test_what_differs_is_told_and_refused(place, other, told):
    built(9, place / "other", **other)
    with pytest.raises(UsageError, match=rf"SK-C007.*0 and .*other cannot be one.*: .*{told}"):
        segkit.load_model([place / "0", place / "other"])


def test_one_output_and_two_are_one_ensemble(place):
    names = {"classes": ("background", "cell")}
    one = built(0, place / "one", outputs=1, **names)
    two = built(1, place / "two", outputs=2, **names)
    picture = place / "images/a.png"
    each = np.stack([segkit.predict(run, picture, **FP32).probabilities for run in (one, two)])
    found = segkit.predict([one, two], picture, **FP32)
    np.testing.assert_allclose(found.probabilities, each.mean(axis=0), atol=1e-5)


def test_dropout_is_left_on_and_nothing_else(place):
    folder = built(0, place / "dropping", decoder="unet(dropout=0.5)")
    network = segkit.load_model(folder)
    pixels_HWC = np.asarray(Image.open(place / "images/a.png"))
    given = as_trained(network.record)(pixels_HWC, "a")
    found = answer(Predictor(network, torch.device("cpu")), given, Ways(dropout=5))
    assert not any(each.training for each in network.modules())
    image_BCHW = network.normalize(torch.from_numpy(pixels_HWC.copy()).permute(2, 0, 1)[None])
    shares = []
    for number in range(5):
        torch.manual_seed(number)
        for each in network.modules():
            each.train(isinstance(each, torch.nn.Dropout2d | torch.nn.Dropout))
        with torch.no_grad():
            logits_KHW = network(image_BCHW)[0].double().numpy()
        shares.append(scipy.special.softmax(logits_KHW, axis=0))
    share_SKHW = np.stack(shares)
    np.testing.assert_allclose(found.probability_KHW, share_SKHW.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(found.mutual_HW, mutual_information(share_SKHW), atol=1e-4)
    assert found.mutual_HW.max() > 0.01
    with pytest.raises(UsageError, match="SK-C007: dropout is to be left on, and the network has"):
        segkit.predict(runs(place)[0], pixels_HWC, mc_dropout=5)


def test_the_command_takes_runs_and_then_images_and_writes_the_doubt(place):
    given = [*runs(place), str(place / "images"), "--out", str(place / "out"), "--uncertainty"]
    result = CliRunner().invoke(command, [*given, "--precision", "fp32"], standalone_mode=False)
    assert result.return_value == 0, result.output
    found = segkit.predict(runs(place), place / "images/a.png", **FP32)
    with Image.open(place / "out/mutual-information/a.png") as picture:
        kept_HW = np.asarray(picture) / 65535
    assert np.abs(kept_HW - found.mutual_information).max() <= 1 / 65535
    with (place / "out/summary.csv").open() as opened:
        (row,) = csv.DictReader(opened)
    for name, value_HW in (
        ("doubt", found.uncertainty),
        ("mutual_information", found.mutual_information),
    ):
        assert float(row[f"{name}_mean"]) == pytest.approx(value_HW.mean(), abs=1e-5)
        assert float(row[f"{name}_p95"]) == pytest.approx(np.percentile(value_HW, 95), abs=1e-5)
    said = json.loads((place / "out/predictions.json").read_text())
    assert said["model"]["path"] == runs(place)
    assert said["model"]["encoder"].count("unet(") == 2
