"""Where memory ends, the error names numbers that fit; and with those the training goes through."""

import re
import subprocess
import sys

import pytest
import torch

from segkit.bench.limits import fitting
from segkit.bench.limits.counting import count_step
from segkit.config import layered
from segkit.errors import OutOfMemory
from segkit.training.loop.learner import Learner
from segkit.training.loop.memory_of_step import StepAsked, StepTooLarge
from segkit.training.training import train

MIB = 2**20
# The limit is set when all libraries are loaded, whose addresses are more than the training's.
LIMITED = """
import resource, sys
import segkit.bench.limits.fitting, segkit.cli.train_command, segkit.training.training
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from segkit.cli.main import main
main(sys.argv[2:])
"""


def asked(usable, **settings):
    """A step on a CPU that had `usable` bytes."""
    config = layered(None, {"encoder": "unet(width=8, depth=3)", "weights": "none"} | settings)
    return StepAsked(config, 3, 3, int(config.batch), 1, usable, "cpu")


def counted(step, **changes):
    """Bytes of a step, by the counter itself, with options changed."""
    config = step.config.model_copy(update=changes)
    return count_step(
        fitting.Step(
            encoder=config.encoder,
            classes=3,
            height=config.size,
            width=config.size,
            batch=int(config.batch) // config.accumulate,
            precision=config.precision,
            device="cpu",
            checkpoint_activations=config.checkpoint_activations,
        )
    ).peak_bytes


def test_every_option_that_is_named_fits_and_the_next_larger_does_not():
    step = asked(0, batch=12, size=128, precision="fp32")
    usable = counted(step, batch=5) + MIB
    step = asked(int(usable / fitting.SHARE) + 1, batch=12, size=128, precision="fp32")
    told = fitting.what_fits(step)
    assert "A step of 12 crops of 128 x 128 pixels in fp32 needs about " in told
    named = {flag: int(number) for flag, number in re.findall(r"--(\w+) (\d+)", told)}
    assert named["accumulate"] == 3 and "(the same batch, in parts of 4)" in told
    assert named["batch"] >= 5 and "--precision bf16" in told
    assert counted(step, accumulate=3) <= usable < counted(step, accumulate=2)
    assert counted(step, size=named["size"]) <= usable < counted(step, size=named["size"] + 32)


def test_a_step_that_should_have_fitted_is_not_told_to_shrink():
    assert "By count" not in fitting.what_fits(asked(2**40, batch=2, size=64))


def test_a_failed_allocation_carries_the_step_and_frees_what_it_held(settings, monkeypatch):
    held = []

    def failing(self, batch):
        image_BCHW = batch.image_BCHW.clone()
        held.append(torch.multiprocessing.reductions.StorageWeakRef(image_BCHW.untyped_storage()))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")

    monkeypatch.setattr(Learner, "_backward", failing)
    with pytest.raises(StepTooLarge) as caught:
        train(settings(batch=2))
    error = caught.value
    assert isinstance(error, OutOfMemory) and (error.code, error.exit_code) == ("SK-T002", 7)
    assert "(CUDA out of memory. Tried to allocate 2 GiB)" in error.what
    assert (error.step.images, error.step.config.size, error.step.kind) == (2, 16, "cpu")
    assert error.step.usable > 2**20 and held[0].expired()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v is Linux's")
def test_with_what_is_named_a_training_under_a_limit_goes_through(tmp_path):
    words = ["train", "--encoder", "unet(width=16, depth=4)", "--size", "224", "--batch", "12"]
    words += ["--device", "cpu", "--precision", "fp32", "--workers", "0", "--recipe", "plain"]
    words += ["--epochs", "1", "--set", "epoch_steps=1", "--set", "samples=0"]

    def run(out, *more):
        limit = str(900 * MIB)
        command = [sys.executable, "-c", LIMITED, limit, *words, *more, "--out", out]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)

    failed = run("large")
    assert failed.returncode == 7, failed.stdout + failed.stderr
    (parts,) = re.findall(r"--accumulate (\d+)", failed.stderr)
    smaller = run("smaller", "--accumulate", parts)
    assert smaller.returncode == 0, smaller.stderr
