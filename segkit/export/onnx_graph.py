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
from segkit.inference.onnx_network import FORMAT, INPUT, LABELS, LOGITS
from segkit.model.network import SegmentationModel
from segkit.version import __version__

if TYPE_CHECKING:
    import onnx

INSTALL = "python -m pip install onnx onnxscript onnxruntime"
# Axes that may be of any length, by the tensor's name.
FREE_AXES = {INPUT: (0, 2, 3), LOGITS: (0, 2, 3), LABELS: (0, 1, 2)}


@dataclass(frozen=True)
class GraphSettings:
    """What the graph does besides the network.

    normalizes   takes pixels, from 0 to the training's full scale, and normalises them itself; else
                 image_BCHW is expected normalised, by the numbers in the file's metadata
    labels       gives the class of each pixel, (B, H, W), uint8 up to 256 classes, else int32; else
                 logits_BKHW, float32
    """

    normalizes: bool = False
    labels: bool = False


class DeployedNetwork(nn.Module):
    """The model with what the settings add, as it is traced: image_BCHW to logits or labels."""

    def __init__(
        self, model: SegmentationModel, settings: GraphSettings, full_scale: float
    ) -> None:
        super().__init__()
        self.model, self.settings, self.full_scale = model, settings, full_scale

    def forward(self, image_BCHW: Tensor) -> Tensor:
        if self.settings.normalizes:
            image_BCHW = self.model.normalize(image_BCHW, self.full_scale)
        logits_BKHW: Tensor = self.model(image_BCHW)
        if not self.settings.labels:
            return logits_BKHW
        if logits_BKHW.shape[1] == 1:
            return (logits_BKHW[:, 0] > 0).to(torch.uint8)
        return logits_BKHW.argmax(dim=1).to(_smallest(self.model.record.num_classes))


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
    """(H, W) to trace at, odd, so that no stride divides either: 45 and 71 for stride 32."""
    deepest = max(int(model.encoder.strides[-1]), 16)
    lost = 2 * model.margin
    return deepest + 13 + lost, 2 * deepest + 7 + lost


def to_onnx(model: SegmentationModel, settings: GraphSettings, file: Path) -> None:
    """Writes the graph of a model in evaluation mode; its axes and its numbers are not yet checked.

    Raises ModelFileError SK-M008 where torch cannot trace the network for every size.
    """
    require_onnx()
    import onnx

    network = DeployedNetwork(model, settings, full_scale_of(model)).eval()
    parameter = next(model.parameters())
    height, width = traced_size(model)
    image_BCHW = torch.rand(2, model.record.in_channels, height, width, device=parameter.device)
    any_length = dict.fromkeys(FREE_AXES[INPUT], torch.export.Dim.DYNAMIC)
    try:
        with silent():
            program = torch.onnx.export(
                network,
                (image_BCHW,),
                dynamo=True,
                dynamic_shapes=(any_length,),
                input_names=[INPUT],
                output_names=[LABELS if settings.labels else LOGITS],
                verbose=False,
            )
    # torch raises errors of a dozen classes here, each of which means the same to a user.
    except Exception as error:
        raise ModelFileError(
            "SK-M008",
            f"torch {torch.__version__} cannot trace {_parts(model)} for any size "
            f"({reason(error)}).",
            "Choose another upsampler or decoder; the upsampler bilinear can be exported.",
        ) from error
    if program is None:
        raise ModelFileError("SK-M008", f"torch gave no graph for {_parts(model)}.")
    graph: onnx.ModelProto = program.model_proto
    for name, value in metadata_of(model, settings).items():
        graph.metadata_props.add(key=name, value=value)
    onnx.save(graph, file)


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
        "output": LABELS if settings.labels else LOGITS,
        "encoder": record.encoder.expression,
        "decoder": record.decoder.expression,
        "upsampler": record.upsampler.expression,
    }
    written = {f"segkit.{name}": json.dumps(value) for name, value in facts.items()}
    return {"segkit.format": FORMAT, "segkit.version": __version__, **written}


def require_free_axes(file: Path) -> None:
    """Raises ModelFileError SK-M008 where an axis that has to be free has a fixed length."""
    import onnx

    graph = onnx.load(file, load_external_data=False).graph
    for value in (*graph.input, *graph.output):
        axes = value.type.tensor_type.shape.dim
        fixed = [
            f"axis {i} is {axes[i].dim_value}" for i in FREE_AXES[value.name] if _fixed(axes[i])
        ]
        if fixed:
            raise ModelFileError(
                "SK-M008",
                f"the graph's '{value.name}' is frozen: {', '.join(fixed)}, of any length is due.",
                "Please report the encoder, decoder and upsampler: this file was not kept.",
            )


def full_scale_of(model: SegmentationModel) -> float:
    """The pixel value that counts as 1, as the training recorded it; 255 where it did not."""
    scaling = recorded(model.record.training)
    return scaling.full_scale(scaling.dtype or "uint8")


def _fixed(axis: Any) -> bool:
    return bool(axis.HasField("dim_value"))


def _smallest(classes: int) -> torch.dtype:
    return torch.uint8 if classes <= 256 else torch.int32


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
