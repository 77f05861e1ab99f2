"""A model's folder on disk: `model.safetensors` and `model.json`.

Nothing in it is ever executed: the JSON names registered components, and one that is not installed
is an error that says what to install.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from segkit.errors import ModelFileError, SegkitError, UsageError
from segkit.model.compose import build_recorded
from segkit.model.ensemble import Ensemble, ensemble
from segkit.model.network import ModelRecord, SegmentationModel
from segkit.model.place import is_there, model_folder
from segkit.model.record_file import (
    ENSEMBLE,
    FORMAT,
    EnsembleFile,
    ModelFile,
    ensemble_text,
    to_text,
)
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
File = TypeVar("File", ModelFile, EnsembleFile)


def save_model(model: SegmentationModel, folder: str | Path, **changes: Any) -> Path:
    """Writes the model folder in one step: it is there whole, or as it was before.

    changes   fields of the record to replace, such as classes=... or training=...
    """
    folder = Path(folder)
    record = replace(model.record, **changes)
    if isinstance(model, Ensemble):
        return _save_ensemble(model, record, folder)
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


def _save_ensemble(model: Ensemble, record: ModelRecord, folder: Path) -> Path:
    """A folder with its members' own; of the record temperature and training are the ensemble's."""
    names = [f"members/{place}" for place in range(1, len(model.members) + 1)]
    with storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(folder) as work:
            for name, member in zip(names, model.networks, strict=True):
                save_model(member, work / name)
            text = ensemble_text(names, record.temperature, record.training)
            (work / "model.json").write_text(text, encoding="utf-8")
    return folder


def load_model(
    path: str | Path | Sequence[str | Path], device: str | torch.device = "cpu"
) -> SegmentationModel:
    """The model of a run folder, a model folder, or `hf:owner/name`, in evaluation mode.

    path   several of these in a list are one ensemble, which answers by their mean probabilities

    Raises UsageError SK-C007 where several cannot be one, ModelFileError: SK-M001 (no model there),
    SK-M002 (damaged), SK-M003 (plugin missing).
    """
    if not isinstance(path, str | Path):
        return _loaded_together(path, device)
    folder = model_folder(path)
    if several := _ensemble_file(folder):
        names = [str(folder / each) for each in several.members]
        members = [_load(Path(name)).to(device).eval() for name in names]
        training = several.training.model_dump(exclude_unset=True)
        return ensemble(members, names, several.temperature, training)
    return _load(folder).to(device).eval()


def _loaded_together(paths: Sequence[str | Path], device: str | torch.device) -> SegmentationModel:
    if not paths:
        raise UsageError("SK-C009", "no model is named.", "Give one, or several to be an ensemble.")
    models = [load_model(each, device) for each in paths]
    return models[0] if len(models) == 1 else ensemble(models, [str(each) for each in paths])


def _load(folder: Path) -> SegmentationModel:
    """The model that lies right in a folder."""
    record, state = _read_whole(folder)
    _refuse_misfit(record, state, folder)
    try:
        model = build_recorded(record)
        model.load_state_dict(state, strict=True)
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        last = (str(error).splitlines() or [type(error).__name__])[-1].strip()
        raise _misfit(record, folder, last) from error
    return model


def change_record(path: str | Path, **changes: Any) -> None:
    """Writes fields of a model folder's record anew, in one step; its tensors stay as they are."""
    folder = model_folder(path)
    if several := _ensemble_file(folder):
        training = several.training.model_dump(exclude_unset=True)
        text = ensemble_text(
            several.members,
            changes.pop("temperature", several.temperature),
            changes.pop("training", training),
        )
        if changes:
            raise ValueError(f"an ensemble's record has no {', '.join(changes)} of its own")
    else:
        record, sha256 = _read_record(folder)
        text = to_text(replace(record, **changes), sha256)
    with storage_errors(folder):
        replace_text(folder / "model.json", text)


def refuse_damaged(folder: Path) -> None:
    """Raises ModelFileError as `load_model` does, for what can be told without its parts."""
    folder = model_folder(folder)
    several = _ensemble_file(folder)
    for each in [folder / name for name in several.members] if several else [folder]:
        _read_whole(each)


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
    checked = _read_json(folder / "model.json", ModelFile)
    return checked.record(), checked.sha256


def _ensemble_file(folder: Path) -> EnsembleFile | None:
    """What the file of an ensemble says; None of a model that is one network, or of no file."""
    try:
        content = read_json(folder / "model.json", LARGEST_RECORD)
    except (ValueError, OSError):
        return None  # What is wrong with it is said where a model is read.
    if not isinstance(content, dict) or content.get("format") != ENSEMBLE:
        return None
    return _read_json(folder / "model.json", EnsembleFile)


def _read_json(file: Path, kind: type[File]) -> File:
    """The file, checked field by field and against the checksum of its own text."""
    due = ENSEMBLE if kind is EnsembleFile else FORMAT
    try:
        content = read_json(file, LARGEST_RECORD)
        found = content.get("format") if isinstance(content, dict) else None
        if isinstance(found, str) and found != due:
            raise ModelFileError(
                "SK-M002",
                f"{file} is of format {found}, and this segkit reads {due}.",
                "python -m pip install --upgrade segkit-core",
            )
        checked = kind.model_validate(content)
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
    return checked


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
