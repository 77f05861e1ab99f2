"""The built-in demo set: textured shapes on textured ground, drawn in memory from a seed.

Four classes of object, each with a shape and a texture of its own; colour alone does not tell them
apart, since hues overlap and the light falls unevenly. Every object is 42 pixels across or more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from segkit.data.files.images import fit_channels
from segkit.data.files.masks import RGB
from segkit.data.intensity import Intensity
from segkit.data.masks.colours import default_palette
from segkit.data.opening.opened import Data, crop_size_for
from segkit.errors import UsageError
from segkit.interfaces import Sample

CLASSES = ("ground", "disc", "square", "triangle", "ring")
SIDE = 128
SPLITS = {"train": 160, "val": 40, "test": 40}
# Hue of each class in degrees: all overlap, drawn with this spread to either side.
HUES = (95, 30, 210, 320, 265)
SPREAD = 40

Field = np.ndarray


class DemoDataset:
    """One split; sample i depends on (seed, split, i) alone, and is drawn when first asked for."""

    classes: Sequence[str] = CLASSES
    palette: Sequence[RGB] = default_palette(len(CLASSES))
    ignore_index: int | None = None

    def __init__(self, split: str, seed: int, in_channels: int = 3) -> None:
        self.split, self.seed, self.in_channels = split, seed, in_channels
        self._drawn: dict[int, Sample] = {}

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return [(SIDE, SIDE)] * len(self)

    def __len__(self) -> int:
        return SPLITS[self.split]

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.split} has {len(self)} samples, not one numbered {index}")
        if index not in self._drawn:
            part = list(SPLITS).index(self.split)
            rng = np.random.default_rng([self.seed, part, index])
            self._drawn[index] = _draw(f"{self.split}-{index:03d}", rng, self.in_channels)
        return self._drawn[index]


def open_demo(seed: int = 0, *, in_channels: int = 3) -> Data:
    """The demo set, opened."""
    if in_channels not in (1, 3, 4):
        raise UsageError(
            "SK-C009",
            f"the demo set has no images with {in_channels} channels.",
            "Choose 1, 3 or 4, or give a folder with --data.",
        )
    datasets = {split: DemoDataset(split, seed, in_channels) for split in SPLITS}
    sizes = ", ".join(f"{count} {split}" for split, count in SPLITS.items())
    return Data(
        classes=CLASSES,
        palette=default_palette(len(CLASSES)),
        ignore_index=None,
        in_channels=in_channels,
        intensity=Intensity("range", 0.0, 255.0, "uint8"),
        splits=tuple(SPLITS),
        notes=(
            "No --data is given: this is the built-in demo set, drawn from a seed.",
            f"{SIDE} x {SIDE} pixels (height x width), {len(CLASSES)} classes: {sizes}.",
        ),
        default_size=crop_size_for([(SIDE, SIDE)]),
        datasets=datasets,
    )


def _draw(name: str, rng: np.random.Generator, in_channels: int) -> Sample:
    """One picture: ground, two to four objects one over another, light, grain."""
    image_HW3 = _texture(0, rng)
    mask_HW = np.zeros((SIDE, SIDE), np.int64)
    for label in rng.permutation([1, 2, 3, 4, *rng.integers(1, 5, 2)])[: rng.integers(2, 5)]:
        inside_HW = _shape(int(label), rng)
        edge_HW1 = cv2.GaussianBlur(inside_HW.astype(np.float32), (0, 0), 0.6)[:, :, None]
        image_HW3 = image_HW3 * (1 - edge_HW1) + _texture(int(label), rng) * edge_HW1
        mask_HW[inside_HW] = label
    image_HW3 = image_HW3 * _light(rng)[:, :, None]
    image_HW3 = image_HW3 + rng.normal(0, 0.03, image_HW3.shape)
    image_HWC = np.rint(image_HW3.clip(0, 1) * 255).astype(np.uint8)
    return Sample(fit_channels(image_HWC, in_channels, name), mask_HW, name)


def _texture(label: int, rng: np.random.Generator) -> np.ndarray:
    """(SIDE, SIDE, 3) in 0 to 1: the class's pattern between two shades of a drawn hue."""
    pattern_HW1 = PATTERNS[label](rng)[:, :, None]
    hue = (HUES[label] + rng.uniform(-SPREAD, SPREAD)) % 360
    dark = _rgb(hue, rng.uniform(0.45, 0.8), rng.uniform(0.25, 0.45))
    light = _rgb(hue, rng.uniform(0.25, 0.55), rng.uniform(0.7, 0.95))
    return dark + (light - dark) * pattern_HW1


