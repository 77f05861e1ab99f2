"""An ONNX file that `segkit export` wrote: what it says of itself, and why any other is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from segkit.errors import EnvironmentFault, ModelFileError, UsageError, first_line
from segkit.model.network import COLDEST, HOTTEST
from segkit.separation.named import build_separation

FORMAT = "segkit-onnx/1"
INSTALL = "python -m pip install 'segkit-core[onnx]'"
INPUT, LOGITS, LABELS, PROBABILITIES = "image", "logits", "labels", "probabilities"
# What a model that separates objects gives beside one of the others.
MAPS = "maps"
OUTPUTS = (LOGITS, LABELS, PROBABILITIES, MAPS)
# Bytes that a graph with its weights can have in one file.
LARGEST = 2**31
FLOATS = "tensor(float)"
# What the metadata hold, and what is meant where files written earlier say nothing.
TOLD: tuple[str, ...] = (
    *("classes", "palette", "ignore_index", "intensity", "full_scale", "mean", "std"),
    *("input", "output", "encoder", "decoder", "upsampler"),
)
EARLIER = {"background": "0", "reading": "{}", "temperature": "1", "int8": "{}"}
EARLIER["separation"] = '""'


def opened(file: Path) -> tuple[Any, dict[str, Any]]:
    """An onnxruntime session of the file's graph on the CPU, and its metadata by name.

    Raises ModelFileError SK-M001 (cannot be read), SK-M010 (of another program, damaged, changed,
    or pointing to other files); EnvironmentFault SK-E003 without onnx and onnxruntime.
    """
    _require()
    import onnxruntime

    graph = _graph(file)
    told = _told(file, graph)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    # onnxruntime raises errors of a dozen classes of its own.
    except Exception as error:
        why = f"cannot be run ({type(error).__name__}: {first_line(error)})"
        raise refused(file, why) from error
    _refuse_other_shapes(file, session, told["output"])
    return session, told


def _graph(file: Path) -> Any:
    import onnx

    try:
        size = file.stat().st_size
        if not 0 < size < LARGEST:
            raise refused(file, f"has {size:,} bytes, and a graph has 1 to {LARGEST - 1:,}")
        graph = onnx.load(file, load_external_data=False)
    except OSError as error:
        raise ModelFileError("SK-M001", f"{file} cannot be read ({error.strerror}).") from error
    except ModelFileError:
        raise
    except Exception as error:  # protobuf's own
        raise refused(file, f"is damaged, or no ONNX file ({type(error).__name__})") from error
    for tensor in _tensors(graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            named = {each.key: each.value for each in tensor.external_data}
            where = named.get("location", "unnamed")
            raise refused(file, f"keeps weights in another file, '{where}', which is never opened")
    return graph


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor, wherever a graph can hold one: weights, constants, inner graphs, functions."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in [value] if hasattr(value, "DESCRIPTOR") else value:
                yield from _tensors(each)


def _told(file: Path, graph: Any) -> dict[str, Any]:
    """What the file says of itself."""
    written = {each.key: each.value for each in graph.metadata_props}
    form = written.get("segkit.format")
    if form != FORMAT:
        said = f"is of format {form}" if form else "does not say what its classes and pixels mean"
        raise refused(file, said)
    try:
        told = {name: json.loads(written[f"segkit.{name}"]) for name in TOLD}
        for name, meant in EARLIER.items():
            told[name] = json.loads(written.get(f"segkit.{name}", meant))
        for each in (told["full_scale"], *told["mean"], *told["std"]):
            float(each)
        if not COLDEST <= float(told["temperature"]) <= HOTTEST:
            raise ValueError(f"temperature {told['temperature']}")
        told["int8"].get("method")
        if isinstance(told["output"], str):
            told["output"] = [told["output"]]
        if told["output"] in ([], [MAPS]) or not set(told["output"]) <= set(OUTPUTS):
            raise ValueError(f"output {told['output']}")
        if told["separation"]:
            build_separation(told["separation"])
        if bool(told["separation"]) != (MAPS in told["output"]):
            raise ValueError(f"separation {told['separation']!r}, output {told['output']}")
    except (AttributeError, KeyError, TypeError, ValueError, UsageError) as error:
        raise refused(file, f"says nothing readable of itself ({error})") from error
    return told


def _refuse_other_shapes(file: Path, session: Any, outputs: list[str]) -> None:
    """Raises SK-M010 unless the graph takes one image_BCHW of floats, of any batch and size, and
    gives as much, under the names of its metadata."""
    given, found = session.get_inputs(), session.get_outputs()
    fits = [each.name for each in given] == [INPUT] and given[0].type == FLOATS
    fits = fits and len(given[0].shape) == 4 and isinstance(given[0].shape[1], int)
    fits = fits and [each.name for each in found] == outputs
    for each in (*given, *found):
        free = (0, -2, -1) if len(each.shape) > 2 else ()
        fits = fits and bool(free) and not any(isinstance(each.shape[axis], int) for axis in free)
        fits = fits and (each.name == LABELS or each.type == FLOATS)
    if not fits:
        takes, gives = (", ".join(map(_shown, values)) for values in (given, found))
        raise refused(
            file,
            f"takes {takes} and gives {gives}; due are {INPUT} {FLOATS} (any, channels, any, any) "
            f"and {', '.join(outputs)} for any batch, height and width",
        )


def _shown(value: Any) -> str:
    axes = ", ".join(str(axis) if isinstance(axis, int) else "any" for axis in value.shape)
    return f"{value.name} {value.type} ({axes})"


def refused(file: Path, why: str) -> ModelFileError:
    """The error for a file that is not predicted with."""
    return ModelFileError(
        "SK-M010",
        f"{file} {why}.",
        "Only files that `segkit export RUN` wrote are predicted with, one file each.",
    )


def _require() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise EnvironmentFault(
            "SK-E003",
            f"predicting with an ONNX file needs {' and '.join(missing)}, not installed here.",
            INSTALL,
        )
