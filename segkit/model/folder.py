"""A model's folder on disk: `model.safetensors` and `model.json`.

Nothing in it is ever executed: the JSON names registered components, and one that is not installed
is an error that says what to install.
"""

from __future__ import annotations

import os
import time
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
from segkit.model.record_file import FORMAT, ModelFile, to_text
from segkit.storage import (
    RETIRED,
    SEAL,
    TEMPORARY,
    checksum,
    is_sealed,
    new_folder,
    read_json,
    storage_errors,
)

LARGEST_RECORD = 10_000_000
HUB = "hf:"


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
    folder = _model_folder(path)
    record, state = _read_whole(folder)
    _refuse_misfit(record, state, folder)
    try:
        model = build_recorded(record)
        model.load_state_dict(state, strict=True)
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        last = (str(error).splitlines() or [type(error).__name__])[-1].strip()
        raise _misfit(record, folder, last) from error
    return model.to(device).eval()


def refuse_damaged(folder: Path) -> None:
    """Raises ModelFileError as `load_model` does, for what can be told without its parts."""
    _read_whole(_model_folder(folder))


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
    found = folder.stat() if _is_there(folder) else None
    return (found.st_ino, found.st_ctime_ns) if found else (0, 0)


def _is_there(folder: Path) -> bool:
    """Whether a folder is there, or is in a second: two renames, where a disk can do no better."""
    for _ in range(20):
        if folder.is_dir():
            return True
        if not any(folder.parent.glob(f"{folder.name}{TEMPORARY}*{RETIRED}")):
            return False
        time.sleep(0.05)
    return False


def _model_folder(path: str | Path) -> Path:
    """Where model.json lies; only a name that begins with hf: is asked of the hub."""
    text = str(path)
    if text.startswith(HUB):
        return _from_hub(text.removeprefix(HUB))
    folder = Path(path).expanduser()
    for candidate in (folder / "model", folder):
        if _is_there(candidate) and (candidate / "model.json").is_file():
            return candidate
    state = "holds no model.json" if folder.is_dir() else "is a file, and a model is a folder"
    state = state if folder.exists() else "does not exist"
    if folder.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif", ".tiff"):
        state += ": the run comes first, and images after it"
    on_hub = f" A model of the Hugging Face hub is written {HUB}{text}." if _like_hub(path) else ""
    raise ModelFileError(
        "SK-M001",
        f"{path} {state}.",
        f"{_near(folder)}Give the folder that `segkit train` printed (--out RUN).{on_hub}",
    )


def _near(folder: Path) -> str:
    """The words "Did you mean RUN? ": the runs above a path, or right below it; or no words."""
    above = [each for each in list(folder.parents)[:3] if (each / "model" / "model.json").is_file()]
    below = sorted(each.parent.parent for each in folder.glob("*/model/model.json"))
    shown = " or ".join(map(str, [*above[:1], *below[:3]]))
    return f"Did you mean {shown}? " if shown else ""


def _from_hub(name: str) -> Path:
    """The files of a hub model, from the cache where they are; SEGKIT_OFFLINE=1 asks no network."""
    from huggingface_hub import snapshot_download

    offline = os.environ.get("SEGKIT_OFFLINE", "0") not in ("", "0")
    wanted = ["model.json", "model.safetensors"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=offline))
    # As in weights.py: the hub client raises its HTTP library's errors too.
    except Exception as error:
        raise ModelFileError(
            "SK-M001",
            f"the Hugging Face hub did not give a model '{name}' ({type(error).__name__})"
            f"{', and SEGKIT_OFFLINE is set' if offline else ''}.",
            "Check the name, owner/model, and the connection; or give a folder on this machine.",
        ) from error


def _like_hub(path: str | Path) -> bool:
    text = str(path)
    plain = not text.startswith((".", "/", "~"))
    return plain and text.count("/") == 1 and not Path(text).parent.exists()


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