def _rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    pixel = np.array([[[hue, saturation, value]]], np.float32)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0]


def _clouds(rng: np.random.Generator) -> Field:
    """Soft blotches at two sizes."""
    field = np.zeros((SIDE, SIDE), np.float32)
    for cells, weight in ((6, 0.65), (24, 0.35)):
        coarse = rng.random((cells, cells), dtype=np.float32)
        field += weight * cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return field.clip(0, 1)


def _turned_axes(rng: np.random.Generator) -> tuple[Field, Field]:
    y_HW, x_HW = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    return np.cos(angle) * y_HW + np.sin(angle) * x_HW, np.cos(angle) * x_HW - np.sin(angle) * y_HW


def _stripes(rng: np.random.Generator) -> Field:
    across_HW, _ = _turned_axes(rng)
    return 0.5 + 0.5 * np.sin(across_HW * 2 * np.pi / rng.uniform(5, 8) + rng.uniform(0, 6))


def _checks(rng: np.random.Generator) -> Field:
    along_HW, across_HW = _turned_axes(rng)
    cell = rng.uniform(4, 6)
    return ((along_HW // cell + across_HW // cell) % 2).astype(np.float32)


def _dots(rng: np.random.Generator) -> Field:
    along_HW, across_HW = _turned_axes(rng)
    step = rng.uniform(7, 9)
    waves = np.cos(along_HW * 2 * np.pi / step) + np.cos(across_HW * 2 * np.pi / step)
    return (waves > 0.6).astype(np.float32)


def _grain(rng: np.random.Generator) -> Field:
    noise = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE), dtype=np.float32), (0, 0), 1.0)
    return (0.5 + noise).clip(0, 1)


PATTERNS: tuple[Callable[[np.random.Generator], Field], ...] = (
    _clouds,
    _stripes,
    _checks,
    _dots,
    _grain,
)


def _shape(label: int, rng: np.random.Generator) -> np.ndarray:
    """(SIDE, SIDE) bool: the class's outline somewhere on the picture, wholly or mostly on it."""
    radius = rng.uniform(21, 34)
    middle = rng.uniform(18, SIDE - 18, 2)
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    if label in (1, 4):
        y_HW, x_HW = np.mgrid[0:SIDE, 0:SIDE]
        away_HW = np.hypot(y_HW - middle[0], x_HW - middle[1])
        inside_HW = away_HW <= radius
        return inside_HW & (away_HW > radius * 0.42) if label == 4 else inside_HW
    corners = 4 if label == 2 else 3
    angles = rng.uniform(0, 2 * np.pi) + np.arange(corners) * 2 * np.pi / corners
    reach = radius * (1.2 if corners == 4 else 1.35)
    points = np.stack([middle[1] + reach * np.cos(angles), middle[0] + reach * np.sin(angles)], 1)
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)
    return canvas.astype(bool)


def _light(rng: np.random.Generator) -> Field:
    """A lamp to one side: factors between about 0.6 and 1.25."""
    along_HW, _ = _turned_axes(rng)
    slope = (along_HW - along_HW.mean()) / SIDE
    return 0.95 + rng.uniform(0.15, 0.45) * slope
