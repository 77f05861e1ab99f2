"""What may change when a run goes on is checked before a byte of the run is written."""

import shutil

import pytest

from segkit.config import TrainConfig
from segkit.errors import SegkitError, StorageError, UsageError
from segkit.training.monitoring.events import Silence
from segkit.training.training import resume, train


@pytest.fixture(scope="module")
def trained(tiny_settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    from segkit.config import layered

    train(layered(None, {**tiny_settings, "epochs": 2, "samples": 0, "out": str(folder)}))
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def contents(folder):
    files = (each for each in sorted(folder.rglob("*")) if each.is_file())
    return {each.relative_to(folder): each.read_bytes() for each in files if each.name != ".lock"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epochs": -3}, "--epochs: 'epochs' cannot be -3 (Input should be greater than or equal"),
        ({"epochs": 0}, "--epochs: 'epochs' cannot be 0 (Input should be greater than or equal"),
        ({"epochs": 1}, "--epochs 1: the run is in epoch 2 already"),
        ({"workers": -3}, "--workers: 'workers' cannot be -3 (Input should be greater than or"),
        ({"lr": 0.1}, "--lr cannot be changed while a run continues"),
        ({"compile": "perhaps"}, "--compile: 'compile' cannot be 'perhaps'"),
        ({"device": "toaster"}, "'toaster' is no device"),
    ],
)
def test_a_change_that_cannot_be_is_refused_and_nothing_is_written(run, changes, says):
    before = contents(run)
    with pytest.raises(UsageError) as caught:
        resume(run, changes)
    assert caught.value.code == "SK-C009"
    assert says in str(caught.value)
    assert contents(run) == before
    assert resume(run).epochs == 2


def test_a_run_refuses_what_is_no_setting(run):
    with pytest.raises(SegkitError, match="--speed cannot be changed while a run continues"):
        resume(run, {"speed": 3})


def test_negative_workers_are_refused_at_the_start_too():
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        TrainConfig(workers=-2)


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_a_folder_that_vanishes_during_a_training_is_an_error_that_says_so(settings, how, tmp_path):
    class Vanish(Silence):
        def finished_epoch(self, report):
            if how == "removed":
                shutil.rmtree(tmp_path / "run")
            else:
                (tmp_path / "run").rename(tmp_path / "elsewhere")

    with pytest.raises(StorageError) as caught:
        train(settings(), Vanish())
    assert caught.value.exit_code == 8
    assert f"{tmp_path / 'run'} is gone: it was moved, renamed or removed" in str(caught.value)
    assert f"segkit train --resume {tmp_path / 'run'}" in caught.value.fix
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("out", ["a file", "a file/run"])
def test_a_file_is_no_place_for_a_run(settings, out, tmp_path):
    (tmp_path / "a file").write_text("important")
    with pytest.raises(UsageError) as caught:
        train(settings(out=str(tmp_path / out)), dry_run=True)
    assert f"{tmp_path / 'a file'} is a file, and a run needs a folder" in str(caught.value)
    assert (tmp_path / "a file").read_text() == "important"
