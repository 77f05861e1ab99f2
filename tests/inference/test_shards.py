"""Shards: many processes, one folder, every image once and whole."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import segkit
from segkit.cli.main import segkit as segkit_command
from segkit.errors import SegkitError, StorageError, UsageError
from segkit.inference.files import predict_to_folder
from segkit.inference.journal import Journal
from segkit.inference.output import Output
from segkit.inference.prediction_settings import PredictionSettings
from segkit.inference.shards import shard_of
from segkit.inference.slides.opening import GROUP
from segkit.inference.sources import Source, find_sources
from segkit.interfaces import JobNews


@pytest.fixture
def place(tmp_path):
    torch.manual_seed(0)
    model = segkit.build_model("unet(width=2, depth=2)", num_classes=3, in_channels=1)
    segkit.save_model(model, tmp_path / "model", classes=("ground", "cell", "gap"))
    return tmp_path


def draw(folder, count, side=8):
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels_HW = generator.integers(0, 256, (side, side + number % 5), dtype=np.uint8)
        Image.fromarray(pixels_HW).save(folder / f"{number:04}.png")


def predict(place, out, shard=None, merge=False, **options):
    asked = PredictionSettings(str(place / "model"), precision="fp32", shard=shard, merge=merge)
    output = Output(place / out, overlays=False, objects=True, **options)
    return predict_to_folder(asked, [place / "images"], output)


def contents(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.parent.name != "shards" and p.name != "done.jsonl"
    }


def test_merged_shards_are_what_one_command_writes(place):
    draw(place / "images", 9)
    (place / "images/bad.png").write_text("<!doctype html>")
    predict(place, "whole")
    for number in (2, 1, 3):
        predict(place, "parts", f"{number}/3")
    report = predict(place, "parts", merge=True)
    assert contents(place / "parts") == contents(place / "whole")
    assert [failed.code for failed in report.failed] == ["SK-D006"]
    lines = {name: (place / name / "done.jsonl").read_text() for name in ("whole", "parts")}
    assert sorted(lines["parts"].splitlines()) == sorted(lines["whole"].splitlines())


def test_a_share_that_did_not_run_is_named(place):
    draw(place / "images", 9)
    predict(place, "out", "1/2")
    report = predict(place, "out", merge=True)
    others = [s for s in find_sources([place / "images"]) if shard_of(s, 2) == 2]
    assert [failed.file for failed in report.failed] == [str(s.path) for s in others]
    assert {failed.code for failed in report.failed} == {"SK-S005"}
    assert "--shard 2/2" in report.failed[0].fix
    assert len(report.images) + len(others) == 9


def test_whose_an_image_is_depends_on_its_name_alone_and_shares_are_alike():
    of = [shard_of(Source(None, f"scan/{number}"), 8) for number in range(4000)]
    assert of == [shard_of(Source(None, f"scan/{number}"), 8) for number in range(4000)]
    assert set(of) == set(range(1, 9))
    assert max(map(of.count, range(1, 9))) < 600


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "-1/3", "a/b", "1/2/3"])
def test_what_is_no_share_is_refused(place, text):
    draw(place / "images", 1)
    with pytest.raises(UsageError, match="--shard 1/8 to --shard 8/8"):
        predict(place, "out", text)


def test_another_number_of_shards_and_nothing_to_merge_are_refused(place):
    draw(place / "images", 3)
    with pytest.raises(UsageError, match="holds no shards to merge"):
        predict(place, "out", merge=True)
    predict(place, "out", "1/2")
    with pytest.raises(UsageError, match="was begun in 2 shards, and not in 3"):
        predict(place, "out", "1/3")


def test_two_processes_of_one_share_are_refused(place):
    draw(place / "images", 3)
    predict(place, "out", "1/2")
    conditions = json.loads((place / "out/shards/1-of-2.jsonl").read_text().splitlines()[0])
    held = Journal.opened(place / "out", conditions, resume=True, file="shards/1-of-2.jsonl")
    (source, *_) = (s for s in find_sources([place / "images"]) if shard_of(s, 2) == 1)
    being_written = place / f"out/masks/{source.name}.png.tmp-x.png"
    being_written.write_bytes(b"half")
    with held:
        with pytest.raises(StorageError, match="is being written by another process") as caught:
            predict(place, "out", "1/2")
        assert being_written.exists()
        with pytest.raises(StorageError):
            predict(place, "out", merge=True)
    assert caught.value.code == "SK-S003"
    predict(place, "out", "1/2")
    assert not being_written.exists()


def test_what_is_installed_is_looked_through_once_however_many_the_images(place, monkeypatch):
    draw(place / "images", 9)
    asked, entry_points = [], metadata.entry_points
    monkeypatch.setattr(
        metadata, "entry_points", lambda **of: asked.append(of) or entry_points(**of)
    )
    predict(place, "out")
    assert [of for of in asked if of.get("group") == GROUP] == [{"group": GROUP}]


@pytest.mark.integration
def test_eight_shards_with_random_kills_give_every_output_once_and_whole(place, monkeypatch):
    """Killed before a mask, with half of one beside it, or after it and before its line."""
    draw(place / "images", 160)
    dice, done, kills = random.Random(0), [], 0
    add, write = Journal.add, Output.write

    class Killed(BaseException):
        pass

    def dying(self, source, prediction):
        nonlocal kills
        fate = dice.random()
        if fate < 0.1:
            kills += 1
            if fate < 0.03:
                raise Killed
            if fate < 0.06:
                half = self.mask(source).with_name(f"{self.mask(source).name}.tmp-x.png")
                half.parent.mkdir(exist_ok=True, parents=True)
                half.write_bytes(b"half")
                raise Killed
            write(self, source, prediction)
            raise Killed
        return write(self, source, prediction)

    def noting(self, source, *results):
        add(self, source, *results)
        done.append(source.name)

    monkeypatch.setattr(Journal, "add", noting)
    monkeypatch.setattr(Output, "write", dying)
    waiting = [f"{number}/8" for number in range(1, 9)]
    while waiting:
        shard = waiting.pop(dice.randrange(len(waiting)))
        try:
            predict(place, "out", shard)
        except Killed:
            waiting.append(shard)
    monkeypatch.undo()
    assert kills > 8
    assert sorted(done) == [f"{number:04}" for number in range(160)]
    assert predict(place, "out", merge=True).failed == []
    predict(place, "whole")
    assert contents(place / "out") == contents(place / "whole")


@pytest.mark.slow
def test_eight_processes_over_2000_files_survive_kills_at_random(place):
    """Each command is killed by the system three times, somewhere in its share, and given again."""
    draw(place / "images", 2000, side=24)
    dice = random.Random(0)
    due = {number: sorted(dice.sample(range(2, 180), 3)) for number in range(1, 9)}
    running = {number: started(place, number) for number in due}
    killed = 0
    while running:
        time.sleep(0.01)
        for number, process in list(running.items()):
            if process.poll() is None:
                if due[number] and lines_of(place, number) > due[number][0]:
                    due[number].pop(0)
                    process.kill()
                    process.wait()
                continue
            assert process.returncode in (0, -signal.SIGKILL), (place / f"{number}.log").read_text()
            killed += process.returncode == -signal.SIGKILL
            del running[number]
            if process.returncode:
                running[number] = started(place, number)
    assert killed >= 20, "most were killed before they had come to their end"
    names = [json.loads(line)["name"] for number in due for line in lines_in(place, number)[1:]]
    assert sorted(names) == [f"{number:04}" for number in range(2000)]
    report = predict(place, "out", merge=True)
    assert (len(report.images), report.failed) == (2000, [])
    predict(place, "whole")
    assert contents(place / "out") == contents(place / "whole")


def started(place, number):
    command = [sys.executable, "-m", "segkit", "predict", place / "model", place / "images"]
    command += ["--out", place / "out", "--shard", f"{number}/8"]
    command += ["--objects", "--no-overlay", "--precision", "fp32"]
    with (place / f"{number}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def lines_in(place, number):
    journal = place / f"out/shards/{number}-of-8.jsonl"
    return journal.read_bytes().splitlines(keepends=True) if journal.exists() else []


def lines_of(place, number):
    return sum(line.endswith(b"\n") for line in lines_in(place, number))


class InThisProcess:
    """A launcher that runs each command line at once, or loses those of some names."""

    outlives = False

    def __init__(self, lost=()):
        self.lost = lost

    def launch(self, jobs):
        for job in jobs:
            yield JobNews(job, "launched", "here")
            if job.name in self.lost:
                yield JobNews(job, "ended", "here", 137)
                continue
            ran = CliRunner().invoke(segkit_command, [*job.command[3:]], standalone_mode=False)
            assert ran.exception is None, ran.exception
            job.log.parent.mkdir(exist_ok=True, parents=True)
            job.log.write_text(ran.output)
            yield JobNews(job, "ended", "here", ran.return_value)


@pytest.fixture
def by_jobs(place, monkeypatch, capsys):
    """by_jobs(out, *words): status and output of `segkit predict --launcher`, jobs run here."""

    def run(out, *words, lost=(), launching=("--launcher", "local", "--jobs", "2")):
        monkeypatch.setattr("segkit.launchers.following.built", lambda *_: InThisProcess(lost))
        capsys.readouterr()
        typed = ["predict", str(place / "model"), str(place / "images"), "--out", str(place / out)]
        typed += ["--no-overlay", "--objects", "--precision", "fp32", *words]
        typed += launching
        status = segkit_command.main(args=typed, standalone_mode=False, obj=typed)
        return status, capsys.readouterr().out

    return run


def test_jobs_of_a_launcher_write_what_one_command_writes(place, by_jobs):
    draw(place / "images", 9)
    (place / "images/bad.png").write_text("<!doctype html>")
    by_jobs("whole", launching=())
    status, said = by_jobs("parts")
    shutil.rmtree(place / "parts" / "launcher")
    assert contents(place / "parts") == contents(place / "whole")
    assert status == 3 and "1 image could not be predicted" in said
    assert "shard-1-of-2: done" in said


def test_a_job_that_is_lost_is_named_and_the_same_command_goes_on(place, by_jobs):
    draw(place / "images", 9)
    with pytest.raises(SegkitError) as failed:
        by_jobs("out", lost=("shard-2-of-2",))
    assert str(failed.value).startswith(
        "SK-L003: 1 of 2 jobs did not end well; shard-2-of-2: status 137."
    )
    assert failed.value.exit_code == 137 and not (place / "out" / "predictions.json").exists()
    status, said = by_jobs("out", "--json")
    assert status == 0 and len(json.loads(said)["images"]) == 9
    with pytest.raises(UsageError, match="--launcher predicts every shard and adds them up"):
        by_jobs("out", "--shard", "1/2")
