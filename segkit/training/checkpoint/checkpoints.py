"""Checkpoints to continue from: safetensors and JSON only, nothing in them is ever executed.

    checkpoints/step-00000120/   model, average, optimizer, random, state.json, manifest.json
    checkpoints/last, best       one line each: the name of a folder beside them

A folder appears complete or not at all; the manifest holds every file's SHA-256.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from segkit.errors import ModelFileError
from segkit.storage import (
    checksum,
    flush,
    new_folder,
    read_json,
    replace_text,
    storage_errors,
    sweep,
)

FORMAT = "segkit-checkpoint/2"
KEEP = 2


@dataclass(frozen=True)
class Checkpoint:
    """What training continues from.

    tensors   by group ("model", "average", "optimizer", "random", ...), then by name
    state     counters and scores: whatever JSON holds
    """

    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]


class CheckpointFolder:
    """The checkpoints of a run: the last two, and the best."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, checkpoint: Checkpoint, *, best: bool = False) -> Path:
        """Writes a checkpoint, then points to it, then removes the ones no longer wanted.

        Raises StorageError; what was there before is then still there.
        """
        target = self.folder / f"step-{step:08d}"
        with storage_errors(target):
            self.folder.mkdir(parents=True, exist_ok=True)
            with new_folder(target) as work:
                _write(work, checkpoint)
            if best:
                replace_text(self.folder / "best", target.name + "\n")
            replace_text(self.folder / "last", target.name + "\n")
            self._remove_old()
        return target

    def load(self, which: str = "last") -> Checkpoint:
        """The checkpoint that `which` ("last" or "best") points to, checked against its manifest.

        Raises ModelFileError: SK-M004 there is none, SK-M002 damaged.
        """
        pointer = self.folder / which
        if not pointer.is_file():
            raise ModelFileError(
                "SK-M004",
                f"{self.folder.parent} holds no checkpoint to continue from.",
                "Give the folder of a run that ended its first epoch, or start anew.",
            )
        return _read(self.folder / pointer.read_text(encoding="utf-8").strip())

    def any_yet(self) -> bool:
        """Whether a checkpoint was ever completed here."""
        return (self.folder / "last").is_file() or any(self.folder.glob("step-????????"))

    def sweep(self) -> None:
        """Removes what an interrupted write left."""
        if self.folder.is_dir():
            sweep(self.folder)

    def _remove_old(self) -> None:
        wanted = {
            pointer.read_text(encoding="utf-8").strip()
            for name in ("last", "best")
            if (pointer := self.folder / name).is_file()
        }
        steps = sorted(each for each in self.folder.glob("step-????????") if each.is_dir())
        wanted.update(each.name for each in steps[-KEEP:])
        for each in steps:
            if each.name not in wanted:
                shutil.rmtree(each)
        flush(self.folder)


def _write(work: Path, checkpoint: Checkpoint) -> None:
    for group, tensors in checkpoint.tensors.items():
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(_unshared(plain), work / f"{group}.safetensors")
    state = json.dumps(dict(checkpoint.state), indent=2, allow_nan=False)
    (work / "state.json").write_text(state + "\n", encoding="utf-8")
    sums = {file.name: checksum(file) for file in sorted(work.iterdir())}
    manifest = json.dumps({"format": FORMAT, "sha256": sums}, indent=2)
    (work / "manifest.json").write_text(manifest + "\n", encoding="utf-8")


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors that share memory, such as tied weights, which safetensors refuses."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return apart


def _read(folder: Path) -> Checkpoint:
    try:
        manifest = read_json(folder / "manifest.json")
        if manifest["format"] != FORMAT:
            raise ModelFileError(
                "SK-M002",
                f"{folder} is of format {manifest['format']}, and this segkit reads {FORMAT}.",
                "Continue with the version of segkit that wrote it.",
            )
        for name, expected in manifest["sha256"].items():
            if Path(name).name != name or checksum(folder / name) != expected:
                raise _damaged(folder, f"{name} is not the file that was written")
        tensors = {
            file.stem: load_file(file)
            for file in sorted(folder.glob("*.safetensors"))
            if file.name in manifest["sha256"]
        }
        state = read_json(folder / "state.json")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise _damaged(folder, f"{type(error).__name__}: {error}") from error
    return Checkpoint(tensors, state)


def _damaged(folder: Path, why: str) -> ModelFileError:
    return ModelFileError(
        "SK-M002",
        f"the checkpoint {folder} is damaged ({why}).",
        f"Write the name of another folder beside it into {folder.parent / 'last'}.",
    )
