"""Models on the hub, over HTTP, to a server of a few endpoints on this machine."""

import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import yaml
from PIL import Image

import segkit
from segkit.errors import EnvironmentFault, UsageError
from segkit.export.card import plain
from segkit.export.hub import Sharing, push, write_shared
from segkit.model.folder import change_record

HOSTILE = ("ground", "<script>x</script>", "a|b", "=cmd()")
TRAINING = {
    "data": "/home/ann/secret/cells",
    "epoch": 7,
    "size": 64,
    "images": 5,
    "scores": {"miou": 0.75, "iou/1": None},
    "conventions": {"miou": "the mean over classes"},
}


@pytest.fixture
def run(tmp_path):
    model = segkit.build_model("unet(width=4, depth=2)", num_classes=4)
    segkit.save_model(model, tmp_path / "run/model", classes=HOSTILE, training=TRAINING)
    return tmp_path / "run"


def scores_of(run, **changes):
    intervals = {"mean IoU": {"value": 0.5, "low": 0.4, "high": 0.6}}
    told = {"model": str(run), "data": "/home/ann/secret/test", "split": "test", "images": 9}
    told |= {"scores": {"miou": 0.5}, "conventions": {}, "cautions": ["Few images."]}
    return told | {"intervals": intervals, "interval_method": "Bootstrap."} | changes


def shared(run, out, **more):
    return write_shared(Sharing(str(run), more.pop("licence", "cc-by-4.0"), **more), out)


def test_a_folder_to_share_is_the_model_with_a_card_and_tells_no_place_of_this_machine(
    run, tmp_path
):
    change_record(
        run,
        temperature=1.5,
        training=TRAINING
        | {
            "calibration": {
                **{"data": "/home/ann/secret/cells", "split": "val", "images": 5},
                **{"error_before": 0.2, "error": 0.1},
            }
        },
    )
    folder = shared(run, tmp_path / "shared")
    assert sorted(each.name for each in folder.iterdir()) == [
        *("README.md", "model.json", "model.safetensors"),
    ]
    for each in ("README.md", "model.json"):
        assert "secret" not in (folder / each).read_text()
    card = (folder / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    told = yaml.safe_load(front)
    assert (told["library_name"], told["pipeline_tag"]) == ("segkit", "image-segmentation")
    assert told["license"] == "cc-by-4.0" and "model-index" not in told
    assert "<script>" not in body and "| 2 | a\\|b |" in body
    assert "- miou: 0.7500" in body and "on new images expect less" in body
    assert "temperature: 1.5, fitted on 5 images of cells, split val" in body.replace("\\", "")
    loaded = segkit.load_model(folder)
    assert loaded.record.temperature == 1.5 and loaded.classes == HOSTILE


def test_an_evaluation_comes_with_its_intervals_and_only_of_this_model(run, tmp_path):
    (tmp_path / "scores").mkdir()
    file = tmp_path / "scores/scores.json"
    file.write_text(json.dumps(scores_of(run)))
    folder = shared(run, tmp_path / "shared", evaluation=tmp_path / "scores")
    card = (folder / "README.md").read_text()
    assert "| mean IoU | 0.5000 | 0.4000 to 0.6000 |" in card and "Few images." in card
    (index,) = yaml.safe_load(card.split("---\n", 2)[1])["model-index"]
    (result,) = index["results"]
    assert result["metrics"][0]["value"] == 0.5 and result["dataset"]["name"] == "test"
    assert "secret" not in (folder / "scores.json").read_text()
    file.write_text(json.dumps(scores_of(tmp_path / "other")))
    with pytest.raises(UsageError, match=r"is of .*other, and .*run is to be handed on"):
        shared(run, tmp_path / "again", evaluation=tmp_path / "scores")
    file.write_text("{}")
    with pytest.raises(UsageError, match=r"holds no evaluation \(KeyError\)"):
        shared(run, tmp_path / "again", evaluation=tmp_path / "scores")


def test_an_ensemble_is_shared_with_its_members(run, tmp_path):
    folder = segkit.save_model(segkit.load_model([run, run]), tmp_path / "both")
    sent = shared(folder, tmp_path / "shared")
    assert (sent / "members/2/model.safetensors").is_file()
    for each in sent.rglob("*.*"):
        assert each.suffix == ".safetensors" or "secret" not in each.read_text()
    assert "An ensemble of 2 networks" in (sent / "README.md").read_text()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"licence": "all mine"}, "'all mine' is no identifier of a licence"),
        ({"name": "cells"}, "'cells' is no name on the Hugging Face hub"),
        ({"name": "../cells"}, "is no name on the Hugging Face hub"),
    ],
)
def test_a_wrong_name_or_licence_is_refused(run, tmp_path, changes, told):
    with pytest.raises(UsageError, match=told):
        shared(run, tmp_path / "shared", **changes)


