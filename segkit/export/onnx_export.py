"""From a trained model to an ONNX file that was run beside it and agrees, or to no file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.data.files.images import read_image
from segkit.data.opening.demo import open_demo
from segkit.errors import ModelFileError
from segkit.export.onnx_graph import (
    MOST_MINUTES,
    GraphSettings,
    as_written,
    full_scale_of,
    probabilities,
    require_onnx,
    to_onnx,
)
from segkit.inference.onnx_file import LABELS, LOGITS, MAPS, PROBABILITIES
from segkit.inference.sources import find_sources
from segkit.model.network import ModelRecord, SegmentationModel
from segkit.storage import new_file, storage_errors

MOST_IMAGES = 8
# Largest difference of a logit, as a share of the largest logit of the image (or of 1).
TOLERANCE = 1e-4
# (B, H, W) that the file is tried at; none is the size it was traced at, and a stride divides one.
Size = tuple[int, int, int]
TRIED: tuple[Size, ...] = ((1, 96, 128), (2, 75, 117), (1, 161, 90))
REPORT = "No file was written. Please report the encoder, decoder and upsampler."


@dataclass(frozen=True)
class Agreement:
    """The ONNX file beside PyTorch, on one batch of images.

    size              (B, H, W)
    difference        largest difference of a logit or a map, over the largest of them, or of a
                      probability; None where the graph gives labels alone
    labels_differing  pixels whose class differs by more than rounding, among `pixels`
    """

    size: Size
    difference: float | None
    labels_differing: int
    pixels: int


@dataclass(frozen=True)
class Exported:
    """A file that agrees with its model.

    outputs   what the graph gives
    images    where the compared images are from
    seconds   that tracing took, and comparing
    """

    file: str
    bytes: int
    outputs: tuple[str, ...]
    images: str
    agreement: tuple[Agreement, ...]
    seconds: tuple[float, float]

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
    minutes: float = MOST_MINUTES,
) -> Exported:
    """Writes `file` where onnxruntime gives what the model gives, at three sizes.

    model    on the CPU, in evaluation mode, float32; an ensemble becomes one graph
    images   (H, W, C) of the model's channels and depth to compare on, cut or mirrored to the sizes
             tried; without any, pictures of the demo set
    minutes  that tracing may take

    Logits and maps must agree within 1e-4 of the largest, probabilities within 1e-4; labels
    wherever the two best logits differ by more than rounding does. Raises ModelFileError SK-M008
    (cannot be traced for any size), SK-M009 (disagrees), SK-M011 (takes too long): then no file is
    written, and one that was there stays.
    """
    require_onnx()
    source = f"{len(images)} images given" if images else "pictures of the demo set"
    with storage_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with storage_errors(file), new_file(file) as work:
        to_onnx(model, settings, work, minutes)
        traced = time.monotonic()
        found = tuple(compare(model, work, settings, images))
        _refuse_disagreement(found)
    seconds = traced - started, time.monotonic() - traced
    return Exported(str(file), file.stat().st_size, settings.outputs(model), source, found, seconds)


def compare(
    model: SegmentationModel,
    file: Path,
    settings: GraphSettings,
    images: Sequence[NDArray[np.generic]] = (),
) -> Iterator[Agreement]:
    """Runs the file by onnxruntime on the CPU beside the model, at each of the sizes tried.

    The file's own metadata say how pixels are normalised for it: they are compared too.
    """
    network = as_written(file, REPORT)
    scale = full_scale_of(model)
    for number, size in enumerate(TRIED):
        pixels_BCHW = torch.from_numpy(_batch(images or _demo(model, scale), size, first=number))
        with torch.no_grad():
            output = model(model.normalize(pixels_BCHW, scale), enlarged=False)
            logits_BKHW, maps_BMHW = model.enlarged(output, size[1:]), model.maps(output, size[1:])
        try:
            found = network.run(network.normalize(pixels_BCHW, scale))
        except ModelFileError as error:
            why = str(error.what).replace(str(file), "the graph")
            raise ModelFileError("SK-M009", why, REPORT) from error
        yield _agreement(logits_BKHW, maps_BMHW, found, model.record, size)


def _agreement(
    logits_BKHW: Tensor,
    maps_BMHW: Tensor,
    found: Mapping[str, NDArray[Any]],
    record: ModelRecord,
    size: Size,
) -> Agreement:
    due_BKHW, largest = logits_BKHW.numpy(), _largest(logits_BKHW)
    difference = given_BKHW = None
    if LOGITS in found:
        given_BKHW = found[LOGITS]
        difference = _share(given_BKHW, logits_BKHW)
    elif PROBABILITIES in found:
        given_BKHW = found[PROBABILITIES]
        probability_BKHW = probabilities(logits_BKHW, record.temperature).numpy()
        difference = float(np.abs(given_BKHW - probability_BKHW).max())
    if MAPS in found:
        of_maps = _share(found[MAPS], maps_BMHW)
        difference = of_maps if difference is None else float(np.maximum(difference, of_maps))
    label_BHW = found.get(LABELS)
    if label_BHW is None:
        label_BHW = _with_background(given_BKHW).argmax(axis=1)
    elif record.label_count == 1:  # The only class is everywhere, whatever its logit.
        due_BKHW = np.zeros_like(due_BKHW)
    differing = _plainly_different(_with_background(due_BKHW), label_BHW, largest)
    return Agreement(size, difference, differing, label_BHW.size)


def _largest(due_BXHW: Tensor) -> float:
    return max(1.0, float(due_BXHW.abs().max()))


def _share(given_BXHW: NDArray[np.float32], due_BXHW: Tensor) -> float:
    """The largest difference, over the largest of what is due; NaN stays NaN."""
    return float(np.abs(given_BXHW - due_BXHW.numpy()).max()) / _largest(due_BXHW)


def _with_background(logits_BKHW: Any) -> NDArray[np.float32]:
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
        # So written that no number at all, NaN, is refused too.
        if not (each.difference or 0.0) <= TOLERANCE or each.labels_differing:
            batch, height, width = each.size
            differs = "" if each.difference is None else f"values differ by {each.difference:.1e} "
            raise ModelFileError(
                "SK-M009",
                f"the ONNX file disagrees with the model at {height} x {width} (height x width), "
                f"batch {batch}: {differs}and {each.labels_differing:,} of {each.pixels:,} labels "
                f"do (allowed: {TOLERANCE:.0e} and 0).",
                REPORT,
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


def _batch(images: Sequence[NDArray[np.generic]], size: Size, first: int) -> NDArray[np.float32]:
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
