"""A network in an ONNX file that `segkit export` wrote, run by onnxruntime in the model's place."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segkit.device import choose_device, choose_precision
from segkit.errors import ModelFileError, UsageError, first_line
from segkit.inference.onnx_file import (
    INPUT,
    LABELS,
    LOGITS,
    MAPS,
    PROBABILITIES,
    opened,
    refused,
)
from segkit.model.folder import load_model
from segkit.model.labels import label_type, most_likely
from segkit.model.network import CoarseLogits, ModelRecord, Part, SegmentationModel
from segkit.separation.named import build_separation

SUFFIX = ".onnx"


class OnnxNetwork(SegmentationModel):
    """Answers as the model it was exported from does, in float32.

    gives_labels   the graph gives classes and no logits: no probabilities, and no blended tiles
    """

    def __init__(self, file: Path, session: Any, told: dict[str, Any]) -> None:
        nn.Module.__init__(self)
        self.file, self._session, self._outputs = file, session, told["output"]
        self.gives_labels = not {LOGITS, PROBABILITIES} & set(self._outputs)
        self._takes_pixels = told["input"] == "pixels"
        # Ranges found at each run are of all images together: an answer would depend on the others.
        self._singly = told["int8"].get("method") == "dynamic"
        self._scale = float(told["full_scale"])
        self.record = _record(session, told)
        # Its own bytes tell it from another model where a prediction goes on.
        digest = hashlib.blake2b(file.read_bytes(), digest_size=16).digest()
        self.register_buffer("fingerprint", torch.frombuffer(bytearray(digest), dtype=torch.uint8))
        for name in ("mean", "std"):
            values = torch.tensor(told[name], dtype=torch.float32).reshape(-1, 1, 1)
            self.register_buffer(f"{name}_C11", values)

    def normalize(self, image_BCHW: Tensor, full_scale: float = 255.0) -> Tensor:
        """Pixels as the graph takes them: normalised, or from 0 to the training's full scale."""
        if self._takes_pixels:
            return image_BCHW.float() * (self._scale / full_scale)
        return super().normalize(image_BCHW, full_scale)

    def forward(self, image_BCHW: Tensor, enlarged: bool = True) -> Any:
        """logits_BKHW; with the maps of a model that separates objects where not `enlarged`."""
        found = self.run(image_BCHW)
        if enlarged:
            return self._logits_of(found)
        self._refuse_no_logits()
        return self._output(found)

    def enlarged(self, output: CoarseLogits, size: Sequence[int]) -> Tensor:
        self._refuse_no_logits()
        # Not num_classes: of a network with one output there is one logit, or two probabilities.
        logits = output.logits_BKhw.shape[1] - self.record.maps
        return output.logits_BKhw[:, :logits, : size[0], : size[1]]

    def maps(self, output: CoarseLogits, size: Sequence[int]) -> Tensor:
        logits = output.logits_BKhw.shape[1] - self.record.maps
        return output.logits_BKhw[:, logits:, : size[0], : size[1]]

    @torch.no_grad()
    def labels(self, image_BCHW: Tensor) -> Tensor:
        """The class of every pixel, label_BHW."""
        return self._labels_of(self.run(image_BCHW))

    @torch.no_grad()
    def labelled(self, image_BCHW: Tensor) -> tuple[Tensor, CoarseLogits]:
        found = self.run(image_BCHW)
        return self._labels_of(found), self._output(found)

    def run(self, image_BCHW: Tensor) -> dict[str, NDArray[Any]]:
        """Each output of the graph by its name, for images as `normalize` gives them.

        Raises ModelFileError SK-M010 where it cannot be computed, or is of another size.
        """
        if self._singly and len(image_BCHW) > 1:
            each = [self.run(image_1CHW) for image_1CHW in image_BCHW.split(1)]
            return {name: np.concatenate([one[name] for one in each]) for name in self._outputs}
        given = np.ascontiguousarray(image_BCHW.detach().cpu().numpy())
        try:
            found = self._session.run(self._outputs, {INPUT: given})
        # onnxruntime raises errors of a dozen classes of its own.
        except Exception as error:
            raise ModelFileError(
                "SK-M010",
                f"onnxruntime cannot run {self.file} on {given.shape} "
                f"({type(error).__name__}: {first_line(error)}).",
                "Export it again with this version of segkit.",
            ) from error
        for name, values in zip(self._outputs, found, strict=True):
            self._refuse_misfit(name, values, given.shape)
        return dict(zip(self._outputs, found, strict=True))

    def _output(self, found: dict[str, NDArray[Any]]) -> CoarseLogits:
        """Logits and maps behind them; of a graph that gives classes the maps alone."""
        maps = [torch.from_numpy(found[MAPS])] if MAPS in found else []
        logits = [] if self.gives_labels and maps else [self._logits_of(found)]
        both_BXHW = torch.cat([*logits, *maps], dim=1)
        height, width = both_BXHW.shape[-2:]
        return CoarseLogits(both_BXHW, (height, width), False)

    def _logits_of(self, found: dict[str, NDArray[Any]]) -> Tensor:
        """logits_BKHW; of probabilities their logarithms times the temperature, whose softmax at
        that temperature they are again."""
        self._refuse_no_logits()
        if LOGITS in found:
            return torch.from_numpy(found[LOGITS])
        probability_BKHW = torch.from_numpy(found[PROBABILITIES])
        least = torch.finfo(probability_BKHW.dtype).tiny
        return probability_BKHW.clamp(min=least).log() * self.record.temperature

    def _refuse_no_logits(self) -> None:
        if self.gives_labels:
            raise UsageError(
                "SK-C007",
                f"{self.file} gives classes and no logits, which probabilities, mirrors and tiles "
                "are made of.",
                "Export the model without --labels, or with --probabilities beside it.",
            )

    def _labels_of(self, found: dict[str, NDArray[Any]]) -> Tensor:
        if LABELS not in found:
            return most_likely(self._logits_of(found))
        return torch.from_numpy(found[LABELS].astype(np.int64)).to(
            label_type(self.record.label_count)
        )

    def _refuse_misfit(self, name: str, values: NDArray[Any], given: tuple[int, ...]) -> None:
        batch, _, height, width = given
        count, gives = len(self.record.classes), ""
        channels = {LOGITS: (count, 1), PROBABILITIES: (count, 2)}
        if (len(values), *values.shape[-2:]) != (batch, height, width):
            gives = f"{values.shape} for {batch} images of {height} x {width}"
        elif name == LABELS and not 0 <= values.min() <= values.max() < count:
            gives = f"labels from {values.min()} to {values.max()} for {count} classes"
        elif name == MAPS and values.shape[1] != self.record.maps:
            gives = f"{values.shape[1]} maps for {self.record.separation}, due {self.record.maps}"
        elif name in channels and values.shape[1] not in channels[name]:
            gives = f"{values.shape[1]} values a pixel for {count} classes"
        if gives:
            raise ModelFileError(
                "SK-M010",
                f"{self.file} gives {gives}.",
                "It is not the graph that its metadata tell of: export it again.",
            )


