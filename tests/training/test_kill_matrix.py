"""A training killed at any instant ends, continued, bit by bit as one that nothing interrupted.

What a SIGKILL leaves is what lies on the disk at that instant: a copy of the run's folder, taken
before a change to it, is what would be left by one just then. Real kills are behind `slow`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import compared_runs as runs
import pytest
from disk_watch import watched

from segkit.config import layered
from segkit.training.monitoring.events import Silence
from segkit.training.training import resume, train

# By name: the change that is about to be made, and which of that kind it is; or what is told.
POINTS = {
    "in a step": ("stepped", "", 8),
    "in an evaluation": ("evaluating", "", 5),
    "a model begun": ("mkdir", r"model\.tmp-", 3),
    "a model about to take its place": ("rename", r"model$", 3),
    "the old model half removed": ("remove", r"model\.tmp-.*/model\.safetensors", 2),
    "a line of the log not written": ("write", r"metrics\.jsonl$", 3),
    "a line of the log not in the table": ("rename", r"metrics\.csv$", 3),
    "tensors written": ("write", r"checkpoints/step-.*\.tmp-.*/state\.json", 3),
    "the manifest not written": ("write", r"checkpoints/step-.*\.tmp-.*/manifest\.json", 3),
    "a checkpoint without its name": ("rename", r"checkpoints/step-\d+$", 3),
    "an old checkpoint not removed": ("rename", r"checkpoints/step-\d+\.tmp-gone", 1),
    "an old checkpoint half removed": ("remove", r"checkpoints/step-\d+\.tmp-gone/", 4),
}
QUICK = ("in an evaluation", "a model about to take its place", "a checkpoint without its name")


class Copies(Silence):
    """Copies of a run's folder, as it was at each of the points."""

    def __init__(self, run: Path, to: Path) -> None:
        self.run, self.to = run, to
        self.counts = dict.fromkeys(POINTS, 0)

    def changing(self, name: str, path: str) -> None:
        for point, (event, pattern, number) in POINTS.items():
            if name == event and re.match(pattern, path):
                self.counts[point] += 1
                if self.counts[point] == number:
                    shutil.copytree(self.run, self.to / point)

    def stepped(self, report):
        self.changing("stepped", "")

    def evaluating(self, done, images):
        self.changing("evaluating", "")


@pytest.fixture(scope="module")
def copies(tiny_settings, tmp_path_factory):
    """copies(workers): the folder with the run that nothing interrupted, and its copies."""
    made = {}

    def make(workers: int) -> Path:
        if workers not in made:
            place = made[workers] = tmp_path_factory.mktemp("copies")
            changes = {"samples": 0, "workers": workers, "out": str(place / "run")}
            copying = Copies(place / "run", place)
            with watched(place / "run", copying.changing):
                train(layered(None, tiny_settings | changes), copying)
        return made[workers]

    return make


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.integration)])
@pytest.mark.parametrize(
    "point",
    [pytest.param(each, marks=[pytest.mark.integration] * (each not in QUICK)) for each in POINTS],
)
def test_a_training_killed_at_any_point_ends_bitwise(copies, tmp_path, point, workers):
    place = copies(workers)
    run = shutil.copytree(place / point, tmp_path / "run")
    assert len((run / "metrics.jsonl").read_text().splitlines()) in (2, 3)  # of four
    resume(run)
    runs.assert_same(run, place / "run")
    assert runs.logged(run) == runs.logged(place / "run")
    for name in ("model/model.safetensors", "confusion.csv"):
        assert (run / name).read_bytes() == (place / "run" / name).read_bytes()
    assert not list(run.rglob("*.tmp-*"))


def test_the_matrix_has_every_point_and_a_run_cut_off_there_differs(copies):
    place = copies(0)
    assert {each.name for each in place.iterdir()} == {*POINTS, "run"}
    with pytest.raises(AssertionError):
        runs.assert_same(place / "in a step", place / "run")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "workers"), [("instants", 0), ("instants", 2), ("saving", 0)])
def test_a_training_really_killed_again_and_again_ends_bitwise(
    tiny_settings, copies, tmp_path, kind, workers
):
    """Thirty kills at random instants, and fifty while files are changed."""
    whole = copies(0) / "run"
    kills, wanted = 0, 50 if kind == "saving" else 15
    seed = 0
    while kills < wanted:
        run, file = tmp_path / f"run-{seed}", tmp_path / "settings.json"
        settings = tiny_settings | {"samples": 0, "workers": workers, "out": str(run)}
        file.write_text(json.dumps(settings))
        program = Path(__file__).with_name("killed_training.py")
        words = [sys.executable, str(program), str(file), str(run), kind, str(seed)]
        more = str(min(5, wanted - kills))
        ended = subprocess.run([*words, more], capture_output=True, text=True, timeout=600)
        assert ended.returncode == 0, ended.stderr
        kills += json.loads(ended.stdout.splitlines()[-1])["kills"]
        seed += 1
        runs.assert_same(run, whole)
        assert runs.logged(run) == runs.logged(whole)
