"""Loggers: one contract, the real packages offline, and no training that ends for one."""

import csv
import json
import math
import sys

import pytest

from segkit.cli.main import main
from segkit.errors import EnvironmentFault, UsageError
from segkit.training.monitoring.events import EpochReport
from segkit.training.monitoring.loggers import Logging, build_loggers, scalars_of
from segkit.training.training import resume, train

EPOCH = EpochReport(
    *(2, 4, 40, 0.5, 1e-3, 12.3, 2.0, None),
    data_share=0.08,
    val_loss=math.nan,
    scores={"miou": 0.75, "iou/1": math.nan},
    class_iou={"cell": 0.5, "gap": math.nan},
)


def test_scalars_are_the_finite_numbers_of_an_epoch_by_name():
    assert scalars_of(EPOCH) == {
        "train/loss": 0.5,
        "train/learning_rate": 1e-3,
        "train/images_per_second": 12.3,
        "train/data_share": 0.08,
        "val/miou": 0.75,
        "val/class_iou/cell": 0.5,
    }


def test_an_unknown_logger_and_a_missing_package_are_said(monkeypatch):
    with pytest.raises(UsageError, match=r"no logger is called 'wanb'.\n.*Did you mean 'wandb'"):
        build_loggers(["wanb"])
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(EnvironmentFault) as caught:
        build_loggers(["wandb"])
    assert str(caught.value) == (
        "SK-E003: Weights & Biases was asked for, and it is not installed.\n"
        "         python -m pip install wandb"
    )


class Faulty:
    def __init__(self, fails):
        self.fails, self.told = fails, []

    def _do(self, name, *given):
        self.told.append(name)
        if name == self.fails:
            raise ConnectionError("the server is gone")
        return "place"

    def start(self, folder, settings, known):
        return self._do("start")

    def log(self, scalars, step):
        self._do("log")

    def end(self):
        self._do("end")


def test_a_logger_that_fails_ends_no_training_once_it_began(settings, tmp_path):
    warned, ill, well = [], Faulty("log"), Faulty("")
    result = train(settings(epochs=2), Logging({"ill": ill, "well": well}, warned.append))
    assert result.epochs == 2 and ill.told == ["start", "log"]
    assert well.told == ["start", "log", "log", "end"]
    assert warned == [
        "ill failed and gets nothing more (ConnectionError: the server is gone); metrics.csv has "
        "every number."
    ]
    with pytest.raises(EnvironmentFault, match=r"SK-E004: ill cannot log this training"):
        train(settings(epochs=2), Logging({"ill": Faulty("start")}, warned.append))


def columns(run):
    with (run / "metrics.csv").open(newline="") as opened:
        return list(csv.DictReader(opened))


def records(data):
    """Those of a .wandb file: a head of 7 bytes, then LevelDB's log of blocks of 32 KiB."""
    place, whole = 7, b""
    while place < len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield whole
            whole = b""


@pytest.mark.integration
def test_every_logger_holds_the_numbers_of_the_log_and_goes_on(settings, tmp_path, monkeypatch):
    read = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    pytest.importorskip("wandb")
    mlflow = pytest.importorskip("mlflow")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    names = ["tensorboard", "wandb", "mlflow"]
    run = train(settings(epochs=1), Logging(build_loggers(names), pytest.fail)).folder
    known = json.loads((run / "loggers.json").read_text())
    resume(run, {"epochs": 2}, Logging(build_loggers(names), pytest.fail))
    assert json.loads((run / "loggers.json").read_text()) == known
    rows = columns(run)
    name = "val/class_iou/class 1"
    due = [float(row["class_iou/class 1"]) for row in rows]

    events = read.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert [each.value for each in events.Scalars(name)] == pytest.approx(due, rel=1e-6)

    client = mlflow.MlflowClient((tmp_path / "mlruns").as_uri())
    kept = client.get_metric_history(known["mlflow"], name)
    assert [each.value for each in kept] == pytest.approx(due)
    assert [each.step for each in kept] == [int(row["step"]) for row in rows]
    told = client.get_run(known["mlflow"])
    assert (told.info.status, told.data.params["decoder"]) == ("FINISHED", "unet(dropout=0.2)")

    found = []
    for file in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        for data in records(file.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            found += [
                json.loads(item.value_json)
                for item in record.history.item
                if (item.key or ".".join(item.nested_key)) == name
            ]
    assert found == pytest.approx(due)


def test_the_option_names_them_before_anything_is_written(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--logger", "tensorboard,xyz", "--out", str(tmp_path / "run")])
    assert ended.value.code == 2 and "no logger is called 'xyz'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