def _record(session: Any, told: dict[str, Any]) -> ModelRecord:
    names = ("encoder", "decoder", "upsampler")
    encoder, decoder, upsampler = (Part(told[name], "segkit-onnx", "1") for name in names)
    return ModelRecord(
        encoder,
        decoder,
        upsampler,
        num_classes=len(told["classes"]),
        in_channels=session.get_inputs()[0].shape[1],
        classes=tuple(told["classes"]),
        palette=tuple(tuple(colour) for colour in told["palette"]),
        ignore_index=told["ignore_index"],
        separation=told["separation"],
        maps=build_separation(told["separation"]).maps if told["separation"] else 0,
        background=int(told["background"] or 0),
        temperature=float(told["temperature"]),
        training={name: told[name] for name in ("intensity", "full_scale", "reading")},
    )


def load_onnx(file: Path) -> OnnxNetwork:
    """The network of a file, on the CPU.

    Raises ModelFileError SK-M010 where it was not written by `segkit export`, is damaged, or points
    to other files; EnvironmentFault SK-E003 without onnx and onnxruntime.
    """
    session, told = opened(file)
    try:
        return OnnxNetwork(file, session, told)
    except (ValueError, TypeError, RuntimeError) as error:
        raise refused(file, f"says nothing readable of itself ({first_line(error)})") from error


def load_network(
    path: str | Path | Sequence[str | Path], device: torch.device | str = "cpu"
) -> SegmentationModel:
    """What `load_model` takes, or an ONNX file that `segkit export` wrote."""
    if not isinstance(path, str | Path):
        if files := [str(each) for each in path if is_onnx(each)]:
            raise UsageError(
                "SK-C007",
                f"{files[0]} is an ONNX file, and an ensemble is made of runs and model folders.",
                "Give the run that it was exported from.",
            )
        return load_model(path, device)
    if is_onnx(path):
        return load_onnx(Path(path).expanduser())
    return load_model(path, device)


def is_onnx(path: str | Path | Sequence[str | Path]) -> bool:
    """Whether a path is that of an ONNX file, there or not."""
    if not isinstance(path, str | Path):
        return False
    file = Path(path).expanduser()
    return file.suffix.lower() == SUFFIX and not file.is_dir()


def chosen(
    path: str | Path | Sequence[str | Path], device: str, precision: str
) -> tuple[torch.device, str]:
    """Device and precision to compute in; raises UsageError SK-C007 where onnxruntime has not."""
    if not is_onnx(path):
        found = choose_device(device)
        return found, choose_precision(precision, found)
    if device not in ("auto", "cpu") or precision not in ("auto", "fp32"):
        raise UsageError(
            "SK-C007",
            f"{path} is computed by onnxruntime on the CPU in fp32, and --device {device} "
            f"--precision {precision} is asked for.",
            "Leave both out, or give the run that it was exported from.",
        )
    return torch.device("cpu"), "fp32"
