"""Where a model lies: in a run folder, in a folder of its own, or on the Hugging Face hub."""

from __future__ import annotations

import os
import time
from pathlib import Path

from segkit.errors import ModelFileError
from segkit.storage import RETIRED, TEMPORARY

HUB = "hf:"
FILES = ("model.json", "model.safetensors")


def holds_model(path: str) -> bool:
    """Whether a path is a run, a model folder, an ONNX file, or a name of the hub."""
    folder = Path(path).expanduser()
    if path.startswith(HUB) or (folder.suffix.lower() == ".onnx" and folder.is_file()):
        return True
    return any((each / "model.json").is_file() for each in (folder / "model", folder))


def is_there(folder: Path) -> bool:
    """Whether a folder is there, or is in a second: two renames, where a disk can do no better."""
    for _ in range(20):
        if folder.is_dir():
            return True
        if not any(folder.parent.glob(f"{folder.name}{TEMPORARY}*{RETIRED}")):
            return False
        time.sleep(0.05)
    return False


def model_folder(path: str | Path) -> Path:
    """Where model.json lies; only a name that begins with hf: is asked of the hub."""
    text = str(path)
    if text.startswith(HUB):
        return _from_hub(text.removeprefix(HUB))
    folder = Path(path).expanduser()
    for candidate in (folder / "model", folder):
        if is_there(candidate) and (candidate / "model.json").is_file():
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
    """The files of a hub model, from the cache where they are; offline no network is asked."""
    from huggingface_hub import snapshot_download

    variable = offline()
    wanted = [f"{place}{name}" for place in ("", "members/*/") for name in FILES]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=bool(variable)))
    # As in weights.py: the hub client raises its HTTP library's errors too.
    except Exception as error:
        raise ModelFileError(
            "SK-M001",
            f"the Hugging Face hub did not give a model '{name}' ({type(error).__name__})"
            f"{f', and {variable} is set' if variable else ''}.",
            "Check the name, owner/model, and the connection; or give a folder on this machine.",
        ) from error


def offline() -> str:
    """The environment variable that keeps segkit off the network; "" where none does."""
    for name in ("SEGKIT_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(name, "0").lower() not in ("", "0", "no", "false", "off"):
            return name
    return ""


def _like_hub(path: str | Path) -> bool:
    text = str(path)
    plain = not text.startswith((".", "/", "~"))
    return plain and text.count("/") == 1 and not Path(text).parent.exists()
