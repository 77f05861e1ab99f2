"""Decoding and augmenting, beside the same written plainly with Pillow and torchvision's v2.

    python benchmarks/loading.py [--rounds 7] [--images 96]

Both sides read one folder of generated JPEGs (500 x 375, textured) with PNG masks, cut a random
crop enlarged 0.5 to 2 times to 256 x 256, flip it, and change brightness, contrast and saturation;
10 % are blurred; segkit adds noise to 10 %. One process, one thread; every pipeline in turn within
a round, the order rotated; twice the same pipeline as an A/A line. Prints images a second and the
ratio to the plain one, per round, and writes results/loading.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from PIL import Image
from start_up import conditions
from torchvision import tv_tensors
from torchvision.transforms import v2

from segkit.data import TrainingLoader, open_data

SIZE, BATCH = 256, 16
HEIGHT, WIDTH = 375, 500
RESULT = Path(__file__).parent / "results" / "loading.json"
Pipeline = Callable[[int], int]


def make_folder(root: Path, images: int) -> None:
    """Textured JPEGs, of about the bytes that photographs have, and masks of three classes."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir()
    for number in range(images):
        coarse_HWC = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        image_HWC = cv2.resize(coarse_HWC, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        noise_HWC = rng.normal(0, 12, image_HWC.shape)
        image_HWC = np.clip(image_HWC + noise_HWC, 0, 255).astype(np.uint8)
        Image.fromarray(image_HWC).save(root / "images" / f"{number:04}.jpg", quality=90)
        mask_HW = (image_HWC[..., 0] // 86).astype(np.uint8)
        mask_HW = cv2.medianBlur(mask_HW, 5)
        Image.fromarray(mask_HW).save(root / "masks" / f"{number:04}.png")


def segkit_pipeline(root: Path, cache: Literal["on", "off"]) -> Pipeline:
    """One epoch of the training loader; the number is the epoch's."""
    data = open_data(root, cache=cache, val_share=0.05)
    loader = TrainingLoader(data.split("train"), size=SIZE, batch=BATCH, seed=0)

    def epoch(number: int) -> int:
        return sum(len(batch) for batch in loader.epoch(number))

    return epoch


def plain_pipeline(root: Path) -> Pipeline:
    """What a careful user writes: Pillow to decode, torchvision v2 for both, batches stacked."""
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(SIZE, scale=(0.12, 1.0), ratio=(1.0, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.12, contrast=0.25, saturation=0.3),
            v2.RandomApply([v2.GaussianBlur(5, sigma=(0.3, 1.2))], p=0.1),
        ]
    )
    files = sorted((root / "images").iterdir())

    def load(file: Path) -> tuple[torch.Tensor, torch.Tensor]:
        image = tv_tensors.Image(Image.open(file).convert("RGB"))
        mask = tv_tensors.Mask(Image.open(root / "masks" / f"{file.stem}.png"))
        image, mask = transform(image, mask)
        return image, mask.squeeze(0).long()

    def epoch(number: int) -> int:
        torch.manual_seed(number)
        order = torch.randperm(len(files))[: len(files) // BATCH * BATCH].tolist()
        for start in range(0, len(order), BATCH):
            samples = [load(files[place]) for place in order[start : start + BATCH]]
            torch.stack([image for image, _ in samples])
            torch.stack([mask for _, mask in samples])
        return len(order)

    return epoch


def measure(pipelines: dict[str, Pipeline], rounds: int) -> dict[str, list[float]]:
    """Images a second of each pipeline, a figure a round; the first round is not counted."""
    names = list(pipelines)
    speeds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            images = pipelines[name](turn)
            if turn:
                speeds[name].append(images / (time.perf_counter() - start))
    return speeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=96)
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    under = conditions(given.rounds) | {
        "command": f"python benchmarks/loading.py --rounds {given.rounds} --images {given.images}",
        "order": "pipelines in turn within a round, rotated; the first round not counted",
        "repeats": given.rounds,
    }
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_folder(root, given.images)
        plain = plain_pipeline(root)
        pipelines = {
            "Pillow + torchvision v2": plain,
            "Pillow + torchvision v2, again (A/A)": plain,
            "segkit, decoding": segkit_pipeline(root, "off"),
            "segkit, from its cache": segkit_pipeline(root, "on"),
        }
        speeds = measure(pipelines, given.rounds)
    base = next(iter(speeds))
    rows = {}
    for name, values in speeds.items():
        ratios = [v / b for v, b in zip(values, speeds[base], strict=True)]
        rows[name] = {
            "images_per_second": round(statistics.median(values), 1),
            "ratio": round(statistics.median(ratios), 2),
            "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
        }
        low, high = rows[name]["ratio_range"]
        speed, ratio = rows[name]["images_per_second"], rows[name]["ratio"]
        print(f"{name:40}{speed:9} images/s{ratio:8} ({low} to {high})")
    RESULT.write_text(json.dumps({"conditions": under, "results": rows}, indent=2) + "\n")
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