@pytest.mark.parametrize("variable", ["SEGKIT_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_nothing_is_sent_and_it_is_said(run, monkeypatch, variable):
    for each in ("SEGKIT_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(variable, "1")
    with pytest.raises(EnvironmentFault, match=rf"SK-E005: {variable} is set"):
        push(Sharing(str(run), "mit", "ann/cells"))


def test_words_from_elsewhere_are_no_markup():
    assert plain("<b>|`x`\n# [y](z)") == r"&lt;b>\|\`x\` \# \[y\](z)"


class Hub(BaseHTTPRequestHandler):
    """What huggingface_hub asks of the hub to make, fill and read one repository."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        hub, path = self.server, self.path.partition("?")[0]
        if hub.refuses:
            return self.answer({"error": "You may not write here."}, 403)
        if path == "/api/repos/create":
            told = json.loads(data)
            hub.private = told.get("private", told.get("visibility"))
            return self.answer({"url": f"{hub.place}/{told['organization']}/{told['name']}"})
        if path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if path.endswith("/preupload/main"):
            names = [each["path"] for each in json.loads(data)["files"]]
            modes = {"uploadMode": "regular", "shouldIgnore": False}
            return self.answer({"files": [{"path": name, **modes} for name in names]})
        assert path == "/api/models/ann/cells/commit/main", path
        for line in data.splitlines():
            told = json.loads(line)
            if told["key"] == "file":
                hub.files[told["value"]["path"]] = base64.b64decode(told["value"]["content"])
            elif told["key"] == "deletedFile":
                del hub.files[told["value"]["path"]]
        address = f"{hub.place}/ann/cells/commit/{SHA}"
        return self.answer({"commitUrl": address, "commitOid": SHA, "pullRequestUrl": None})

    def do_GET(self):
        path, hub = self.path.partition("?")[0], self.server
        if path == "/refuse":
            hub.refuses = True
            return self.answer({})
        if path.startswith("/api/models/ann/cells/tree"):
            files = [
                {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
                for name, data in hub.files.items()
            ]
            return self.answer(files)
        if path.startswith("/api/models/ann/cells"):
            siblings = [{"rfilename": name} for name in hub.files]
            told = {"id": "ann/cells", "sha": SHA, "siblings": siblings, "private": True}
            return self.answer({**told, "tags": [], "downloads": 0})
        name = path.partition("/resolve/")[2].partition("/")[2]
        if name not in hub.files:
            return self.answer({"error": "Entry not found"}, 404)
        head = {"ETag": f'"{name}"', "X-Repo-Commit": SHA}
        return self.answer(hub.files[name], **head)

    do_HEAD = do_GET

    def answer(self, content, status=200, **head):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in {**head, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_):
        return None


SHA = "1" * 40


@pytest.fixture
def hub():
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.place = f"http://127.0.0.1:{server.server_address[1]}"
        server.files, server.refuses, server.private = {"members/1/model.json": b"old"}, False, None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


# In a process of its own: huggingface_hub reads where the hub is when it is imported.
PROGRAM = """
import os, sys
from urllib.request import urlopen
from segkit.cli.main import main

def says(*words):
    try:
        main(words)
    except SystemExit as ended:
        return ended.code

run, hub = sys.argv[1:]
found = [says("push", run, "ann/cells", "--license", "mit")]
predict = ("predict", "hf:ann/cells", "a.png", "--precision", "fp32", "--out")
found.append(says(*predict, "out"))
urlopen(hub + "/refuse").read()
found.append(says("push", run, "ann/cells", "--license", "mit"))
found.append(says("push", run, "ann/cells"))
os.environ["SEGKIT_OFFLINE"] = "1"
found.append(says(*predict, "from the cache"))
print(found)
"""


@pytest.mark.integration
def test_what_is_pushed_is_loaded_by_its_name(hub, run, tmp_path):
    settings = os.environ | {
        **{"HF_ENDPOINT": hub.place, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_test"},
        **{"HF_HUB_OFFLINE": "0", "SEGKIT_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"},
    }
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(run), hub.place],
        **{"env": settings, "cwd": tmp_path, "capture_output": True, "text": True},
        timeout=200,
    )
    assert ran.stdout.splitlines()[-1:] == ["[0, 0, 4, 2, 0]"], ran.stderr
    assert f"sent: {hub.place}/ann/cells" in ran.stdout
    assert "SK-E005: the Hugging Face hub did not take ann/cells" in ran.stderr
    assert "SK-C011: nobody has said under which licence" in ran.stderr
    assert sorted(hub.files) == ["README.md", "model.json", "model.safetensors"]
    assert hub.private in (True, "private")
    due = segkit.predict(run, picture, precision="fp32").labels
    for place in ("out", "from the cache"):
        with Image.open(tmp_path / place / "masks/a.png") as mask:
            assert (np.asarray(mask) == due).all()
