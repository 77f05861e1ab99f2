"""What a model says of an image: labels with their names, colours, shares and pictures."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.data.files.spacing import Spacing
from segkit.inference.certainty import entropy
from segkit.inference.objects import Object, find_objects
from segkit.inference.reading import Given
from segkit.reporting.pictures import write_mask, write_picture
from segkit.reporting.sheets import explained
from segkit.storage import new_file, replace_text, storage_errors


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image; a notebook shows it as a picture.

    labels         (H, W), uint8 up to 256 classes, else int32: the class of every pixel
    classes        names in label order
    palette        an RGB colour per class, 0 to 255
    probabilities  (K, H, W) float32, adding up to 1 at each pixel; None where not asked for
    given          the image as the network was given it
    spacing        how large a pixel is, where the file says it: OME-TIFF, ImageJ, microscopes' TIFF
    background     the label of what is no object
    separated      (H, W) int32, which object each pixel belongs to, 0 none, by the model's own
                   separation; None of a model that separates no objects
    mutual_information  (H, W) float32, 0 to 1: how far several answers (mirrors, dropout, members
                   of an ensemble) contradict each other; None of one answer
    """

    labels: NDArray[np.integer]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    given: Given
    probabilities: NDArray[np.float32] | None = None
    spacing: Spacing | None = None
    background: int = 0
    separated: NDArray[np.int32] | None = None
    mutual_information: NDArray[np.float32] | None = None

    @cached_property
    def objects(self) -> tuple[Object, ...]:
        """The objects of every class but the background, with area, centre and box: as the model
        separates them where it does, else connected pixels."""
        return self.objects_from(1)

    def objects_from(self, least_area: int) -> tuple[Object, ...]:
        """`objects` of so many pixels at least, numbered anew."""
        return find_objects(
            self.labels,
            self.classes,
            self.spacing,
            least_area,
            background=self.background,
            number_HW=self.separated,
        )

    @cached_property
    def uncertainty(self) -> NDArray[np.float32] | None:
        """(H, W), 0 where one class has all the probability to 1 where all have the same; None
        where probabilities were not asked for."""
        return None if self.probabilities is None else entropy(self.probabilities)

    @property
    def shares(self) -> Mapping[str, float]:
        """The share of the pixels that each class has, 0 to 1, by name."""
        pixels_K = np.bincount(self.labels.reshape(-1), minlength=len(self.classes))
        return {
            name: round(int(count) / max(self.labels.size, 1), 6)
            for name, count in zip(self.classes, pixels_K, strict=True)
        }

    def overlay(self) -> Image.Image:
        """The image with every class but the background tinted and outlined, above a legend with
        names, colours and shares of the classes that occur; small images are enlarged."""
        given = self.given
        return Image.fromarray(
            explained(
                given.pixels,
                self.labels,
                self.palette,
                self.classes,
                full_scale=given.full_scale,
                background=self.background,
                number_HW=self.separated,
            )
        )

    def save(self, folder: str | Path) -> Path:
        """Writes mask.png (its pixels the classes), overlay.png and prediction.json; returns the
        folder. Files of these names are replaced. Raises StorageError where the disk refuses.
        """
        folder = Path(folder)
        self.write_mask(folder / "mask.png")
        self.write_overlay(folder / "overlay.png")
        said = {"image": self.given.name, "classes": list(self.classes), "shares": self.shares}
        with storage_errors(folder):
            replace_text(folder / "prediction.json", json.dumps(said, indent=2) + "\n")
        return folder

    def write_mask(self, file: Path) -> None:
        """Writes a PNG whose pixels are the classes, shown in the palette's colours."""
        _write(file, lambda path: write_mask(path, self.labels, self.palette))

    def write_overlay(self, file: Path) -> None:
        """Writes `overlay()` as a PNG."""
        picture_HWC = np.asarray(self.overlay())
        _write(file, lambda path: write_picture(path, picture_HWC))

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        buffer = io.BytesIO()
        self.overlay().save(buffer, format="PNG")
        return buffer.getvalue()

    def __repr__(self) -> str:
        height, width = self.labels.shape
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.shares.items() if share)
        return f"Prediction of {self.given.name} ({height} x {width}, height x width): {shares}"


def _write(target: Path, write: Callable[[Path], None]) -> None:
    """Has `write` write the file in one step; raises StorageError where the disk refuses."""
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with new_file(target, durable=False) as work:
            write(work)
