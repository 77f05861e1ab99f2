"""Two CPU processes under torchrun: equal at the end, one run folder, the scores of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from segkit.config import read_config
from segkit.data.loader import EvaluationLoader
from segkit.data.opening.open import open_data
from segkit.data.options import options_of
from segkit.distributed import Group
from segkit.inference.predictor import Predictor
from segkit.model.compose import build_loss
from segkit.model.folder import load_model
from segkit.scoring.evaluate_model import EvaluationSettings, evaluate_model
from segkit.scoring.evaluation import evaluate
from segkit.scoring.evaluator import Evaluator
from segkit.scoring.mean_loss import MeanLoss

ALONE = Group(0, 1, 1, torch.device("cpu"))
pytestmark = pytest.mark.integration

RANK = """
import json, os, sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from segkit.config import layered
from segkit.training import training
from segkit.distributed import process_group
from segkit.training.loop.loop import Loop
from segkit.scoring.evaluate_model import EvaluationSettings, evaluate_model

torch.set_num_threads(1)
loops = []

class Remembered(Loop):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        loops.append(self)

training.Loop = Remembered
out = Path(sys.argv[1])
rank = os.environ["RANK"]
with process_group("cpu"):
    training.train(layered(None, json.loads(sys.argv[2])))
    request = EvaluationSettings(model=str(out / "run"), device="cpu", precision="fp32", workers=0)
    found = evaluate_model(request)
state = {**{f"model/{n}": t for n, t in loops[0].setup.model.named_parameters()},
         **{f"average/{n}": t for n, t in loops[0].learner.average.model.state_dict().items()}}
save_file({n: t.detach().contiguous() for n, t in state.items()}, out / f"rank{rank}.safetensors")
(out / f"rank{rank}.json").write_text(json.dumps(
    [found.scores.counts_KK.tolist(), found.scores.values, found.scores.images]))
"""


@pytest.fixture(scope="module")
def trained_by_two(tiny_settings, tmp_path_factory):
    """A folder with the run of two processes, and what each of them ended with."""
    folder = tmp_path_factory.mktemp("two")
    script = folder / "rank.py"
    script.write_text(RANK)
    settings = tiny_settings | {"out": str(folder / "run"), "epochs": 3}
    settings |= {"freeze": "encoder", "thaw_epoch": 2}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--standalone", str(script), str(folder), json.dumps(settings)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        command, env=environment, capture_output=True, timeout=240, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return folder


def test_both_processes_end_with_equal_parameters(trained_by_two):
    first, second = (load_file(trained_by_two / f"rank{rank}.safetensors") for rank in (0, 1))
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_both_learnt_something(trained_by_two):
    log = (trained_by_two / "run" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in log]
    assert losses == sorted(losses, reverse=True)


def test_the_run_is_written_once(trained_by_two):
    assert [each.name for each in trained_by_two.glob("run*")] == ["run"]
    log = (trained_by_two / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in log] == [1, 2, 3]


def test_two_processes_have_the_validation_loss_of_one(trained_by_two):
    *_, last = (trained_by_two / "run" / "metrics.jsonl").read_text().splitlines()
    model = load_model(trained_by_two / "run")
    config = read_config(trained_by_two / "run" / "config.yaml")
    data = open_data(Path(config.data), options_of(config))
    loss = MeanLoss(
        build_loss(config.loss, num_classes=len(data.classes), ignore_index=255), data.ignore_index
    )
    evaluate(
        Predictor(model, torch.device("cpu")),
        EvaluationLoader(data.split("val"), batch=3),
        Evaluator("miou", num_classes=len(data.classes), ignore_index=None, group=ALONE),
        full_scale=data.full_scale,
        loss=loss,
    )
    assert json.loads(last)["epoch"] == model.record.training["epoch"]
    assert json.loads(last)["val_loss"] == pytest.approx(loss.value(ALONE), rel=1e-6)


def test_two_processes_count_what_one_counts(trained_by_two):
    # Five images of two sizes: the processes' shares differ, and no image may count twice.
    alone = evaluate_model(
        EvaluationSettings(
            model=str(trained_by_two / "run"), device="cpu", precision="fp32", workers=0
        )
    )
    for rank in (0, 1):
        counts, values, images = json.loads((trained_by_two / f"rank{rank}.json").read_text())
        assert counts == alone.scores.counts_KK.tolist()
        assert values == alone.scores.values
        assert images == 5
