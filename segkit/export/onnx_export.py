"""From a trained model to an ONNX file that was run beside it and agrees, or to no file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segkit.data.files.images import read_image
from segkit.data.opening.demo import open_demo
from segkit.errors import ModelFileError, UsageError
from segkit.export.onnx_graph import (
    GraphSettings,
    full_scale_of,
    require_free_axes,
    require_onnx,
    to_onnx,
)
from segkit.inference.sources import find_sources
from segkit.model.ensemble import Ensemble
from segkit.model.network import SegmentationModel
from segkit.storage import new_file, storage_errors

MOST_IMAGES = 8
# Largest difference of a logit, as a share of the largest logit of the image (or of 1).
TOLERANCE = 1e-4
# (B, H, W) that the file is tried at; none is the size it was traced at, and a stride divides one.
TRIED = ((1, 96, 128), (2, 75, 117), (1, 161, 90))


@dataclass(frozen=True)
class Agreement:
    """The ONNX file beside PyTorch, on one batch of images.

    size              (B, H, W)
    difference        largest difference of a logit, over the largest logit; None for label graphs
    labels_differing  pixels whose class differs, among `pixels`
    """

    size: tuple[int, int, int]
    difference: float | None
    labels_differing: int
    pixels: int


@dataclass(frozen=True)
class Exported:
    """A file that agrees with its model.

    images   where the compared images are from
    """

    file: str
    bytes: int
    images: str
    agreement: tuple[Agreement, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def images_to_compare(given: Iterable[Path], channels: int) -> list[NDArray[np.generic]]:
    """The first images of files, folders or patterns, (H, W, C) with the model's channels."""
    sources = find_sources(given)[:MOST_IMAGES]
    return [read_image(source.path, channels) for source in sources]


def export_onnx(
    model: SegmentationModel,
    file: Path,
    settings: GraphSettings = GraphSettings(),  # noqa: B008  (frozen)
    images: Sequence[NDArray[np.generic]] = (),
) -> Exported:
    """Writes `file` where onnxruntime gives the model's logits and labels at three sizes.

    model    on the CPU, in evaluation mode, float32
    images   (H, W, C) of the model's channels and depth to compare on, cut or mirrored to the sizes
             tried; without any, pictures of the demo set

    Logits must agree within 1e-4 of the largest; labels wherever the two best logits differ by more
    than rounding does. Raises ModelFileError SK-M008 (cannot be traced, or frozen axes) or SK-M009
    (disagrees): then no file is written, and one that was there stays.
    """
    require_onnx()
    if isinstance(model, Ensemble):
        raise UsageError(
            "SK-C007",
            f"an ensemble of {len(model.members)} networks is no single graph.",
            "Export its members one by one: the folders MODEL/members/1, MODEL/members/2, ...",
        )
    source = f"{len(images)} images given" if images else "pictures of the demo set"
    with storage_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    with storage_errors(file), new_file(file) as work:
        to_onnx(model, settings, work)
        require_free_axes(work)
        found = tuple(compare(model, work, settings, images))
        _refuse_disagreement(found)
    return Exported(str(file), file.stat().st_size, source, found)


def compare(
    model: SegmentationModel,
    file: Path,
    settings: GraphSettings,
    images: Sequence[NDArray[np.generic]] = (),
) -> Iterator[Agreement]:
    """Runs the file by onnxruntime on the CPU beside the model, at each of the sizes tried."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    scale = full_scale_of(model)
    for number, size in enumerate(TRIED):
        pixels_BCHW = _batch(images or _demo(model, scale), size, first=number)
        with torch.no_grad():
            normal_BCHW = model.normalize(torch.from_numpy(pixels_BCHW), scale)
            logits_BKHW = model(normal_BCHW).numpy()
        given_BCHW = pixels_BCHW if settings.normalizes else normal_BCHW.numpy()
        (found,) = session.run(None, {session.get_inputs()[0].name: given_BCHW})
        yield _agreement(logits_BKHW, found, settings, size)


def _agreement(
    logits_BKHW: NDArray[np.float32],
    found: NDArray[Any],
    settings: GraphSettings,
    size: tuple[int, int, int],
) -> Agreement:
    due = (size[0], *size[1:]) if settings.labels else logits_BKHW.shape
    if found.shape != due:
        raise ModelFileError(
            "SK-M009",
            f"the graph gives {found.shape} for images of {size[1]} x {size[2]} (height x width), "
            f"and {due} is due.",
            "Please report the encoder, decoder and upsampler: no file was written.",
        )
    largest = max(1.0, float(np.abs(logits_BKHW).max()))
    label_BHW = found if settings.labels else _with_background(found).argmax(axis=1)
    difference = None if settings.labels else float(np.abs(found - logits_BKHW).max()) / largest
    logits_BKHW = _with_background(logits_BKHW)
    return Agreement(
        size, difference, _plainly_different(logits_BKHW, label_BHW, largest), label_BHW.size
    )


def _with_background(logits_BKHW: NDArray[np.float32]) -> NDArray[np.float32]:
    """A network with one output has foreground where that is above 0: the background's logit."""
    if logits_BKHW.shape[1] > 1:
        return logits_BKHW
    return np.concatenate([np.zeros_like(logits_BKHW), logits_BKHW], axis=1)


def _plainly_different(
    logits_BKHW: NDArray[np.float32], label_BHW: NDArray[np.generic], largest: float
) -> int:
    """Pixels given a class whose logit lies below the best by more than rounding."""
    chosen_BHW = np.take_along_axis(logits_BKHW, label_BHW[:, None].astype(np.int64), axis=1)[:, 0]
    below_BHW = logits_BKHW.max(axis=1) - chosen_BHW
    return int(np.count_nonzero(below_BHW > 2 * TOLERANCE * largest))


def _refuse_disagreement(found: Sequence[Agreement]) -> None:
    for each in found:
        if (each.difference or 0.0) > TOLERANCE or each.labels_differing:
            batch, height, width = each.size
            differs = "" if each.difference is None else f"logits differ by {each.difference:.1e} "
            raise ModelFileError(
                "SK-M009",
                f"the ONNX file disagrees with the model at {height} x {width} (height x width), "
                f"batch {batch}: {differs}and {each.labels_differing:,} of {each.pixels:,} labels "
                f"do (allowed: {TOLERANCE:.0e} and 0).",
                "No file was written. Please report the encoder, decoder and upsampler.",
            )


def _demo(model: SegmentationModel, scale: float) -> list[NDArray[np.generic]]:
    """Pictures of the demo set with the model's channels, their white at the model's scale."""
    channels = model.record.in_channels
    samples = open_demo(in_channels=3).split("val")
    images: list[NDArray[np.generic]] = []
    for index in range(4):
        image_HW3 = samples[index].image.astype(np.float32) * (scale / 255)
        repeated = [image_HW3[..., i % 3] for i in range(channels)]
        images.append(np.stack(repeated, axis=-1))
    return images


def _batch(
    images: Sequence[NDArray[np.generic]], size: tuple[int, int, int], first: int
) -> NDArray[np.float32]:
    """pixels_BCHW of a size, from the images in turn: cut, or mirrored where they are smaller."""
    count, height, width = size
    cut = []
    for number in range(first, first + count):
        image_HWC = images[number % len(images)]
        missing = [
            (0, max(0, due - has)) for due, has in zip(size[1:], image_HWC.shape, strict=False)
        ]
        filled_HWC = np.pad(image_HWC, [*missing, (0, 0)], mode="symmetric")
        cut.append(filled_HWC[:height, :width].transpose(2, 0, 1).astype(np.float32))
    return np.ascontiguousarray(np.stack(cut))
