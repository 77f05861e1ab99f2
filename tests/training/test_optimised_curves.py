"""What makes a training quicker or smaller leaves its curve where it was."""

import json

import pytest
import torch

from segkit.training.training import train

pytestmark = pytest.mark.integration

# Additions in another order, twelve steps long, in float32.
TOLERANCE = 2e-4


def curve(settings, folder, **changes) -> list[float]:
    """The loss of every epoch and the scores at the end."""
    network = {"encoder": "densenet121(depth=3)", "decoder": "unet", "size": 32, "lr": 1e-4}
    train(settings(out=str(folder), **network | changes))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines]


@pytest.fixture(scope="module")
def plainly(tiny_settings, tmp_path_factory):
    """A training without any of it."""
    from segkit.config import layered

    torch.set_num_threads(1)

    def settings(**changes):
        return layered(None, tiny_settings | changes)

    return curve(settings, tmp_path_factory.mktemp("plainly") / "run")


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder": "densenet121(depth=3, memory_efficient=true)"},
        {"checkpoint_activations": True},
        {"channels_last": False},
    ],
    ids=["memory-efficient encoder", "checkpointed", "NCHW"],
)
def test_the_losses_of_a_training_stay_the_same(settings, plainly, tmp_path, changes):
    found = curve(settings, tmp_path / "run", **changes)
    assert found == pytest.approx(plainly, rel=TOLERANCE)
    assert found[-1] < found[0]


def test_the_test_above_would_notice_another_learning_rate(settings, plainly, tmp_path):
    found = curve(settings, tmp_path / "run", lr=1.2e-4)
    assert found != pytest.approx(plainly, rel=TOLERANCE)
