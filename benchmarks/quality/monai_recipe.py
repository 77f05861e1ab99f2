"""MONAI's recipe for images of two dimensions, with the settings of its tutorials.

    python monai_recipe.py train DATA MODEL --minutes N --seed N
    python monai_recipe.py predict MODEL IMAGES OUT

From the 2D segmentation tutorial (Project-MONAI/tutorials, 2d_segmentation/torch, Apache-2.0): a
U-Net of 16 to 256 channels with two residual units a level, Adam at 1e-3, intensities scaled to
0..1, four crops of 96 pixels an image, as many around foreground as not, two images a step, turned
by 90 degrees half of the time; prediction by a sliding window of 96 pixels. Its loss for several
classes is DiceCELoss, as in the tutorials with more than one organ. The last weights are the model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# Before all that takes seconds to import: its clock starts here.
import given
import monai
import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import (
    Compose,
    RandCropByPosNegLabeld,
    RandRotate90d,
    ScaleIntensityd,
    SpatialPadd,
)
from numpy.typing import NDArray
from torch import Tensor

CHANNELS, STRIDES, UNITS = (16, 32, 64, 128, 256), (2, 2, 2, 2), 2
WINDOW, CROPS, IMAGES, RATE, AT_ONCE = 96, 4, 2, 1e-3, 4
BOTH = ["image", "mask"]


def train(data: Path, out: Path, minutes: float, seed: int) -> None:
    clock = given.Clock(minutes)
    monai.utils.set_determinism(seed)
    random = np.random.default_rng(seed)
    training = given.read_training(data)
    classes, channels = len(training.classes), training.channels
    transform = _transforms()
    transform.set_random_state(seed)
    about = {"channels": channels, "classes": classes}
    model = network(about).train()
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    steps = 0
    while clock.another():
        chosen = random.choice(len(training.images), min(IMAGES, len(training.images)), False)
        crops: list[dict[str, Tensor]] = []
        for each in chosen:
            image_CHW = _channels_first(training.images[each], channels)
            crops += transform({"image": image_CHW, "mask": training.masks[each][None]})
        image_BCHW = torch.stack([crop["image"].float() for crop in crops])
        target_B1HW = torch.stack([crop["mask"].long() for crop in crops])
        logits_BKHW, known_B1HW = _without_ignored(model(image_BCHW), target_B1HW)
        found = loss(logits_BKHW, known_B1HW)
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
        steps += 1
        if steps % 20 == 1:
            given.tell(f"step {steps}, loss {found.item():.3f}")
    given.tell(f"{steps} steps of {len(crops)} crops")
    out.mkdir(parents=True)
    torch.save(model.state_dict(), out / "model.pt")
    (out / "about.json").write_text(json.dumps(about))


def _transforms() -> Any:
    return Compose(
        [
            ScaleIntensityd(keys=["image"]),
            SpatialPadd(keys=BOTH, spatial_size=[WINDOW, WINDOW]),
            RandCropByPosNegLabeld(
                keys=BOTH,
                label_key="mask",
                spatial_size=[WINDOW, WINDOW],
                pos=1,
                neg=1,
                num_samples=CROPS,
            ),
            RandRotate90d(keys=BOTH, prob=0.5, spatial_axes=(0, 1)),
        ]
    )


def network(about: dict[str, int]) -> torch.nn.Module:
    model: torch.nn.Module = UNet(
        spatial_dims=2,
        in_channels=about["channels"],
        out_channels=about["classes"],
        channels=CHANNELS,
        strides=STRIDES,
        num_res_units=UNITS,
    )
    return model


def _without_ignored(logits_BKHW: Tensor, target_B1HW: Tensor) -> tuple[Tensor, Tensor]:
    """Ignored pixels made right beyond doubt, so that the loss learns nothing from them."""
    ignored_B1HW = target_B1HW == given.IGNORED
    if not ignored_B1HW.any():
        return logits_BKHW, target_B1HW
    known_B1HW = target_B1HW.masked_fill(ignored_B1HW, 0)
    sure_BKHW = torch.full_like(logits_BKHW, -30.0)
    sure_BKHW[:, 0] = 30.0
    return torch.where(ignored_B1HW, sure_BKHW, logits_BKHW), known_B1HW


def _channels_first(image_HWC: NDArray[np.generic], channels: int) -> NDArray[np.float32]:
    pixels_HWC = image_HWC.astype(np.float32)
    if pixels_HWC.shape[-1] != channels:
        pixels_HWC = pixels_HWC[..., :1].repeat(channels, -1)
    return np.ascontiguousarray(pixels_HWC.transpose(2, 0, 1))


@torch.inference_mode()
def predict(folder: Path, images: Path, out: Path) -> None:
    about = json.loads((folder / "about.json").read_text())
    model = network(about).eval()
    model.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    scale = ScaleIntensityd(keys=["image"])
    for name, image_HWC in given.test_images(images):
        image_CHW = scale({"image": _channels_first(image_HWC, about["channels"])})["image"]
        logits_1KHW = sliding_window_inference(
            torch.as_tensor(image_CHW)[None], (WINDOW, WINDOW), AT_ONCE, model
        )
        given.write_mask(out, name, torch.as_tensor(logits_1KHW)[0].argmax(0).numpy())


if __name__ == "__main__":
    asked = given.arguments(__doc__)
    if asked.do == "train":
        train(asked.data, asked.model, asked.minutes, asked.seed)
    else:
        predict(asked.model, asked.images, asked.out)
