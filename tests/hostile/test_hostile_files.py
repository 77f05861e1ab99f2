"""A corpus of files made to harm, each given to the commands that could meet it.

Nothing in them is executed, nothing is written outside, no traceback is shown, and each is refused
within 10 s of computing and 1 GiB. Each group runs in one process with bounded memory (`meet.py`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import files_of_data as data
import files_of_weights as weights
from canary import Evil, traces

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
SECONDS, MEBIBYTES = 10, 1024
ENCODER = "unet(depth=2, width=4)"
PARTS = ["--encoder", ENCODER, "--decoder", "unet", "--device", "cpu", "--workers", "0"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from segkit.model.compose import build_model
    from segkit.model.folder import save_model

    built = build_model(ENCODER, "unet", "bilinear", num_classes=2, in_channels=3, weights="none")
    return save_model(built, tmp_path_factory.mktemp("sound") / "model", classes=("a", "b"))


@pytest.fixture
def box(tmp_path):
    """A folder for the files, in a place of which every change is seen."""
    (tmp_path / "around/box").mkdir(parents=True)
    (tmp_path / "around/secret").write_text("secret")
    return tmp_path / "around/box"


def give(box, cases):
    """Runs all the cases; returns what each came to, after judging what all must keep."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("meet.py"))],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        cwd=box,
        timeout=500,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"},
    )
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(results) == len(cases), (results[-1:], done.stderr[-3000:])
    wrong = [(r["name"], r["arguments"][:2], why) for r in results for why in breaches(r)]
    assert wrong == []
    assert traces() == []
    assert sorted(each.name for each in box.parent.iterdir()) == ["box", "secret"]
    assert (box.parent / "secret").read_text() == "secret"
    assert not Path("/tmp/hostile-outside").exists()
    return results


def breaches(result):
    """What a command must never do, whatever it was given."""
    shown = result["out"] + result["err"]
    if result["status"] == "traceback" or result["status"] == 1 or "Traceback" in shown:
        yield shown[-1500:]
    if result["seconds"] > SECONDS:
        yield f"{result['seconds']:.0f} s"
    if result["mebibytes"] > MEBIBYTES:
        yield f"{result['mebibytes']} MiB"
    if "\x1b" in shown or "\x07" in shown:
        yield f"escapes: {shown[-500:]!r}"


def refused(results, *allowed):
    """Those that were not: an exit status of 0 where nothing sound was given."""
    return [r["name"] for r in results if r["status"] == 0 and r["name"] not in allowed]


def folder_for(box, name):
    place = box / "".join(letter if letter.isalnum() else "-" for letter in name)
    place.mkdir()
    return place


LONG = pytest.mark.integration


@pytest.mark.parametrize("command", ["import", pytest.param("train and predict", marks=LONG)])
def test_weights_and_checkpoints(box, command, tiny_folder):
    cases = []
    for name, make in weights.WEIGHTS.items():
        file = str(make(folder_for(box, name)))
        out, images = str(box / "out"), str(tiny_folder / "images/val/0.png")
        train = ["train", "--weights", file, "--data", str(tiny_folder), *PARTS, "--dry-run"]
        given = {
            "import": [["import", file, "--out", out]],
            "train and predict": [train, ["predict", file, images, "--out", out]],
        }
        cases += [[name, arguments] for arguments in given[command]]
    assert refused(give(box, cases)) == []
    assert not (box / "out").exists()


def test_model_folders(box, model, tiny_folder):
    cases = []
    for name, make in {
        "a pipe": weights.pipe,
        "zeros without end": weights.endless,
        "a pickle": lambda file: weights.named(file, weights.saved(Evil())),
    }.items():
        for file in ("model.json", "model.safetensors"):
            place = box / f"{name}-{file}"
            shutil.copytree(model, place)
            (place / file).unlink()
            make(file)(place)
            images = str(tiny_folder / "images/val")
            cases += [
                [f"{name}: {file}", ["predict", str(place), images, "--out", str(box / "out")]],
                [f"{name}: {file}", ["evaluate", str(place), "--data", str(tiny_folder)]],
                [f"{name}: {file}", ["export", str(place)]],
            ]
    assert refused(give(box, cases)) == []


