"""A network in an ONNX file that `segkit export` wrote, run by onnxruntime in the model's place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segkit.device import choose_device, choose_precision
from segkit.errors import EnvironmentFault, ModelFileError, UsageError
from segkit.model.folder import load_model
from segkit.model.labels import label_type, most_likely
from segkit.model.network import (
    COLDEST,
    HOTTEST,
    CoarseLogits,
    ModelRecord,
    Part,
    SegmentationModel,
)

FORMAT = "segkit-onnx/1"
SUFFIX = ".onnx"
INSTALL = "python -m pip install 'segkit-core[onnx]'"
INPUT, LOGITS, LABELS = "image", "logits", "labels"
LARGEST = 2**31


class OnnxNetwork(SegmentationModel):
    """Answers as the model it was exported from does, in float32.

    gives_labels   the graph gives classes and no logits: no probabilities, and no blended tiles
    """

    def __init__(self, file: Path, session: Any, told: dict[str, Any]) -> None:
        nn.Module.__init__(self)
        self.file, self._session = file, session
        self.gives_labels = told["output"] == LABELS
        self._takes_pixels = told["input"] == "pixels"
        # Ranges found at each run are of all images together: an answer would depend on the others.
        self._singly = told["int8"].get("method") == "dynamic"
        self._scale = float(told["full_scale"])
        outputs = len(told["classes"])
        self.record = ModelRecord(
            Part(told["encoder"], "segkit-onnx", "1"),
            Part(told["decoder"], "segkit-onnx", "1"),
            Part(told["upsampler"], "segkit-onnx", "1"),
            num_classes=outputs,
            in_channels=len(told["mean"]) if len(told["mean"]) > 1 else _channels(session),
            classes=tuple(told["classes"]),
            palette=tuple(tuple(colour) for colour in told["palette"]),
            ignore_index=told["ignore_index"],
            background=int(told["background"] or 0),
            temperature=float(told["temperature"]),
            training={name: told[name] for name in ("intensity", "full_scale", "reading")},
        )
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
        """logits_BKHW, of one output too: those of background and foreground."""
        if self.gives_labels:
            raise UsageError(
                "SK-C007",
                f"{self.file} gives classes and no logits, which probabilities, mirrors and tiles "
                "are made of.",
                "Export the model without --labels.",
            )
        logits_BKHW = torch.from_numpy(self._run(image_BCHW))
        if logits_BKHW.shape[1] not in (1, len(self.record.classes)):
            raise ModelFileError(
                "SK-M010",
                f"{self.file} gives {logits_BKHW.shape[1]} values a pixel for "
                f"{len(self.record.classes)} classes.",
                "It is not the graph that its metadata tell of: export it again.",
            )
        if enlarged:
            return logits_BKHW
        height, width = image_BCHW.shape[-2:]
        return CoarseLogits(logits_BKHW, (height, width), False)

    def enlarged(self, output: CoarseLogits, size: Any) -> Tensor:
        return output.logits_BKhw[..., : size[0], : size[1]]

    @torch.no_grad()
    def labels(self, image_BCHW: Tensor) -> Tensor:
        """The class of every pixel, label_BHW."""
        if self.gives_labels:
            found = torch.from_numpy(self._run(image_BCHW).astype(np.int64))
            return found.to(label_type(self.record.label_count))
        return most_likely(self(image_BCHW))

    @torch.no_grad()
    def labelled(self, image_BCHW: Tensor) -> tuple[Tensor, CoarseLogits]:
        output = self(image_BCHW, enlarged=False)
        return most_likely(output.logits_BKhw), output

    def _run(self, image_BCHW: Tensor) -> Any:
        if self._singly and len(image_BCHW) > 1:
            return np.concatenate([self._run(each_1CHW) for each_1CHW in image_BCHW.split(1)])
        given = np.ascontiguousarray(image_BCHW.detach().cpu().numpy())
        try:
            (found,) = self._session.run(None, {INPUT: given})
        # onnxruntime raises errors of a dozen classes of its own.
        except Exception as error:
            raise ModelFileError(
                "SK-M010",
                f"onnxruntime cannot run {self.file} on {given.shape} "
                f"({type(error).__name__}: {_first_line(error)}).",
                "Export it again with this version of segkit.",
            ) from error
        height, width = image_BCHW.shape[-2:]
        if found.shape[0] != len(given) or found.shape[-2:] != (height, width):
            raise ModelFileError(
                "SK-M010",
                f"{self.file} gives {found.shape} for an image of {height} x {width}.",
                "It is not the graph that its metadata tell of: export it again.",
            )
        return found


def load_onnx(file: Path) -> OnnxNetwork:
    """The network of a file, on the CPU.

    Raises ModelFileError SK-M010 where it was not written by `segkit export`, is damaged, or points
    to other files; EnvironmentFault SK-E003 without onnx and onnxruntime.
    """
    _require()
    import onnx
    import onnxruntime

    try:
        if file.stat().st_size > LARGEST:
            raise _refused(file, f"has {file.stat().st_size:,} bytes, more than a graph can have")
        graph = onnx.load(file, load_external_data=False)
    except OSError as error:
        raise ModelFileError("SK-M001", f"{file} cannot be read ({error.strerror}).") from error
    except ModelFileError:
        raise
    except Exception as error:  # protobuf's own
        raise _refused(file, f"is damaged, or no ONNX file ({type(error).__name__})") from error
    if where := _outside(graph):
        raise _refused(file, f"keeps weights in another file, '{where}', which is never opened")
    told = _told(file, graph)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        named = (
            [each.name for each in session.get_inputs()],
            [each.name for each in session.get_outputs()],
        )
        if named != ([INPUT], [told["output"]]):
            raise _refused(file, f"takes {named[0]} and gives {named[1]}")
        return OnnxNetwork(file, session, told)
    except ModelFileError:
        raise
    except Exception as error:
        why = f"cannot be run ({type(error).__name__}: {_first_line(error)})"
        raise _refused(file, why) from error


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


def _told(file: Path, graph: Any) -> dict[str, Any]:
    """What the file says of itself."""
    written = {each.key: each.value for each in graph.metadata_props}
    form = written.get("segkit.format")
    if form != FORMAT:
        said = f"is of format {form}" if form else "does not say what its classes and pixels mean"
        raise _refused(file, said)
    names: tuple[str, ...] = (
        *("classes", "palette", "ignore_index", "intensity", "full_scale", "mean", "std"),
        "background",
        "temperature",
        "reading",
        "input",
        "output",
        "encoder",
        "decoder",
        "upsampler",
        "int8",
    )
    try:
        # Older files say nothing of the first three; only those in 8 bits say the last.
        later = {"segkit.background": "0", "segkit.reading": "{}", "segkit.temperature": "1"}
        later["segkit.int8"] = "{}"
        told = {name: json.loads((later | written)[f"segkit.{name}"]) for name in names}
        for each in (told["full_scale"], *told["mean"], *told["std"]):
            float(each)
        if not COLDEST <= float(told["temperature"]) <= HOTTEST:
            raise ValueError(f"temperature {told['temperature']}")
        told["int8"].get("method")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _refused(file, f"says nothing readable of itself ({error})") from error
    return told


def _outside(graph: Any) -> str:
    """Another file that holds some of the graph's tensors; "" where it is whole."""
    from onnx.external_data_helper import _get_all_tensors, uses_external_data

    for tensor in _get_all_tensors(graph):
        if uses_external_data(tensor):
            named = {each.key: each.value for each in tensor.external_data}
            return named.get("location", "unnamed")
    return ""


def _refused(file: Path, why: str) -> ModelFileError:
    return ModelFileError(
        "SK-M010",
        f"{file} {why}.",
        "Only files that `segkit export RUN` wrote are predicted with, one file each.",
    )


def _channels(session: Any) -> int:
    found = session.get_inputs()[0].shape[1]
    return found if isinstance(found, int) else 1


def _require() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise EnvironmentFault(
            "SK-E003",
            f"predicting with an ONNX file needs {' and '.join(missing)}, not installed here.",
            INSTALL,
        )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:200]
