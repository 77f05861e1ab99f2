"""`segkit train` as people type it."""

import re

import pytest
from click.testing import CliRunner

from segkit.cli.main import main
from segkit.cli.train_command import command
from segkit.config import TrainConfig, read_config

QUICK = ["--encoder", "unet(depth=2, width=4)", "--weights", "none", "--epochs", "1"]
QUICK += ["--batch", "2", "--size", "16", "--device", "cpu", "--precision", "fp32"]


@pytest.fixture
def segkit(capsys):
    """segkit("train", ...): exit status, what was printed, and the errors."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


@pytest.fixture
def folder(tmp_path):
    import numpy as np
    from PIL import Image

    root = tmp_path / "data"
    generator = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for number in range(4):
            mask_HW = np.zeros((16, 16), np.uint8)
            mask_HW[:, 8:] = 1
            noise_HWC = generator.integers(0, 50, (16, 16, 3))
            image_HWC = (mask_HW[..., None] * 200 + noise_HWC).astype(np.uint8)
            Image.fromarray(image_HWC).save(root / "images" / split / f"{number}.png")
            Image.fromarray(mask_HW).save(root / "masks" / split / f"{number}.png")
    return root


def test_a_training_says_what_it_decided_and_where_everything_lies(segkit, folder, tmp_path):
    run = tmp_path / "run"
    status, out, _ = segkit("train", *QUICK, "--data", str(folder), "--out", str(run))
    assert status == 0
    assert re.search(r"^device +cpu \(\d+ threads\), fp32$", out, re.M)
    assert re.search(r"^weights +random$", out, re.M)
    assert re.search(r"^training +1 epoch of 2 steps, batch 2, crops of 16 x 16", out, re.M)
    assert re.search(
        r"^epoch 1/1  loss \d\.\d{4}  val loss \d\.\d{4}  miou \d\.\d{4} \*", out, re.M
    )
    for place in ("model", "metrics.csv", "samples"):
        assert str(run / place) in out
        assert (run / place).exists()


def test_without_data_it_says_that_the_set_is_built_in(segkit, tmp_path):
    out = tmp_path / "run"
    status, printed, _ = segkit("train", *QUICK, "--out", str(out), "--dry-run")
    assert status == 0
    assert "built-in demo set" in printed
    assert not out.exists()


@pytest.mark.integration
def test_a_random_start_that_was_not_asked_for_is_said_loudly(segkit, monkeypatch, tmp_path):
    from segkit.errors import WeightsUnavailable
    from segkit.model.weights import PublishedWeights

    def nothing(self):
        raise WeightsUnavailable("SK-W001", f"the weights {self.repository} are not here.", "Fix.")

    monkeypatch.setattr(PublishedWeights, "fetch", nothing)
    status, out, err = segkit("train", "--encoder", "densenet121", "--dry-run", "--device", "cpu")
    assert status == 0
    assert "Training of densenet121 starts from RANDOM weights." in err
    assert re.search(
        r"^weights +RANDOM \(the weights timm/densenet121\S* are not here\)$", out, re.M
    )
    status, _, err = segkit(
        "train", "--encoder", "densenet121", "--weights", "imagenet", "--dry-run"
    )
    assert status == 4
    assert "SK-W001" in err


def test_config_repeats_a_run_in_a_new_folder(segkit, folder, tmp_path):
    first = tmp_path / "run"
    segkit("train", *QUICK, "--data", str(folder), "--out", str(first))
    status, out, _ = segkit("train", "--config", str(first / "config.yaml"))
    assert status == 0
    again = tmp_path / "run-2"
    assert str(again / "model") in out
    assert read_config(again / "config.yaml") == read_config(first / "config.yaml")
    assert (again / "model" / "model.safetensors").read_bytes() == (
        first / "model" / "model.safetensors"
    ).read_bytes()


def test_resume_goes_on_and_refuses_other_settings(segkit, folder, tmp_path):
    run = tmp_path / "run"
    segkit("train", *QUICK, "--data", str(folder), "--out", str(run))
    status, out, _ = segkit("train", "--resume", str(run), "--epochs", "2")
    assert status == 0
    assert "from epoch 2, step 3" in out
    assert "Trained 2 epochs" in out
    status, _, err = segkit("train", "--resume", str(run), "--lr", "0.1")
    assert status == 2
    assert "--lr cannot be changed while a run continues" in err


def test_settings_without_an_option_are_set_by_name(segkit, folder, tmp_path):
    run = tmp_path / "run"
    where = ["--data", str(folder), "--out", str(run)]
    status, _, err = segkit("train", *QUICK, *where, "--set", "sampels=0")
    assert status == 2
    assert "Did you mean 'samples'" in err
    status, _, _ = segkit("train", *QUICK, *where, "--set", "samples=0", "--ignore-index", "none")
    assert status == 0
    assert read_config(run / "config.yaml").samples == 0
    assert not (run / "samples").exists()


def test_a_name_nobody_offers_is_refused_with_the_nearest(segkit):
    status, _, err = segkit("train", "--encoder", "densnet121", "--dry-run", "--device", "cpu")
    assert status == 2
    assert "no encoder is called 'densnet121'. Did you mean 'densenet121'" in " ".join(err.split())


def test_every_option_is_a_setting_and_its_help_states_the_setting_s_default():
    fields = TrainConfig.model_fields
    others = {"assignments", "dry_run", "file", "force", "help", "resume", "scheduled", "smoke"}
    others |= {"devices", "max_restarts", "launcher"}
    others |= {f"job_{what}" for what in ("gpus", "cpus", "memory", "minutes")}
    for option in command.params:
        if option.name in others:
            continue
        assert option.name in fields
        stated = re.search(r"\[default: (\S+)\]", option.help or "")
        default = fields[option.name].default
        if stated and default is not None:
            shown = ("on" if default else "off") if isinstance(default, bool) else str(default)
            assert stated[1] == shown


def test_help_can_be_read_without_a_plugin():
    shown = CliRunner().invoke(command, ["--help"])
    assert shown.exit_code == 0
    assert "--resume" in shown.output


@pytest.mark.parametrize("option", ["--loss", "--metric", "--encoder", "--decoder"])
def test_a_mistyped_name_is_refused_before_data_or_weights_are_looked_for(segkit, option):
    status, _, err = segkit("train", "--data", "/nowhere", option, "nosuchthing")
    assert status == 2
    assert "is called 'nosuchthing'" in err
    assert "WARNING" not in err


def test_minutes_and_epochs_are_not_given_together(segkit):
    status, _, err = segkit("train", "--minutes", "5", "--epochs", "3")
    assert status == 2
    assert "--minutes and --epochs both say how long the training is" in err
