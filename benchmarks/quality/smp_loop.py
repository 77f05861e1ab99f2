"""A careful plain loop over segmentation-models-pytorch, as its users write it.

    python smp_loop.py train DATA MODEL --minutes N --seed N --mirrored both
    python smp_loop.py predict MODEL IMAGES OUT

A U-Net over ResNet-18 from random weights; AdamW with one cycle (highest rate 1e-3); Dice plus
cross-entropy; batches of 8 random crops of 256 pixels or less, resized by 0.75 to 1.33, mirrored as
told, brightness and contrast moved; images normalised by the training pixels' mean and spread. The
last weights are the model. The cycle follows the clock, so that it ends with the minutes.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

# Before all that takes seconds to import: its clock starts here.
import given
import numpy as np
import segmentation_models_pytorch as smp
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

CROP, BATCH, STRIDE = 256, 8, 32
HIGHEST_RATE, WARM_UP, FIRST, LAST = 1e-3, 0.25, 1 / 25, 1e-4
SCALES = (0.75, 1.33)


def train(data: Path, out: Path, minutes: float, seed: int, mirrored: str) -> None:
    clock = given.Clock(minutes)
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    training = given.read_training(data)
    pixels_NC = np.concatenate([i.reshape(-1, i.shape[-1])[::7] for i in training.images])
    mean_C, spread_C = pixels_NC.mean(0), pixels_NC.std(0) + 1e-6
    shortest = min(min(image.shape[:2]) for image in training.images)
    side = max(STRIDE, min(CROP, shortest // STRIDE * STRIDE))
    about = {
        **{"channels": training.channels, "classes": len(training.classes)},
        **{"mean": mean_C.tolist(), "spread": spread_C.tolist()},
    }
    model = network(about).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=HIGHEST_RATE, weight_decay=1e-2)
    steps = 0
    while clock.another():
        for group in optimizer.param_groups:
            group["lr"] = one_cycle(clock.share())
        pairs = [crop(training, side, mirrored, random) for _ in range(BATCH)]
        image_BCHW = torch.stack([normalised(image, about) for image, _ in pairs])
        target_BHW = torch.stack([torch.from_numpy(mask).long() for _, mask in pairs])
        loss = dice_and_cross_entropy(model(image_BCHW), target_BHW)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps += 1
        if steps % 10 == 1:
            given.tell(f"step {steps}, loss {loss.item():.3f}")
    given.tell(f"{steps} steps of {BATCH} crops of {side} pixels")
    out.mkdir(parents=True)
    torch.save(model.state_dict(), out / "model.pt")
    (out / "about.json").write_text(json.dumps(about))


def network(about: dict[str, Any]) -> torch.nn.Module:
    model: torch.nn.Module = smp.Unet(
        "resnet18",
        encoder_weights=None,
        in_channels=about["channels"],
        classes=about["classes"],
    )
    return model


def one_cycle(share: float) -> float:
    """The rate of the one-cycle policy (Smith 2018, arXiv:1803.09820), by cosines."""
    if share < WARM_UP:
        low, high, part = FIRST, 1.0, share / WARM_UP
    else:
        low, high, part = LAST, 1.0, 1 - (share - WARM_UP) / (1 - WARM_UP)
    return HIGHEST_RATE * (low + (high - low) * (1 - math.cos(math.pi * part)) / 2)


def crop(
    training: given.Training, side: int, mirrored: str, random: np.random.Generator
) -> tuple[NDArray[np.generic], NDArray[np.uint8]]:
    """A square of a random image at a random scale, mirrored or not, light and contrast moved."""
    chosen = random.integers(len(training.images))
    image_HWC, mask_HW = training.images[chosen], training.masks[chosen]
    cut = min(round(side / random.uniform(*SCALES)), *mask_HW.shape)
    top, left = (random.integers(0, each - cut + 1) for each in mask_HW.shape)
    image_HWC = image_HWC[top : top + cut, left : left + cut]
    mask_HW = mask_HW[top : top + cut, left : left + cut]
    image_HWC, mask_HW = resized(image_HWC.astype(np.float32), mask_HW, side)
    if mirrored != "none" and random.random() < 0.5:
        image_HWC, mask_HW = image_HWC[:, ::-1], mask_HW[:, ::-1]
    if mirrored == "both" and random.random() < 0.5:
        image_HWC, mask_HW = image_HWC[::-1], mask_HW[::-1]
    spread = float(image_HWC.std())
    moved = (image_HWC - image_HWC.mean()) * random.uniform(0.8, 1.25) + image_HWC.mean()
    return moved + random.uniform(-0.2, 0.2) * spread, np.ascontiguousarray(mask_HW)


def resized(
    image_HWC: NDArray[np.float32], mask_HW: NDArray[np.uint8], side: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    image_1CHW = torch.from_numpy(image_HWC).permute(2, 0, 1)[None]
    image_1CHW = F.interpolate(image_1CHW, (side, side), mode="bilinear", antialias=True)
    mask_11HW = torch.from_numpy(mask_HW.copy())[None, None]
    mask_11HW = F.interpolate(mask_11HW, (side, side), mode="nearest-exact")
    return image_1CHW[0].permute(1, 2, 0).numpy(), mask_11HW[0, 0].numpy()


def normalised(image_HWC: NDArray[np.generic], about: dict[str, Any]) -> Tensor:
    """CHW, with the channels that the network takes."""
    pixels_HWC = image_HWC.astype(np.float32)
    if pixels_HWC.shape[-1] != about["channels"]:
        pixels_HWC = pixels_HWC[..., :1].repeat(about["channels"], -1)
    mean_C, spread_C = (np.array(about[name], np.float32) for name in ("mean", "spread"))
    pixels_HWC = (pixels_HWC - mean_C) / spread_C
    return torch.from_numpy(np.ascontiguousarray(pixels_HWC)).permute(2, 0, 1)


def dice_and_cross_entropy(logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
    """Mean over the classes of the batch; ignored pixels are in neither."""
    ignored_BHW = target_BHW == given.IGNORED
    known_BHW = target_BHW.masked_fill(ignored_BHW, 0)
    truth_BKHW = F.one_hot(known_BHW, logits_BKHW.shape[1]).permute(0, 3, 1, 2)
    valid_B1HW = (~ignored_BHW)[:, None]
    share_BKHW = logits_BKHW.softmax(1) * valid_B1HW
    truth_BKHW = truth_BKHW * valid_B1HW
    over = (0, 2, 3)
    present_K = truth_BKHW.sum(over) > 0
    hit_K = (share_BKHW * truth_BKHW).sum(over)
    dice_K = 2 * hit_K / (share_BKHW.sum(over) + truth_BKHW.sum(over)).clamp_min(1e-6)
    dice = 1 - dice_K[present_K].mean() if present_K.any() else logits_BKHW.sum() * 0
    if ignored_BHW.all():
        return dice
    return dice + F.cross_entropy(logits_BKHW, target_BHW, ignore_index=given.IGNORED)


@torch.inference_mode()
def predict(folder: Path, images: Path, out: Path) -> None:
    about = json.loads((folder / "about.json").read_text())
    model = network(about).eval()
    model.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    for name, image_HWC in given.test_images(images):
        image_CHW = normalised(image_HWC, about)
        height, width = image_CHW.shape[1:]
        padding = (0, -width % STRIDE, 0, -height % STRIDE)
        padded_1CHW = F.pad(image_CHW[None], padding, mode="replicate")
        label_HW = model(padded_1CHW)[0, :, :height, :width].argmax(0)
        given.write_mask(out, name, label_HW.numpy())


if __name__ == "__main__":
    asked = given.arguments(__doc__)
    if asked.do == "train":
        train(asked.data, asked.model, asked.minutes, asked.seed, asked.mirrored)
    else:
        predict(asked.model, asked.images, asked.out)
