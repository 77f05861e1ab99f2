"""nnU-Net 2d by its own commands: plan_and_preprocess, train and predict.

    python nnunet.py train DATA MODEL --minutes N --seed N
    python nnunet.py predict MODEL IMAGES OUT

The images are laid out as its documentation asks (documentation/dataset_format.md), with the
ignored label as its ignore label. The training uses its plans, network, batch, patch, augmentation,
loss and optimizer unchanged, on all training images (fold `all`); only its length is another: the
trainer in nnunet_trainer.py ends with the minutes, its poly schedule run out. The last weights are
the model.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import given
import numpy as np
from PIL import Image

NUMBER, NAME, TRAINER = 1, "Dataset001_given", "nnUNetTrainerMinutes"


def train(data: Path, model: Path, minutes: float, seed: int) -> None:
    training = given.read_training(data)
    raw = model / "raw" / NAME
    for part in ("imagesTr", "labelsTr"):
        (raw / part).mkdir(parents=True)
    classes, ignored = len(training.classes), False
    for name, image_HWC, mask_HW in zip(
        training.names, training.images, training.masks, strict=True
    ):
        _image(image_HWC, training.channels, raw / "imagesTr" / f"{name}_0000.png")
        ignored |= bool((mask_HW == given.IGNORED).any())
        label_HW = np.where(mask_HW == given.IGNORED, classes, mask_HW).astype(np.uint8)
        Image.fromarray(label_HW).save(raw / "labelsTr" / f"{name}.png")
    # The first class is called the background, as nnU-Net wants, whatever it shows.
    labels = {"background": 0, **{f"class {each}": each for each in range(1, classes)}}
    if ignored:
        labels["ignore"] = classes
    about = {
        "channel_names": {str(each): f"channel {each}" for each in range(training.channels)},
        **{"labels": labels, "numTraining": len(training.names), "file_ending": ".png"},
    }
    (raw / "dataset.json").write_text(json.dumps(about))
    environment = _environment(model) | {
        "NNUNET_ENDS_AT": str(given.STARTED + minutes * 60 - given.RESERVE_SECONDS),
        "NNUNET_SEED": str(seed),
    }
    plan = ["-d", str(NUMBER), "-c", "2d", "-np", "1", "-npfp", "1"]
    _call("nnUNetv2_plan_and_preprocess", plan, environment)
    given.tell("planned and preprocessed")
    _call(
        "nnUNetv2_train", [str(NUMBER), "2d", "all", "-tr", TRAINER, "-device", "cpu"], environment
    )


def predict(model: Path, images: Path, out: Path) -> None:
    about = json.loads((model / "raw" / NAME / "dataset.json").read_text())
    given_images, masks = out / "given", out / "masks"
    for folder in (given_images, masks):
        folder.mkdir(parents=True)
    for name, image_HWC in given.test_images(images):
        _image(image_HWC, len(about["channel_names"]), given_images / f"{name}_0000.png")
    where = ["-i", str(given_images), "-o", str(masks), "-d", str(NUMBER), "-c", "2d", "-f", "all"]
    how = ["-tr", TRAINER, "-device", "cpu", "-npp", "1", "-nps", "1"]
    _call("nnUNetv2_predict", [*where, *how], _environment(model))


def _image(image_HWC: np.ndarray, channels: int, file: Path) -> None:
    pixels_HWC = image_HWC.repeat(channels, -1) if image_HWC.shape[-1] == 1 else image_HWC
    Image.fromarray(pixels_HWC[..., 0] if channels == 1 else pixels_HWC).save(file)


def _environment(model: Path) -> dict[str, str]:
    names = ("raw", "preprocessed", "results")
    for name in names:
        (model / name).mkdir(parents=True, exist_ok=True)
    own = {f"nnUNet_{name}": str(model / name) for name in names}
    trainers = model / "trainers"
    trainers.mkdir(exist_ok=True)
    shutil.copy(Path(__file__).with_name("nnunet_trainer.py"), trainers / f"{TRAINER}.py")
    own |= {"nnUNet_extTrainer": str(trainers), "nnUNet_n_proc_DA": "1"}
    return {**os.environ, **own}


def _call(command: str, words: Sequence[str], environment: dict[str, str]) -> None:
    beside = Path(sys.executable).with_name(command)
    subprocess.run([str(beside), *words], env=environment, check=True)


if __name__ == "__main__":
    asked = given.arguments(__doc__)
    if asked.do == "train":
        train(asked.data, asked.model, asked.minutes, asked.seed)
    else:
        predict(asked.model, asked.images, asked.out)
