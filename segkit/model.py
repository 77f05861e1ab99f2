"""The network: pad, encode, decode, classify, crop; and its folder on disk (safetensors + JSON).

A model folder holds `model.safetensors` and `model.json`. Nothing in it is ever executed: the JSON
names registered components, and one that is not installed is an error that says what to install.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from segkit.errors import ModelFileError
from segkit.interfaces import Decoder, Encoder, Features, Normalization

FORMAT = "segkit-model/1"


@dataclass(frozen=True)
class Part:
    """One component of a model, so exactly that another machine can build it again.

    expression    name and every option's value, as `densenet121(depth=5, memory_efficient=false)`
    distribution  what was installed when it was built, and which version of it
    """

    expression: str
    distribution: str
    version: str


@dataclass(frozen=True)
class ModelRecord:
    """What a model is and where it comes from; saved beside its tensors.

    weights   what the encoder started from: {"asked": "auto", "used": "none", "reason": "..."}
    classes   names in label order, empty where unknown; palette: an RGB colour for each
    training  what the training that made it wants to be known: data, convention, scores
    normalization  {"mean": [...], "std": [...]} where the pixels are expected otherwise than the
                   encoder says, as a model trained elsewhere may
    """

    encoder: Part
    decoder: Part
    upsampler: Part
    num_classes: int
    in_channels: int
    weights: Mapping[str, str] = field(default_factory=dict)
    classes: Sequence[str] = ()
    palette: Sequence[Sequence[int]] = ()
    ignore_index: int | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    normalization: Mapping[str, Sequence[float]] | None = None


class SegmentationModel(nn.Module):
    """Encoder, decoder and classifier as one module: any height and width in, the same out.

    Called with image_BCHW, floating point, normalised (`normalize` does it); returns logits_BKHW.
    """

    mean_C11: Tensor
    std_C11: Tensor

    def __init__(self, encoder: Encoder, decoder: Decoder, record: ModelRecord) -> None:
        super().__init__()
        self.encoder, self.decoder, self.record = encoder, decoder, record
        kernel = getattr(decoder, "head_kernel", 1)
        self.head = nn.Conv2d(decoder.channels, record.num_classes, kernel, padding=kernel // 2)
        self.align_corners = getattr(decoder, "align_corners", False)
        self._expect(encoder.normalization)
        # Unpadded convolutions lose this many pixels at each side; mirroring gives them back.
        lost = getattr(encoder, "margins", None)
        self.margin = (lost[-1] if lost else 0) + getattr(decoder, "margin", 0)
        self.encoder_margin = lost[-1] if lost else 0

    def expect_pixels(self, normalization: Normalization) -> None:
        """Has `normalize` do otherwise than the encoder says, and records it."""
        self._expect(normalization)
        mean, std = (list(values) for values in normalization)
        self.record = replace(self.record, normalization={"mean": mean, "std": std})

    def _expect(self, normalization: Normalization) -> None:
        mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in normalization)
        self.register_buffer("mean_C11", mean, persistent=False)
        self.register_buffer("std_C11", std, persistent=False)

    def normalize(self, image_BCHW: Tensor, full_scale: float = 255.0) -> Tensor:
        """Pixels of any type, 0 to full_scale, as the encoder expects them."""
        image_BCHW = image_BCHW.to(self.mean_C11.dtype) / full_scale
        return (image_BCHW - self.mean_C11) / self.std_C11

    def forward(self, image_BCHW: Tensor) -> Tensor:
        height, width = image_BCHW.shape[-2:]
        padded_BCHW = self._pad(image_BCHW)
        size = tuple(side - 2 * self.margin for side in padded_BCHW.shape[-2:])
        features: Features = self.encoder(padded_BCHW)
        logits_BKHW = self.head(self.decoder(features))
        if self.decoder.stride > 1:
            logits_BKHW = F.interpolate(
                logits_BKHW, size, mode="bilinear", align_corners=self.align_corners
            )
        return logits_BKHW[..., :height, :width]

    def _pad(self, image_BCHW: Tensor) -> Tensor:
        """To a size the encoder takes: mirrored by the margin, filled at right and bottom."""
        deepest = self.encoder.strides[-1]
        if self.margin:
            surplus = [
                (-(side + 2 * self.margin - 2 * self.encoder_margin)) % deepest
                for side in image_BCHW.shape[-2:]
            ]
            return mirror_pad(image_BCHW, self.margin, surplus)
        bottom, right = ((-side) % deepest for side in image_BCHW.shape[-2:])
        if not (bottom or right):
            return image_BCHW
        return F.pad(image_BCHW, (0, right, 0, bottom), mode="replicate")


def mirror_pad(image_BCHW: Tensor, margin: int, surplus: Sequence[int]) -> Tensor:
    """Mirrors the border, edge pixel not repeated, by `margin` a side and `surplus` (h, w) more.

    Images smaller than the margin are mirrored as often as needed, which F.pad refuses.
    """
    height, width = image_BCHW.shape[-2:]
    row_H = _mirrored(height, margin, margin + surplus[0], image_BCHW.device)
    column_W = _mirrored(width, margin, margin + surplus[1], image_BCHW.device)
    return image_BCHW[..., row_H, :][..., column_W]


def _mirrored(length: int, before: int, after: int, device: torch.device) -> Tensor:
    place = torch.arange(-before, length + after, device=device)
    period = max(2 * (length - 1), 1)
    place = place % period
    return torch.minimum(place, period - place) if length > 1 else torch.zeros_like(place)


def save_model(model: SegmentationModel, folder: str | Path, **changes: Any) -> Path:
    """Writes the model folder in one step: it is there whole, or as it was before.

    changes   fields of the record to replace, such as classes=... or training=...
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    record = replace(model.record, **changes)
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    work = Path(tempfile.mkdtemp(prefix=f"{folder.name}.tmp-", dir=folder.parent))
    try:
        save_file(tensors, work / "model.safetensors")
        description = {
            "format": FORMAT,
            "sha256": _sha256(work / "model.safetensors"),
            **asdict(record),
        }
        (work / "model.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        for file in work.iterdir():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        work.chmod(0o755)
        _put_in_place(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def load_model(path: str | Path, device: str | torch.device = "cpu") -> SegmentationModel:
    """The model of a run folder, a model folder, or a hub id (`owner/name`), in evaluation mode.

    Raises ModelFileError: SK-M001 (no model there), SK-M002 (damaged), SK-M003 (plugin missing).
    """
    from segkit.compose import build_recorded

    folder = _model_folder(path)
    record, checksum = _read_record(folder)
    tensors_file = folder / "model.safetensors"
    try:
        if _sha256(tensors_file) != checksum:
            raise ModelFileError(
                "SK-M002",
                f"{tensors_file} is not the file that model.json describes.",
                "Copy it again.",
            )
        state = load_file(tensors_file)
    except (OSError, SafetensorError) as error:
        raise ModelFileError(
            "SK-M002", f"{tensors_file} cannot be read ({error}).", "Copy it again."
        ) from error
    model = build_recorded(record)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ModelFileError(
            "SK-M002",
            f"the tensors in {folder} do not fit the parts named there "
            f"({str(error).splitlines()[-1].strip()}).",
            f"Install the versions that wrote it: {_installs(record)}",
        ) from error
    return model.to(device).eval()


def _model_folder(path: str | Path) -> Path:
    folder = Path(path).expanduser()
    for candidate in (folder / "model", folder):
        if (candidate / "model.json").is_file():
            return candidate
    text = str(path)
    if not folder.exists() and text.count("/") == 1 and not text.startswith((".", "/", "~")):
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(text, allow_patterns=["model.json", "model.safetensors"]))
        # As in weights.py: the hub client raises its HTTP library's errors too.
        except Exception as error:
            raise ModelFileError(
                "SK-M001",
                f"there is no folder '{text}', and the hub did not give a model of that name "
                f"({type(error).__name__}).",
                "Give the folder that `segkit train` printed.",
            ) from error
    state = "holds no model.json" if folder.exists() else "does not exist"
    raise ModelFileError(
        "SK-M001", f"{path} {state}.", "Give the folder that `segkit train` printed (--out RUN)."
    )


def _read_record(folder: Path) -> tuple[ModelRecord, str]:
    file = folder / "model.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ModelFileError(
                "SK-M002",
                f"{file} is of format {content['format']}, and this segkit reads {FORMAT}.",
                "python -m pip install --upgrade segkit-core",
            )
        known = (f.name for f in fields(ModelRecord))
        values: dict[str, Any] = {name: content[name] for name in known if name in content}
        for name in ("encoder", "decoder", "upsampler"):
            values[name] = Part(**values[name])
        return ModelRecord(**values), content["sha256"]
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ModelFileError(
            "SK-M002", f"{file} cannot be read ({type(error).__name__}: {error}).", "Copy it again."
        ) from error


def _installs(record: ModelRecord) -> str:
    parts = {
        f"{p.distribution}=={p.version}" for p in (record.encoder, record.decoder, record.upsampler)
    }
    return f"python -m pip install {' '.join(sorted(parts))}"


def _put_in_place(work: Path, folder: Path) -> None:
    if not folder.exists():
        work.replace(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f"{folder.name}.old-", dir=folder.parent))
    folder.replace(old / folder.name)
    work.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