def test_configurations(box, tiny_folder):
    cases = []
    for name, text in data.yaml_texts().items():
        place = folder_for(box, name)
        (place / "config.yaml").write_bytes(text)
        (place / "data").mkdir()
        for kind in ("images", "masks"):
            (place / "data" / kind).symlink_to(tiny_folder / kind)
        (place / "data/data.yaml").write_bytes(text)
        cases += [
            [name, ["train", "--config", str(place / "config.yaml"), "--dry-run"]],
            [name, ["train", "--resume", str(place)]],
            [name, ["data", "check", str(place / "data")]],
            [name, ["data", "convert", str(place / "data"), "--out", str(place / "out")]],
            [name, ["train", "--data", str(place / "data"), *PARTS, "--dry-run"]],
        ]
    for make in (weights.pipe, weights.endless):
        place = folder_for(box, make.__name__)
        for file in ("config.yaml", "data.yaml"):
            make(file)(place)
        cases += [
            [make.__name__, ["train", "--config", str(place / "config.yaml"), "--dry-run"]],
            [make.__name__, ["train", "--resume", str(place)]],
            [make.__name__, ["data", "check", str(place)]],
            [make.__name__, ["data", "check", str(place / "data.yaml")]],
        ]
    assert refused(give(box, cases)) == []


# As images: predicted (quickly), checked and trained on; as masks: checked and converted.
@pytest.mark.parametrize(
    ("kind", "commands"),
    [
        pytest.param("images", ["predict"], marks=LONG),
        pytest.param("images", ["check", "train"], marks=LONG),
        pytest.param("masks", ["check", "convert"], marks=LONG),
    ],
)
def test_images_and_masks(box, model, tiny_folder, kind, commands):
    cases = []
    for name, make in data.IMAGES.items():
        place = folder_for(box, name)
        for each in ("images", "masks"):
            shutil.copytree(tiny_folder / each / "train", place / "data" / each)
        made = make(place / "data" / kind)
        other = "masks" if kind == "images" else "images"
        (place / "data" / other / f"{made.stem}.png").write_bytes(data.small_png())
        root, out = str(place / "data"), str(place / "out")
        given = {
            "predict": ["predict", str(model), str(made), "--out", out],
            "check": ["data", "check", root],
            "convert": ["data", "convert", root, "--out", out],
            "train": ["train", "--data", root, *PARTS, "--dry-run"],
        }
        cases += [[name, given[command]] for command in commands]
    # A folder is no image: a data set without it is sound. Of a circle of pages one is left.
    sound = ("a folder called PNG", "TIFF whose pages go in a circle")
    assert refused(give(box, cases), *sound) == []


def test_annotations(box):
    cases = []
    for name, (file, content) in data.ANNOTATIONS.items():
        place = folder_for(box, name)
        (place / "a.png").write_bytes(data.small_png())
        (place / file).write_bytes(content)
        cases += [
            [name, ["data", "check", str(place)]],
            [name, ["data", "convert", str(place), "--out", str(place / "out")]],
        ]
    give(box, cases)


def test_archives(box):
    cases = []
    for name, make in data.ARCHIVES.items():
        place = folder_for(box, name)
        (place / "archive").write_bytes(make())
        (place / "into").mkdir()
        cases.append([name, ["unpack", str(place / "archive"), str(place / "into")]])
    assert refused(give(box, cases)) == []


def test_the_corpus_is_as_large_as_we_say():
    groups = (weights.WEIGHTS, data.yaml_texts(), data.IMAGES, data.ANNOTATIONS, data.ARCHIVES)
    assert sum(map(len, groups)) >= 120


def test_what_is_looked_for_would_be_seen(box):
    assert os.system(Evil().__reduce__()[1][0]) == 0
    assert traces() == ["executed"]
    seen = {"status": 1, "seconds": 11, "mebibytes": 2000, "out": "\x1b[31m", "err": "Traceback"}
    assert len(list(breaches(seen))) == 4
