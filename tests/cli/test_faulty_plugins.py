"""A plugin that fails while it runs is named by the real commands, with exit status 9."""

import pytest

PLUGIN = """
import numpy as np
import torch
from torch import nn
from segkit.api import Features, Normalization, Sample, hookimpl

class Encoder(nn.Module):
    '''One convolution.'''
    strides = (2,)
    def __init__(self, *, in_channels: int, weights: str):
        super().__init__()
        self.channels, self.normalization = (4,), Normalization((0.5,) * 3, (0.5,) * 3)
        self.convolution = nn.Conv2d(in_channels, 4, 3, stride=2, padding=1)
        {building}
    def forward(self, image_BCHW):
        if image_BCHW.device.type != "meta":
            {forward}
        return Features((self.convolution(image_BCHW),))

class Loss(nn.Module):
    '''A mean.'''
    def __init__(self, *, num_classes: int, ignore_index: int | None):
        super().__init__()
    def forward(self, logits_BKHW, target_BHW):
        {loss}
        return logits_BKHW.square().mean()

class Metric:
    '''A score.'''
    def __init__(self, *, num_classes: int, ignore_index: int | None):
        pass
    def update(self, prediction, target_BHW):
        {update}
    def compute(self):
        {compute}
        return {{"{score}": 0.5}}
    def reset(self):
        pass

class Dataset:
    '''Noise.'''
    classes, palette, ignore_index = ("a", "b"), ((0, 0, 0), (9, 9, 9)), None
    def __init__(self, *, root, split: str):
        self.split = split
    def __len__(self):
        return 4 if self.split in ("train", "val") else 0
    def __getitem__(self, index):
        {sample}
        draw = np.random.default_rng(index)
        image_HWC = draw.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        return Sample(image_HWC, (image_HWC[..., 0] > 99).astype(np.int64), f"{{index}}")

class Benchmark:
    '''Nothing.'''
    unit = "runs"
    def __init__(self, *, device: str):
        pass
    def set_up(self):
        pass
    def run(self):
        {run}
        return 1

@hookimpl
def segkit_dataset(name):
    return Dataset

@hookimpl
def segkit_benchmark(name):
    return Benchmark

@hookimpl
def segkit_encoder(name):
    return Encoder

@hookimpl
def segkit_loss(name):
    return Loss

@hookimpl
def segkit_metric(name):
    return Metric
"""
PLACES = ("building", "forward", "loss", "update", "compute", "sample", "run")
KINDS = ("encoders", "losses", "metrics", "datasets", "benchmarks")
SOUND = dict.fromkeys(PLACES, "pass")
QUICK = ["--weights", "none", "--epochs", "1", "--batch", "2", "--size", "16", "--device", "cpu"]


@pytest.fixture
def segkit(forked, install_fake, tmp_path):
    """segkit(["train", ...], forward="1 / 0"): the command where the plugin does that."""

    def run(arguments, score="acme_score", **faults):
        entries = {kind: {"acme": "acme_parts"} for kind in KINDS}
        source = PLUGIN.format(**SOUND | faults, score=score)
        install_fake("acme-nets", entries, version="2.1", acme_parts=source)
        site = {"PYTHONPATH": str(tmp_path / "site")}
        return forked.run(["segkit", *arguments], cwd=tmp_path, env=site)

    return run


@pytest.mark.integration
@pytest.mark.parametrize(
    ("place", "options"),
    [
        ("forward", ["--encoder", "acme"]),
        ("loss", ["--encoder", "unet(depth=2, width=4)", "--loss", "acme"]),
        ("update", ["--encoder", "unet(depth=2, width=4)", "--metric", "acme"]),
        ("compute", ["--encoder", "unet(depth=2, width=4)", "--metric", "acme"]),
    ],
)
def test_a_fault_at_run_time_names_component_distribution_and_version(segkit, place, options):
    ran = segkit(["train", *options, *QUICK], **{place: "1 / 0"})
    assert ran.returncode == 9, ran.stderr
    assert "SK-P007: 'acme' of acme-nets 2.1 failed while it ran (ZeroDivisionError" in ran.stderr
    assert "acme_parts.py:" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.integration
