"""Decoding and augmenting: segkit's training loader beside the same written plainly.

All read one kind of folder, of generated JPEGs of 500 x 375 with PNG masks, in one process and one
thread, and give batches of crops with labels as the losses of each take them: 8 bits for segkit's,
int64 for torch's. Each crop shows 128 to 375 pixels of a side, is flipped half of the time, changed
in brightness, contrast and saturation, and one in ten is blurred; segkit also changes the tint and
adds noise to one in ten.
"""

from __future__ import annotations

import math
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import io, tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import resized_crop

from segkit.data.batches import Batch
from segkit.data.loader import TrainingLoader
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions

HEIGHT, WIDTH, IMAGES = 375, 500, 96
CLASSES = 3
Pipeline = Literal["segkit", "segkit-cached", "plain", "best"]


class Loading:
    """Batches of augmented crops.

    pipeline   segkit: its loader, decoding every time; segkit-cached: from its cache of decoded
               pixels; plain: Pillow and torchvision's v2, as a careful user writes them; best:
               torchvision's decoders, and v2 without antialiasing
    """

    unit = "image"

    def __init__(
        self, device: str, *, pipeline: Pipeline = "plain", size: int = 256, batch: int = 16
    ) -> None:
        self.device, self.pipeline, self.size, self.batch = device, pipeline, size, batch

    def set_up(self) -> None:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        self.folder = tempfile.TemporaryDirectory(prefix="segkit-bench-")
        root = Path(self.folder.name) / "photographs"
        make_folder(root)
        os.environ["SEGKIT_CACHE"] = str(Path(self.folder.name) / "cache")
        if self.pipeline.startswith("segkit"):
            self.batches = self._ours(root)
        else:
            self.batches = self._plain(root)
        # Two epochs: one writes the cache, the next verifies what was written.
        for _ in range(2 * IMAGES // self.batch):
            next(self.batches)

    def run(self) -> int:
        image_BCHW, target_BHW = next(self.batches)
        labels = torch.uint8 if self.pipeline.startswith("segkit") else torch.int64
        if target_BHW.dtype != labels or image_BCHW.shape[2:] != target_BHW.shape[1:]:
            raise ValueError(f"{target_BHW.dtype}, {image_BCHW.shape}, {target_BHW.shape}")
        return len(image_BCHW)

    def check(self) -> tuple[float, float]:
        """The largest difference between an image as decoded here and by Pillow, 0 to 255."""
        root = Path(self.folder.name) / "photographs"
        file = sorted((root / "images").iterdir())[0]
        expected_HWC = np.array(Image.open(file)).astype(int)
        if self.pipeline.startswith("segkit"):
            found_HWC = open_data(root).split("all")[0].image
        else:
            found_HWC = self._image(file).permute(1, 2, 0).numpy()
        return float(np.abs(found_HWC - expected_HWC).max()), 0.0

    def _ours(self, root: Path) -> Iterator[tuple[Tensor, Tensor]]:
        data = open_data(
            root, DataOptions(cache="on" if self.pipeline == "segkit-cached" else "off")
        )
        loader = TrainingLoader(data.split("all"), size=self.size, batch=self.batch, seed=0)
        epoch = 0
        while True:
            batch: Batch
            for batch in loader.epoch(epoch):
                yield batch.image_BCHW, batch.target_BHW
            epoch += 1

    def _plain(self, root: Path) -> Iterator[tuple[Tensor, Tensor]]:
        torch.manual_seed(0)
        files = sorted((root / "images").iterdir())
        random.seed(0)
        self.transform = self._transform()
        while True:
            order = torch.randperm(len(files)).tolist()
            for start in range(0, len(order) // self.batch * self.batch, self.batch):
                samples = [
                    self._augmented(root, files[p]) for p in order[start : start + self.batch]
                ]
                image_BCHW = torch.stack([image for image, _ in samples])
                yield image_BCHW, torch.stack([mask.squeeze(0) for _, mask in samples]).long()

    def _augmented(self, root: Path, file: Path) -> tuple[Tensor, Tensor]:
        image, mask = self._image(file), self._mask(root, file)
        # Squares as segkit's preset cuts them: enlarged up to twice, reduced to the whole height.
        lowest, highest = math.log(self.size / HEIGHT), math.log(2)
        side = round(self.size / math.exp(random.uniform(lowest, highest)))
        square = (
            random.randint(0, HEIGHT - side),
            random.randint(0, WIDTH - side),
            side,
            side,
            [self.size, self.size],
        )
        image = resized_crop(image, *square, antialias=self.pipeline == "plain")
        return self.transform(image, resized_crop(mask, *square))

    def _transform(self) -> v2.Compose:
        return v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(brightness=0.12, contrast=0.25, saturation=0.3),
                v2.RandomApply([v2.GaussianBlur(5, sigma=(0.3, 1.2))], p=0.1),
            ]
        )

    def _image(self, file: Path) -> tv_tensors.Image:
        if self.pipeline == "best":
            return tv_tensors.Image(io.decode_image(str(file), io.ImageReadMode.RGB))
        return tv_tensors.Image(Image.open(file).convert("RGB"))

    def _mask(self, root: Path, file: Path) -> tv_tensors.Mask:
        mask = root / "masks" / f"{file.stem}.png"
        if self.pipeline == "best":
            return tv_tensors.Mask(io.decode_image(str(mask), io.ImageReadMode.UNCHANGED))
        return tv_tensors.Mask(Image.open(mask))


def make_folder(root: Path) -> None:
    """Textured JPEGs and masks of smooth shapes, of about the bytes a pixel that real ones have."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(IMAGES):
        coarse_HWC = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        image_HWC = cv2.resize(coarse_HWC, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        noise_HWC = rng.normal(0, 12, image_HWC.shape)
        image_HWC = np.clip(image_HWC + noise_HWC, 0, 255).astype(np.uint8)
        Image.fromarray(image_HWC).save(root / "images" / f"{number:04}.jpg", quality=90)
        coarse_HW = rng.random((7, 9), dtype=np.float32) * CLASSES
        smooth_HW = cv2.resize(coarse_HW, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        mask_HW = np.clip(smooth_HW, 0, CLASSES - 1).astype(np.uint8)
        Image.fromarray(mask_HW).save(root / "masks" / f"{number:04}.png")
