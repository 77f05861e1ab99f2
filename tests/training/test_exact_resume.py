"""A run that was interrupted and continued is the run that was not, bit by bit."""

import compared_runs as runs
import pytest

from segkit.errors import StorageError, UsageError
from segkit.training.training import resume, train


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.integration)])
@pytest.mark.parametrize(
    ("dies_after", "continues_at", "changes"),
    [
        (7, (2, 0), {}),
        (8, (2, 2), {"checkpoint_steps": 1, "precision": "bf16"}),
        (7, (2, 0), {"augmentation": "strong", "optimizer": "sgd"}),
        (4, (1, 0), {"freeze": "encoder", "thaw_epoch": 2, "channels_last": False}),
        # Cached features, which the second process computes anew, and in other batches.
        (7, (2, 0), {"freeze": "encoder", "augmentation": "none", "crops": "middle", "size": 32}),
    ],
)
def test_an_interrupted_run_ends_bitwise_as_an_uninterrupted_one(
    settings, interrupted, tmp_path, workers, dies_after, continues_at, changes
):
    whole = settings(out=str(tmp_path / "whole"), **changes)
    parts = settings(out=str(tmp_path / "parts"), workers=workers, **changes)
    train(whole)
    interrupted(parts, after=dies_after)
    position = runs.final_state(tmp_path / "parts")[1]
    assert (position["epoch"], position["batch"]) == continues_at
    resume(tmp_path / "parts")
    runs.assert_same(tmp_path / "whole", tmp_path / "parts")
    assert runs.logged(tmp_path / "whole") == runs.logged(tmp_path / "parts")
    assert (tmp_path / "whole/model/model.safetensors").read_bytes() == (
        tmp_path / "parts/model/model.safetensors"
    ).read_bytes()


def test_the_comparison_would_notice_another_seed(settings, tmp_path):
    train(settings(epochs=1, out=str(tmp_path / "first")))
    train(settings(epochs=1, out=str(tmp_path / "second"), seed=1))
    with pytest.raises(AssertionError):
        runs.assert_same(tmp_path / "first", tmp_path / "second")


def test_a_run_repeated_from_its_config_is_the_same_run_in_a_new_folder(settings, tmp_path):
    from segkit.config import read_config

    train(settings(epochs=2))
    result = train(read_config(tmp_path / "run" / "config.yaml"))
    assert result.folder == tmp_path / "run-2"
    runs.assert_same(tmp_path / "run", tmp_path / "run-2")


def test_a_complete_run_stays_as_it_is(settings, tmp_path):
    first = train(settings(epochs=1))
    before = runs.final_state(first.folder)[1]
    result = resume(first.folder)
    assert result.scores == first.scores
    assert runs.final_state(first.folder)[1] == before


def test_more_epochs_go_on_from_the_last(settings, tmp_path):
    train(settings(epochs=1))
    result = resume(tmp_path / "run", {"epochs": 2})
    assert result.epochs == 2
    assert [each["epoch"] for each in runs.logged(tmp_path / "run")] == [1, 2]


def test_two_processes_do_not_share_a_run(settings, tmp_path):
    from segkit.training.run.run_folder import RunFolder

    train(settings(epochs=1))
    with RunFolder(tmp_path / "run").locked(), pytest.raises(StorageError) as caught:
        resume(tmp_path / "run", {"epochs": 2})
    assert caught.value.code == "SK-S003"
    assert "is in use by process" in caught.value.what


def test_what_an_interrupted_write_left_is_swept(settings, tmp_path):
    train(settings(epochs=1))
    left = tmp_path / "run" / "checkpoints" / "step-00000009.tmp-abc"
    left.mkdir()
    resume(tmp_path / "run")
    assert not left.exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"is no run: it holds no config\.yaml"):
        resume(tmp_path)


def test_a_run_that_fell_back_to_a_random_start_is_repeated_from_its_config(
    settings, monkeypatch, tmp_path
):
    from segkit.config import read_config
    from segkit.errors import WeightsUnavailable
    from segkit.model.weights import PublishedWeights

    def nothing(self):
        raise WeightsUnavailable("SK-W001", "the weights are not here.", "Fetch them.")

    monkeypatch.setattr(PublishedWeights, "fetch", nothing)
    small = {"encoder": "densenet121(depth=2)", "decoder": "unet", "epochs": 1, "size": 32}
    train(settings(weights="auto", **small))
    saved = read_config(tmp_path / "run" / "config.yaml")
    assert saved.weights == "none"
    train(saved)
    runs.assert_same(tmp_path / "run", tmp_path / "run-2")
