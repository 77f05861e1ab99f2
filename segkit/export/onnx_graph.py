"""A model as an ONNX graph that takes any batch, height and width, and says so.

The graph is traced by torch.export at a size that no stride divides: at sizes that a stride
divides, a network's padding is empty and leaves the graph frozen at that size, without a word.
"""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from segkit.data.intensity import recorded
from segkit.errors import EnvironmentFault, ModelFileError
from segkit.export.time_limit import TimeIsUp, time_limit
from segkit.inference.onnx_file import (
    FORMAT,
    INPUT,
    LABELS,
    LARGEST,
    LOGITS,
    MAPS,
    PROBABILITIES,
)
from segkit.inference.onnx_network import OnnxNetwork, load_onnx
from segkit.model.labels import label_type
from segkit.model.network import SegmentationModel
from segkit.version import __version__

if TYPE_CHECKING:
    import onnx

INSTALL = "python -m pip install onnx onnxscript onnxruntime"
MOST_MINUTES = 20.0


@dataclass(frozen=True)
class GraphSettings:
    """What the graph does besides the network.

    normalizes     takes pixels, from 0 to the training's full scale, and normalises them itself;
                   else image_BCHW is expected normalised, by the numbers in the file's metadata
    labels         gives the class of each pixel, (B, H, W), uint8 up to 256 classes, else int32
    probabilities  gives the probability of each class, (B, K, H, W), float32, of logits divided by
                   the model's temperature; of a network with one output, background and foreground

    Without labels and probabilities it gives logits_BKHW, float32. Of a model that separates
    objects it gives the maps for that too, (B, M, H, W), float32, as the last of its outputs.
    """

    normalizes: bool = False
    labels: bool = False
    probabilities: bool = False

    def outputs(self, model: SegmentationModel) -> tuple[str, ...]:
        """What the graph gives, in this order."""
        asked = ((LABELS, self.labels), (PROBABILITIES, self.probabilities))
        of_classes = tuple(name for name, wanted in asked if wanted) or (LOGITS,)
        return (*of_classes, MAPS) if model.record.separation else of_classes


class DeployedNetwork(nn.Module):
    """The model with what the settings add, as it is traced: image_BCHW to each of the outputs."""

    def __init__(
        self, model: SegmentationModel, settings: GraphSettings, full_scale: float
    ) -> None:
        super().__init__()
        self.model, self.settings, self.full_scale = model, settings, full_scale

    def forward(self, image_BCHW: Tensor) -> tuple[Tensor, ...]:
        if self.settings.normalizes:
            image_BCHW = self.model.normalize(image_BCHW, self.full_scale)
        output, size = self.model(image_BCHW, enlarged=False), image_BCHW.shape[-2:]
        logits_BKHW = self.model.enlarged(output, size)
        given = {LOGITS: lambda: logits_BKHW, MAPS: lambda: self.model.maps(output, size)}
        given[LABELS] = lambda: self.labels(logits_BKHW)
        given[PROBABILITIES] = lambda: probabilities(logits_BKHW, self.model.record.temperature)
        return tuple(given[name]() for name in self.settings.outputs(self.model))

    def labels(self, logits_BKHW: Tensor) -> Tensor:
        """label_BHW; a single class is everywhere, whatever its logit."""
        count = self.model.record.label_count
        if count == 1:
            return torch.zeros_like(logits_BKHW[:, 0], dtype=torch.uint8)
        if logits_BKHW.shape[1] == 1:
            return (logits_BKHW[:, 0] > 0).to(torch.uint8)
        return logits_BKHW.argmax(dim=1).to(label_type(count))


def probabilities(logits_BKHW: Tensor, temperature: float) -> Tensor:
    """Of every class, (B, K, H, W); of one output those of background and foreground."""
    if logits_BKHW.shape[1] == 1:
        logits_BKHW = torch.cat((torch.zeros_like(logits_BKHW), logits_BKHW), dim=1)
    return (logits_BKHW / temperature).softmax(dim=1)


def require_onnx() -> None:
    """Raises EnvironmentFault SK-E003 with the line that installs what an export needs."""
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise EnvironmentFault(
            "SK-E003",
            f"an export to ONNX needs {' and '.join(missing)}, not installed here.",
            INSTALL,
        )


def traced_size(model: SegmentationModel) -> tuple[int, int]:
    """(H, W) to trace at, odd, so that no stride divides either: 77 and 135 for stride 32.

    Larger than the network needs, because torch freezes a side that is 1 in some map: transformers
    attend to maps of a half to an eighth of their own side.
    """
    deepest = max(64, *(int(each.encoder.strides[-1]) for each in model.networks))
    lost = 2 * max(each.margin for each in model.networks)
    return deepest + 13 + lost, 2 * deepest + 7 + lost


