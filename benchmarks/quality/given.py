"""What a tool of `segkit bench quality` is given, and what it has to write; needs no segkit."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

STARTED = time.time()
IGNORED = 255
# Of the minutes: kept for writing the model.
RESERVE_SECONDS = 1.0


@dataclass(frozen=True)
class Training:
    """All training images in memory: uint8 or uint16 HWC, and their masks, uint8 HW."""

    images: list[NDArray[np.generic]]
    masks: list[NDArray[np.uint8]]
    names: list[str]
    classes: list[str]

    @property
    def channels(self) -> int:
        return max(image.shape[-1] for image in self.images)


def arguments(about: str | None) -> argparse.Namespace:
    """`train DATA MODEL --minutes N --seed N` and `predict MODEL IMAGES OUT`."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    does = parser.add_subparsers(dest="do", required=True)
    train = does.add_parser("train")
    train.add_argument("data", type=Path)
    train.add_argument("model", type=Path)
    train.add_argument("--minutes", type=float, required=True)
    train.add_argument("--seed", type=int, default=1)
    train.add_argument("--mirrored", default="none", choices=["none", "horizontally", "both"])
    predict = does.add_parser("predict")
    predict.add_argument("model", type=Path)
    predict.add_argument("images", type=Path)
    predict.add_argument("out", type=Path)
    return parser.parse_args()


class Clock:
    """The share of a training's minutes that is over, 0 to 1, counted from the program's start."""

    def __init__(self, minutes: float) -> None:
        self.seconds = max(1.0, minutes * 60 - RESERVE_SECONDS)
        self.longest, self.before = 0.0, STARTED

    def share(self) -> float:
        return min(1.0, (time.time() - STARTED) / self.seconds)

    def another(self) -> bool:
        """Whether one more step, as long as the longest so far, ends in time."""
        now = time.time()
        if self.before != STARTED:
            self.longest = max(self.longest, now - self.before)
        self.before = now
        return now - STARTED + self.longest < self.seconds


def read_training(data: Path) -> Training:
    names = sorted(file.stem for file in (data / "images").glob("*.png"))
    images = [read_image(data / "images" / f"{name}.png") for name in names]
    masks = [np.asarray(Image.open(data / "masks" / f"{name}.png"), np.uint8) for name in names]
    classes = yaml.safe_load((data / "data.yaml").read_text(encoding="utf-8"))["names"]
    return Training(images, masks, names, list(classes))


def read_image(file: Path) -> NDArray[np.generic]:
    pixels = np.asarray(Image.open(file))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def test_images(folder: Path) -> Iterator[tuple[str, NDArray[np.generic]]]:
    for file in sorted(folder.glob("*.png")):
        yield file.stem, read_image(file)


def write_mask(out: Path, name: str, label_HW: NDArray[np.integer]) -> None:
    (out / "masks").mkdir(parents=True, exist_ok=True)
    Image.fromarray(label_HW.astype(np.uint8)).save(out / "masks" / f"{name}.png")


def tell(text: str) -> None:
    print(f"{time.time() - STARTED:7.1f} s  {text}", file=sys.stderr, flush=True)
