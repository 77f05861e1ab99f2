"""A model's folder on disk: `model.safetensors` and `model.json`.

Nothing in it is ever executed: the JSON names registered components, and one that is not installed
is an error that says what to install.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from segkit.errors import ModelFileError, SegkitError
from segkit.model.compose import build_recorded
from segkit.model.network import ModelRecord, SegmentationModel
from segkit.model.place import is_there, model_folder
from segkit.model.record_file import FORMAT, ModelFile, to_text
from segkit.storage import (
    SEAL,
    checksum,
    is_sealed,
    new_folder,
    read_json,
    replace_text,
    storage_errors,
)

LARGEST_RECORD = 10_000_000


def save_model(model: SegmentationModel, folder: str | Path, **changes: Any) -> Path:
    """Writes the model folder in one step: it is there whole, or as it was before.

    changes   fields of the record to replace, such as classes=... or training=...
    """
    folder = Path(folder)
    record = replace(model.record, **changes)
    # Copies, because safetensors takes no two names for one memory, as tied weights have.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    with storage_errors(folder, sum(each.nbytes for each in tensors.values())):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(folder) as work:
            save_file(tensors, work / "model.safetensors")
            sha256 = checksum(work / "model.safetensors")
            (work / "model.json").write_text(to_text(record, sha256), encoding="utf-8")
    return folder


def load_model(path: str | Path, device: str | torch.device = "cpu") -> SegmentationModel:
    """The model of a run folder, a model folder, or `hf:owner/name`, in evaluation mode.

    Raises ModelFileError: SK-M001 (no model there), SK-M002 (damaged), SK-M003 (plugin missing).
    """
    folder = model_folder(path)
    record, state = _read_whole(folder)
    _refuse_misfit(record, state, folder)
    try:
        model = build_recorded(record)
        model.load_state_dict(state, strict=True)
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        last = (str(error).splitlines() or [type(error).__name__])[-1].strip()
        raise _misfit(record, folder, last) from error
    return model.to(device).eval()


def change_record(path: str | Path, **changes: Any) -> None:
    """Writes fields of a model folder's record anew, in one step; its tensors stay as they are."""
    folder = model_folder(path)
    record, sha256 = _read_record(folder)
    with storage_errors(folder):
        replace_text(folder / "model.json", to_text(replace(record, **changes), sha256))


def refuse_damaged(folder: Path) -> None:
    """Raises ModelFileError as `load_model` does, for what can be told without its parts."""
    _read_whole(model_folder(folder))


def _read_whole(folder: Path) -> tuple[ModelRecord, dict[str, Tensor]]:
    """Record and tensors of one and the same model, also while a training replaces it."""
    while True:
        before = _which(folder)
        try:
            record, sha256 = _read_record(folder)
            return record, _read_tensors(folder / "model.safetensors", sha256)
        except ModelFileError:
            # What was read first may be of the old folder, and what was read last of the new one.
            if _which(folder) == before:
                raise


def _which(folder: Path) -> tuple[int, int]:
    """Another one for a folder that has taken this one's place."""
    found = folder.stat() if is_there(folder) else None
    return (found.st_ino, found.st_ctime_ns) if found else (0, 0)


def _read_record(folder: Path) -> tuple[ModelRecord, str]:
    file = folder / "model.json"
    try:
        content = read_json(file, LARGEST_RECORD)
        found = content.get("format") if isinstance(content, dict) else None
        if isinstance(found, str) and found != FORMAT:
            raise ModelFileError(
                "SK-M002",
                f"{file} is of format {found}, and this segkit reads {FORMAT}.",
                "python -m pip install --upgrade segkit-core",
            )
        checked = ModelFile.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ModelFileError(
            "SK-M002",
            f"{file} cannot be read as a description of a model ({where}: {first['msg']}).",
            "Copy it again from where it was trained.",
        ) from error
    except (ValueError, OSError) as error:
        raise ModelFileError(
            "SK-M002", f"{file} cannot be read ({type(error).__name__}: {error}).", "Copy it again."
        ) from error
    if checked.sha256_of_this_file is not None and not is_sealed(file, content):
        raise ModelFileError(
            "SK-M002",
            f"{file} is not the text that was written.",
            f"Copy it again. Where you changed it yourself, take out its line {SEAL}.",
        )
    return checked.record(), checked.sha256


def _read_tensors(file: Path, sha256: str) -> dict[str, Tensor]:
    """The tensors, checked against the record's checksum, every number finite."""
    try:
        if checksum(file) != sha256:
            raise ModelFileError(
                "SK-M002",
                f"{file} is not the file that model.json describes.",
                "Copy it again.",
            )
        state = load_file(file)
    except (OSError, SafetensorError) as error:
        raise ModelFileError(
            "SK-M002", f"{file} cannot be read ({error}).", "Copy it again."
        ) from error
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ModelFileError(
                "SK-M002",
                f"{file}: {name} holds values that are no finite numbers.",
                "Such a model answers nothing of use; train it again.",
            )
    return state


def _refuse_misfit(record: ModelRecord, state: Mapping[str, Tensor], folder: Path) -> None:
    """Raises where the parts named would not hold these tensors, before memory is taken for them.

    A few letters in model.json can name a network of any size.
    """
    try:
        with torch.device("meta"):
            wanted = build_recorded(record).state_dict()
    except SegkitError:
        raise
    # Some networks cannot be built without memory; those are compared once they are built.
    except Exception:
        return
    missing = [name for name in wanted if name not in state]
    strange = [name for name in state if name not in wanted]
    other = [n for n in wanted if n in state and wanted[n].shape != state[n].shape]
    if missing or strange or other:
        name = (other or missing or strange)[0]
        raise _misfit(record, folder, f"{name}, and {len(missing + strange + other) - 1} more")


def _misfit(record: ModelRecord, folder: Path, which: str) -> ModelFileError:
    return ModelFileError(
        "SK-M002",
        f"the tensors in {folder} do not fit the parts named there ({which}).",
        f"Install the versions that wrote it: {_installs(record)}",
    )


def _installs(record: ModelRecord) -> str:
    parts = {
        f"{p.distribution}=={p.version}" for p in (record.encoder, record.decoder, record.upsampler)
    }
    return f"python -m pip install {' '.join(sorted(parts))}"
