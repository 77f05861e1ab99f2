"""A model as a folder to hand on, and on the Hugging Face hub."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from segkit.errors import EnvironmentFault, UsageError, first_line
from segkit.export.card import model_card
from segkit.model.folder import load_model, save_model
from segkit.model.network import SegmentationModel
from segkit.model.place import FILES, offline
from segkit.storage import new_folder, read_json, replace_text, storage_errors

CARD, SCORES = "README.md", "scores.json"
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}")
# What the hub has to be given of a folder, and removes where a new version has it no more.
OURS = [*FILES, f"members/*/{FILES[0]}", f"members/*/{FILES[1]}", CARD, SCORES]


@dataclass(frozen=True)
class Sharing:
    """What is handed on, and how.

    run         a run folder or model folder
    licence     of the weights, an identifier such as apache-2.0: nothing is assumed
    name        owner/name on the hub; None: nothing is sent
    evaluation  folder that `segkit evaluate RUN --out` wrote: its scores go on the card
    public      whether everybody may see it; a name that is there already stays as it is
    """

    run: str
    licence: str
    name: str | None = None
    evaluation: Path | None = None
    public: bool = False


def write_shared(asked: Sharing, folder: Path) -> Path:
    """Writes a folder with the model, its card and its scores, and nothing else of the run.

    Paths of this machine are left out: of data only the folder's name is told. Raises
    UsageError SK-C009 (licence, name, an evaluation of another model), SK-C012 (the folder is
    there), ModelFileError, StorageError.
    """
    _refuse_wrong(asked)
    if folder.exists():
        raise UsageError("SK-C012", f"{folder} exists already.", "Give another --out.")
    scores = _scores(asked) if asked.evaluation else None
    model = load_model(asked.run)
    for each in model.networks:
        each.record = replace(each.record, training=_without_places(each.record.training))
    model.record = replace(model.record, training=_without_places(model.record.training))
    title = asked.name or f"OWNER/{folder.name}"
    with storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(folder) as work:
            _write(model, title, asked.licence, scores, work)
    return folder


def push(asked: Sharing) -> str:
    """Sends a model to the hub, as a new version where the name is there; returns its address.

    Raises what `write_shared` raises, and EnvironmentFault SK-E005: offline, no login, no network,
    or the hub refused.
    """
    if asked.name is None:
        raise ValueError("a model is pushed to a name")
    _refuse_wrong(asked)
    if variable := offline():
        raise EnvironmentFault(
            "SK-E005",
            f"{variable} is set, and {asked.name} is on the network.",
            f"Write the folder alone with --out DIR, or unset it: unset {variable}",
        )
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as place:
        folder = write_shared(asked, Path(place) / asked.name.rpartition("/")[2])
        api = HfApi(library_name="segkit")
        try:
            api.create_repo(asked.name, private=not asked.public, exist_ok=True)
            # What an earlier version held and this one does not, such as members, goes.
            api.upload_folder(
                repo_id=asked.name,
                folder_path=folder,
                commit_message="segkit push",
                delete_patterns=OURS,
            )
        # As in place.py: the hub client raises its HTTP library's errors too.
        except Exception as error:
            raise EnvironmentFault(
                "SK-E005",
                f"the Hugging Face hub did not take {asked.name} ({type(error).__name__}: "
                f"{first_line(error, 300)}).",
                "Log in with a token that may write: hf auth login. Or write the folder alone "
                "with --out DIR.",
            ) from error
    return f"{api.endpoint}/{asked.name}"


def _write(
    model: SegmentationModel,
    name: str,
    licence: str,
    scores: Mapping[str, Any] | None,
    work: Path,
) -> None:
    inner = save_model(model, work / "model")
    for each in list(inner.iterdir()):
        each.rename(work / each.name)
    inner.rmdir()
    replace_text(work / CARD, model_card(model, name, licence, scores))
    if scores is not None:
        told = {**scores, "data": PurePath(scores["data"]).name, "model": name}
        replace_text(work / SCORES, json.dumps(told, indent=2) + "\n")


def _refuse_wrong(asked: Sharing) -> None:
    if asked.name is not None and not NAME.fullmatch(asked.name):
        raise UsageError(
            "SK-C009",
            f"'{asked.name}' is no name on the Hugging Face hub.",
            "It is owner/name, of letters, digits, dots, dashes and underscores.",
        )
    if not LICENCE.fullmatch(asked.licence):
        raise UsageError(
            "SK-C009",
            f"'{asked.licence}' is no identifier of a licence.",
            "Such are apache-2.0, mit, cc-by-4.0, cc-by-nc-4.0, and other: "
            "huggingface.co/docs/hub/repositories-licenses has them all.",
        )


def _scores(asked: Sharing) -> dict[str, Any]:
    """What the evaluation found; raises where it is none, or one of another model."""
    file = Path(asked.evaluation or ".") / SCORES
    try:
        found = read_json(file)
        named, intervals = found["model"], found["intervals"]
        complete = {"data", "split", "images", "scores", "conventions", "cautions"} <= found.keys()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            "SK-C009",
            f"{file} holds no evaluation ({type(error).__name__}).",
            f"Make one: segkit evaluate {asked.run} --split test --out {file.parent}",
        ) from error
    if not (complete and intervals) or Path(named).resolve() != Path(asked.run).resolve():
        raise UsageError(
            "SK-C009",
            f"{file} is of {named}, and {asked.run} is to be handed on.",
            f"Score that one: segkit evaluate {asked.run} --split test --out DIR",
        )
    return dict(found)


def _without_places(training: Mapping[str, Any]) -> dict[str, Any]:
    """Of data only the folder's name, also where a temperature was fitted."""
    found = dict(training)
    if isinstance(found.get("data"), str):
        found["data"] = PurePath(found["data"]).name
    if isinstance(found.get("calibration"), Mapping):
        found["calibration"] = _without_places(found["calibration"])
    return found
