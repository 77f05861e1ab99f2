"""Checkpoints to continue from: safetensors and JSON only, nothing in them is ever executed.

    checkpoints/step-00000120/   model, average, optimizer, random, state.json, config.yaml,
                                 manifest.json

A folder appears complete or not at all. The manifest holds every file's SHA-256, and its own: where
a byte has changed since, the checkpoint before it is the last one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from segkit.errors import ModelFileError
from segkit.storage import (
    SEAL,
    checksum,
    flush,
    is_sealed,
    new_folder,
    read_json,
    remove_folder,
    sealed,
    storage_errors,
    sweep,
)

FORMAT = "segkit-checkpoint/3"
KEEP = 2
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """What training continues from.

    tensors   by group ("model", "average", "optimizer", "random", ...), then by name
    state     counters and scores: whatever JSON holds
    config    the text of config.yaml; None: it is not kept
    """

    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]
    config: str | None = None

    @property
    def nbytes(self) -> int:
        """Of all tensors: about what it takes on a disk."""
        return sum(each.nbytes for group in self.tensors.values() for each in group.values())


@dataclass(frozen=True)
class Found:
    """The newest whole checkpoint of a folder, and why those after it were left.

    damaged   by folder, the youngest first: what is wrong with it
    """

    folder: Path
    checkpoint: Checkpoint
    damaged: Mapping[Path, str] = field(default_factory=dict)


class CheckpointFolder:
    """The checkpoints of a run: the last one, and the one before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, checkpoint: Checkpoint, model: Path | None = None) -> Path:
        """Writes a checkpoint, then removes the ones no longer wanted.

        model   a model's folder: where it holds the same average, the disk holds that once
        Raises StorageError; what was there before is then still there.
        """
        target = self.folder / f"step-{step:08d}"
        with storage_errors(target, checkpoint.nbytes):
            self.folder.mkdir(parents=True, exist_ok=True)
            with new_folder(target) as work:
                _write(work, checkpoint, model)
            for each in self.steps()[:-KEEP]:
                remove_folder(each)
            flush(self.folder)
        return target

    def find(self) -> Found:
        """The newest checkpoint that is as it was written.

        Raises ModelFileError: SK-M004 there is none, SK-M002 all are damaged, or of another format.
        """
        damaged: dict[Path, str] = {}
        for folder in reversed(self.steps()):
            try:
                return Found(folder, _read(folder), damaged)
            except _Damage as error:
                damaged[folder] = str(error)
        if not damaged:
            raise ModelFileError(
                "SK-M004",
                f"{self.folder.parent} holds no checkpoint to continue from.",
                "Give the folder of a run that ended its first epoch, or start anew.",
            )
        whys = "\n".join(f"{each.name}: {why}" for each, why in damaged.items())
        config = self.folder.parent / "config.yaml"
        raise ModelFileError(
            "SK-M002",
            f"every checkpoint in {self.folder} is damaged:\n{whys}",
            "Copy the run again from where it was trained; or train it anew: "
            f"segkit train --config {config}",
        )

    def load(self) -> Checkpoint:
        """As `find`, the checkpoint alone."""
        return self.find().checkpoint

    def steps(self) -> list[Path]:
        """The folders of all checkpoints, the newest last."""
        return sorted(each for each in self.folder.glob("step-????????") if each.is_dir())

    def any_yet(self) -> bool:
        """Whether a checkpoint was ever completed here."""
        return bool(self.steps())

    def remove(self, folders: Sequence[Path]) -> None:
        """Removes checkpoints, such as damaged ones."""
        with storage_errors(self.folder):
            for each in folders:
                remove_folder(each)

    def sweep(self) -> None:
        """Removes what an interrupted write left."""
        if self.folder.is_dir():
            sweep(self.folder)


class _Damage(Exception):
    """Why a checkpoint is not what was written."""


def _write(work: Path, checkpoint: Checkpoint, model: Path | None) -> None:
    for group, tensors in checkpoint.tensors.items():
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(_unshared(plain), work / f"{group}.safetensors")
    state = json.dumps(dict(checkpoint.state), indent=2, allow_nan=False)
    (work / "state.json").write_text(state + "\n", encoding="utf-8")
    if checkpoint.config is not None:
        (work / "config.yaml").write_text(checkpoint.config, encoding="utf-8")
    sums = {file.name: checksum(file) for file in sorted(work.iterdir())}
    if model is not None and (average := work / "average.safetensors").is_file():
        _hold_once(average, sums[average.name], model / "model.safetensors")
    manifest = sealed({"format": FORMAT, "sha256": sums})
    (work / MANIFEST).write_text(manifest, encoding="utf-8")


def _hold_once(file: Path, digest: str, twin: Path) -> None:
    """Makes one file of two that are the same, where the disk can give a file two names."""
    try:
        if twin.stat().st_size != file.stat().st_size or checksum(twin) != digest:
            return
        other = file.with_name("twin")
        os.link(twin, other)
        other.replace(file)
    except OSError:
        return


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
    """Raises _Damage, and ModelFileError SK-M002 for one that is whole and of another format."""
    try:
        manifest = read_json(folder / MANIFEST)
        if SEAL not in manifest and manifest["format"] != FORMAT:
            raise ModelFileError(
                "SK-M002",
                f"{folder} is of format {manifest['format']}, and this segkit reads {FORMAT}.",
                "Continue with the version of segkit that wrote it.",
            )
        if not is_sealed(folder / MANIFEST, manifest):
            raise _Damage(f"{MANIFEST} is not the file that was written")
        for name, expected in manifest["sha256"].items():
            if Path(name).name != name or checksum(folder / name) != expected:
                raise _Damage(f"{name} is not the file that was written")
        tensors = {
            file.stem: load_file(file)
            for file in sorted(folder.glob("*.safetensors"))
            if file.name in manifest["sha256"]
        }
        state = read_json(folder / "state.json")
        copy = folder / "config.yaml"
        config = copy.read_text(encoding="utf-8") if copy.name in manifest["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise _Damage(f"{type(error).__name__}: {error}") from error
    return Checkpoint(tensors, state, config)