def to_onnx(
    model: SegmentationModel, settings: GraphSettings, file: Path, minutes: float = MOST_MINUTES
) -> None:
    """Writes the graph of a model in evaluation mode; its axes and its numbers are not yet checked.

    Raises ModelFileError SK-M008 where torch cannot trace the network for every size or the graph
    would be larger than a file can be, SK-M011 where tracing has not ended after so many minutes.
    """
    require_onnx()
    _refuse_too_large(model)
    import onnx

    try:
        with silent(), time_limit(60 * minutes):
            graph = _traced(model, settings)
    except TimeIsUp:
        raise ModelFileError(
            "SK-M011",
            f"tracing {_parts(model)} has not ended after {minutes:g} minutes.",
            f"Give it longer: --minutes {3 * minutes:g}. "
            "The upsamplers carafe and dysample take longest.",
        ) from None
    # torch raises errors of a dozen classes here, each of which means the same to a user.
    except Exception as error:
        raise ModelFileError(
            "SK-M008",
            f"torch {torch.__version__} cannot trace {_parts(model)} for any size "
            f"({reason(error)}).",
            "Choose another upsampler or decoder; the upsampler bilinear can be exported.",
        ) from error
    for name, value in metadata_of(model, settings).items():
        graph.metadata_props.add(key=name, value=value)
    onnx.save(graph, file)


def _traced(model: SegmentationModel, settings: GraphSettings) -> onnx.ModelProto:
    network = DeployedNetwork(model, settings, full_scale_of(model)).eval()
    height, width = traced_size(model)
    image_BCHW = torch.rand(
        2, model.record.in_channels, height, width, device=model.mean_C11.device
    )
    program = torch.onnx.export(
        network,
        (image_BCHW,),
        dynamo=True,
        dynamic_shapes=(dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC),),
        input_names=[INPUT],
        output_names=list(settings.outputs(model)),
        verbose=False,
    )
    if program is None:
        raise ValueError("torch gave no graph")
    graph: onnx.ModelProto = program.model_proto
    _forget_places(graph.graph)
    return graph


def _forget_places(graph: onnx.GraphProto) -> None:
    """Removes torch's notes on every step: lines of files on this machine, by their whole path."""
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for each in (graph, *graph.node, *values):
        del each.metadata_props[:]


def _refuse_too_large(model: SegmentationModel) -> None:
    """Raises ModelFileError SK-M008 where the weights alone are more than one file holds."""
    needed = sum(tensor.numel() * 4 for tensor in model.state_dict().values())
    if needed >= LARGEST:
        raise ModelFileError(
            "SK-M008",
            f"{_parts(model)} has {needed:,} bytes of weights, and an ONNX file holds less than "
            f"{LARGEST:,}.",
            "Train a smaller encoder, or export the members of an ensemble one by one.",
        )


def metadata_of(model: SegmentationModel, settings: GraphSettings) -> dict[str, str]:
    """What the file says of itself: text by key, JSON where it is more than a word."""
    record = model.record
    facts: dict[str, Any] = {
        "classes": list(record.label_names),
        "palette": [list(colour) for colour in record.palette],
        "ignore_index": record.ignore_index,
        "background": record.background,
        "temperature": record.temperature,
        "reading": record.training.get("reading") or {},
        "intensity": recorded(record.training).record(),
        "full_scale": full_scale_of(model),
        "mean": model.mean_C11.flatten().tolist(),
        "std": model.std_C11.flatten().tolist(),
        "input": "pixels" if settings.normalizes else "normalized",
        "output": list(settings.outputs(model)),
        "separation": record.separation,
        "encoder": record.encoder.expression,
        "decoder": record.decoder.expression,
        "upsampler": record.upsampler.expression,
    }
    written = {f"segkit.{name}": json.dumps(value) for name, value in facts.items()}
    return {"segkit.format": FORMAT, "segkit.version": __version__, **written}


def as_written(file: Path, fix: str) -> OnnxNetwork:
    """The network of a file that was just written, to be compared before it is kept.

    Raises ModelFileError SK-M008 where onnxruntime cannot run it for images of any size.
    """
    try:
        return load_onnx(file)
    except ModelFileError as error:
        why = str(error.what).replace(str(file), "the graph")
        raise ModelFileError("SK-M008", why, fix) from error


def full_scale_of(model: SegmentationModel) -> float:
    """The pixel value that counts as 1, as the training recorded it; 255 where it did not."""
    scaling = recorded(model.record.training)
    return scaling.full_scale(scaling.dtype or "uint8")


def _parts(model: SegmentationModel) -> str:
    record = model.record
    return (
        f"{record.encoder.expression} + {record.decoder.expression} + {record.upsampler.expression}"
    )


@contextmanager
def silent() -> Iterator[None]:
    """Keeps back what torch and onnxruntime print and log for their own authors: whole graphs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            redirect_stdout(StringIO()),
            redirect_stderr(StringIO()),
        ):
            yield
    finally:
        logging.disable(before)


def reason(error: BaseException) -> str:
    """What went wrong first, in one line of plain text: torch's own report is a page in colours."""
    while error.__cause__ is not None:
        error = error.__cause__
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", str(error)).strip()
    return f"{type(error).__name__}: {(plain.splitlines() or ['no message'])[0][:200]}"
