"""A model in 8-bit integers, with the score that this costs, measured and said in the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segkit.data.loader import EvaluationLoader
from segkit.data.opening.opened import Data
from segkit.export.onnx_graph import as_written
from segkit.export.quantization import Method, quantize
from segkit.inference.onnx_network import OnnxNetwork, load_onnx
from segkit.inference.predictor import Predictor
from segkit.scoring.evaluation import refuse_labels_out_of_range
from segkit.scoring.intervals import difference_interval, mean_iou, score_interval
from segkit.scoring.per_image import ImageCounts, PerImage
from segkit.scoring.score_tables import Interval
from segkit.storage import new_file, storage_errors

# Images that calibrate, at most, spread over the split; and the side of their middle that is used.
MOST_CALIBRATING, LARGEST_SIDE = 64, 1024
METADATA = "segkit.int8"


@dataclass(frozen=True)
class Int8Settings:
    """How to write a model in 8 bits, and on what to find out what that costs.

    method      dynamic or static
    split       part of the data that is scored
    data_name   of the data, for the record
    """

    method: Method
    split: str
    data_name: str


@dataclass(frozen=True)
class Quantized:
    """An 8-bit file beside the float32 file it is made of.

    calibrated_on   images that the ranges are from, 0 for dynamic; calibration: of which split
    images          that were scored, by both files; score: mean IoU over all their pixels
    difference      8 bits less float32, its interval paired over the images
    iou             by class name, of float32 and of 8 bits; None where undefined
    labels_differing   pixels whose class differs, among `pixels`
    """

    file: str
    bytes: int
    float_bytes: int
    method: Method
    calibrated_on: int
    calibration: str
    data: str
    split: str
    images: int
    float_score: Interval
    score: Interval
    difference: Interval
    iou: dict[str, tuple[float | None, float | None]]
    labels_differing: int
    pixels: int

    def as_json(self) -> dict[str, Any]:
        """In plain types."""
        scores = ("float_score", "score", "difference")
        plain = {name: value for name, value in vars(self).items() if name not in scores}
        return {**plain, **{name: getattr(self, name).as_json() for name in scores}}


def export_int8(float_file: Path, target: Path, data: Data, settings: Int8Settings) -> Quantized:
    """Writes `target`, the graph of `float_file` in 8 bits, once both are scored on the data.

    float_file   that `export_onnx` wrote
    data         with the model's classes; `static` is calibrated on its training images, or on the
                 scored ones where it has no others

    The metadata say what was found, as JSON under "segkit.int8". Raises ModelFileError SK-M008
    (cannot be written in 8 bits), SK-M009 (the 8-bit graph cannot be run), and what reading data
    raises; then no file is written, and one that was there stays.
    """
    import onnx

    float_network = load_onnx(float_file)
    calibration = "train" if "train" in data.splits else settings.split
    chosen = _spread(len(data.split(calibration))) if settings.method == "static" else []
    images_BCHW = _as_given(float_network, data, calibration, chosen)
    with TemporaryDirectory() as folder:
        work = Path(folder) / "int8.onnx"
        quantize(float_file, work, settings.method, images_BCHW)
        network = as_written(work, "Leave --int8 out, or try the other of its two methods.")
        counts, differing, pixels = _scored_together((float_network, network), data, settings.split)
        one, two, difference = _scores(counts)
        found = Quantized(
            file=str(target),
            bytes=0,
            float_bytes=float_file.stat().st_size,
            method=settings.method,
            calibrated_on=len(chosen),
            calibration=calibration if chosen else "",
            data=settings.data_name,
            split=settings.split,
            images=len(counts[0].names),
            float_score=one,
            score=two,
            difference=difference,
            iou=_ious(counts, float_network.record.label_names),
            labels_differing=differing,
            pixels=pixels,
        )
        graph = onnx.load(work)
        said = {name: v for name, v in found.as_json().items() if name not in ("file", "bytes")}
        graph.metadata_props.add(key=METADATA, value=json.dumps(said))
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with new_file(target) as written:
                onnx.save(graph, written)
    return replace(found, bytes=target.stat().st_size)


def _scored_together(
    networks: tuple[OnnxNetwork, OnnxNetwork], data: Data, split: str
) -> tuple[list[ImageCounts], int, int]:
    """Every image's counts by both networks; pixels whose labels differ, and all pixels."""
    predictors = [Predictor(each, torch.device("cpu")) for each in networks]
    counted = [PerImage(len(data.classes), data.ignore_index) for _ in networks]
    differing = pixels = 0
    for batch in EvaluationLoader(data.split(split), batch=1, workers=0):
        refuse_labels_out_of_range(batch, len(data.classes), data.ignore_index)
        labels = [each.labels(batch.image_BCHW, data.full_scale) for each in predictors]
        for label_BHW, per_image in zip(labels, counted, strict=True):
            unsure_B = np.full(len(batch), np.nan)
            per_image.update(batch.ids, label_BHW, batch.target_BHW, unsure_B)
        differing += int((labels[0] != labels[1]).sum())
        pixels += labels[0].numel()
    return [each.counts() for each in counted], differing, pixels


def _scores(counts: Sequence[ImageCounts]) -> tuple[Interval, Interval, Interval]:
    """Mean IoU of float32 and of 8 bits, and what the second has more."""
    one, two = (each.overlap for each in counts)
    first, second = (
        Interval(float(mean_iou(each.summed())), *map(float, score_interval(each, mean_iou)))
        for each in (one, two)
    )
    ends = difference_interval(one, two, mean_iou) if len(one.hit_XK) > 1 else np.full(2, np.nan)
    return first, second, Interval(second.value - first.value, *map(float, ends))


def _ious(
    counts: Sequence[ImageCounts], classes: Sequence[str]
) -> dict[str, tuple[float | None, float | None]]:
    """The IoU of every class by both, None where neither truth nor prediction has it."""
    both = [each.overlap.summed().iou_XK.ravel().tolist() for each in counts]
    plain = [[None if np.isnan(value) else value for value in each] for each in both]
    return dict(zip(classes, zip(*plain, strict=True), strict=True))


def _as_given(
    network: OnnxNetwork, data: Data, split: str, chosen: list[int]
) -> Iterator[NDArray[np.float32]]:
    """image_BCHW of single images, as the graph takes them."""
    dataset = data.split(split)
    for index in chosen:
        image_HWC = dataset[index].image.astype(np.float32)
        top, left = (max(0, (side - LARGEST_SIDE) // 2) for side in image_HWC.shape[:2])
        image_HWC = image_HWC[top : top + LARGEST_SIDE, left : left + LARGEST_SIDE]
        pixels_BCHW = torch.from_numpy(image_HWC).permute(2, 0, 1)[None]
        yield np.ascontiguousarray(network.normalize(pixels_BCHW, data.full_scale).numpy())


def _spread(count: int) -> list[int]:
    """Up to MOST_CALIBRATING of so many places, evenly."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, MOST_CALIBRATING))})