@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_fault_of_a_sample_names_the_data_set(segkit, tmp_path, workers):
    options = ["--encoder", "unet(depth=2, width=4)", "--dataset", "acme", "--data", str(tmp_path)]
    ran = segkit(["train", *options, *QUICK, "--workers", workers], sample="1 / 0")
    assert ran.returncode == 9, ran.stderr
    assert "SK-P007: 'acme' of acme-nets 2.1 failed while it ran (ZeroDivisionError" in ran.stderr
    assert "acme_parts.py:" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.integration
def test_a_fault_of_a_benchmark_names_it(segkit):
    options = ["--rounds", "2", "--seconds", "0.01", "--device", "cpu", "--out", "result"]
    ran = segkit(["bench", "acme", *options], run="1 / 0")
    assert ran.returncode == 9, ran.stderr
    assert "SK-P007: 'acme' of acme-nets 2.1 failed while it ran (ZeroDivisionError" in ran.stderr
    assert "acme_parts.py:" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.integration
def test_two_metrics_with_one_score_name_are_refused(segkit, tmp_path):
    options = ["--encoder", "unet(depth=2, width=4)", "--metric", "miou,acme"]
    ran = segkit(["train", *options, *QUICK], score="miou")
    assert ran.returncode == 2, ran.stderr
    assert (
        "'acme' gives a score called 'miou', which another of the metrics gives too" in ran.stderr
    )
    assert not (tmp_path / "runs").exists()  # before anything was trained


@pytest.mark.integration
def test_a_run_is_repeated_and_continued_after_another_plugin_took_its_names(
    segkit, forked, install_fake, tmp_path
):
    ran = segkit(["train", "--encoder", "acme", *QUICK, "--out", "first"])
    assert ran.returncode == 0, ran.stderr
    install_fake("later", {"encoders": {"acme": "later_parts"}}, later_parts="raise SystemExit(3)")

    def again(*words):
        site = {"PYTHONPATH": str(tmp_path / "site")}
        return forked.run(["segkit", "train", *words], cwd=tmp_path, env=site)

    refused = again("--encoder", "acme", *QUICK)
    assert "2 installed distributions offer the encoder 'acme'" in refused.stderr
    repeated = again("--config", "first/config.yaml", "--out", "second")
    assert repeated.returncode == 0, repeated.stderr
    continued = again("--resume", "first", "--epochs", "2")
    assert continued.returncode == 0, continued.stderr


@pytest.mark.integration
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("import os; os._exit(3)", "it ended the interpreter (status 3)"),
        ("print('hello')", ""),
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    ],
)
def test_a_list_survives_any_plugin(segkit, fault, words):
    ran = segkit(["list", "encoders", "--long"], building=fault)
    assert ran.returncode == 0
    [line] = [line for line in ran.stdout.splitlines() if "acme-nets" in line and "2.1" in line][:1]
    assert ("broken" in line) == bool(words)
    assert words in ran.stdout
    assert "hello" not in ran.stdout
    assert "Apache-2.0" in ran.stdout  # the others were looked at all the same


@pytest.mark.integration
def test_info_of_a_plugin_that_ends_the_interpreter_is_a_refusal(segkit):
    ran = segkit(["info", "encoder", "acme"], building="import os; os._exit(3)")
    assert ran.returncode == 9
    assert "SK-P006: the plugin of 'acme' ended the interpreter (status 3)" in ran.stderr


@pytest.mark.integration
def test_check_builds_what_it_imported(segkit):
    ran = segkit(["plugins", "--check"], building="raise RuntimeError('no luck')")
    assert ran.returncode == 9
    assert "acme-nets 2.1, encoders/acme" in ran.stdout
    assert "RuntimeError: no luck" in ran.stdout
