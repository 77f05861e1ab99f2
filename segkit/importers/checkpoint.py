"""Reads the tensors of a checkpoint from elsewhere; nothing in it is ever executed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from segkit.errors import ModelFileError, UsageError
from segkit.storage import read_json

# Where training scripts put the tensors beside their counters, and what wrappers put before a name.
NESTS = ("state_dict", "model_state_dict", "model", "net", "module")
WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")
# How a file of torch.save begins: a zip archive, or a pickle in older ones.
SAVED = (b"PK", b"\x80")
WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, without the names of wrappers around the network.

    config    config.json beside the tensors, where there is one
    left_out  what was in the file and is no tensor
    """

    path: Path
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads safetensors, or what torch.save wrote, or a folder of one of them with a config.json.

    Files of torch.save are opened with weights_only=True: tensors and plain containers, no code.
    Raises UsageError SK-C009 (no such file), ModelFileError SK-M005 (cannot be read).
    """
    file, config = path, dict[str, Any]()
    if path.is_dir():
        file = next((path / name for name in WEIGHTS_FILES if (path / name).is_file()), path)
        config = _config(path / "config.json")
    if any((each / "model.json").is_file() for each in (path, path / "model", path.parent)):
        raise UsageError(
            "SK-C009",
            f"{path} is a model of segkit already.",
            "Nothing is to be imported: `segkit predict RUN IMAGES --out DIR` takes its folder.",
        )
    if not file.is_file():
        raise UsageError(
            "SK-C009",
            f"{path} is no checkpoint: there is no such file, or it is a folder without "
            f"{' or '.join(WEIGHTS_FILES)}.",
            "Give a .safetensors, .pt or .pth file.",
        )
    content = _content(file)
    named, left_out = _tensors(content)
    if not named:
        raise _unreadable(file, "it holds no tensors by name")
    return Checkpoint(path, _unwrapped(named), config, left_out)


def _content(file: Path) -> Any:
    with file.open("rb") as opened:
        start = opened.read(12)
    if file.suffix != ".safetensors" and not start.startswith(SAVED):
        shown = start.decode("utf-8", "replace").splitlines()
        begins = f"it begins with {shown[0]!r}" if shown else "it is empty"
        raise _unreadable(file, f"{begins}, as nothing that torch.save wrote does")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError) as error:
        raise _unreadable(file, str(error)) from error
    # Unpickling raises whatever the bytes lead it to; its refusal of code is among that.
    except Exception as error:
        text = str(error)
        if "weights_only" in text or "Unsupported" in text:
            raise ModelFileError(
                "SK-M005",
                f"{file} holds more than tensors: code or objects, which segkit never loads.",
                "Save the tensors alone where it was trained: "
                "torch.save(model.state_dict(), 'weights.pth').",
            ) from error
        raise _unreadable(file, text) from error


def _unreadable(file: Path, reason: str) -> ModelFileError:
    first = (reason.strip().splitlines() or ["no reason given"])[0][:160]
    return ModelFileError(
        "SK-M005",
        f"{file} cannot be read as a checkpoint ({first}).",
        "Give a .safetensors file, or a state dict that torch.save wrote.",
    )


def _config(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        config = read_json(file)
    except (OSError, ValueError) as error:
        raise _unreadable(file, str(error)) from error
    return config if isinstance(config, dict) else {}


def _tensors(content: Any) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    if not isinstance(content, Mapping):
        return {}, ()
    named = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    others = tuple(str(key) for key in content if key not in named)
    for nest in NESTS:
        if not named and isinstance(content.get(nest), Mapping):
            inner, left_out = _tensors(content[nest])
            return inner, (*(other for other in others if other != nest), *left_out)
    return named, others


def _unwrapped(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    tensors = dict(named)
    while wrapper := next((w for w in WRAPPERS if all(k.startswith(w) for k in tensors)), None):
        tensors = {key.removeprefix(wrapper): tensor for key, tensor in tensors.items()}
    return tensors
