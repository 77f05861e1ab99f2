"""model.json: what a model's folder says of it, every field checked before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from segkit.errors import UsageError
from segkit.model.network import COLDEST, HOTTEST, ModelRecord, Part
from segkit.registry.expression import parse_component
from segkit.storage import sealed

FORMAT, ENSEMBLE = "segkit-model/1", "segkit-ensemble/1"
# A number that a pixel can be, of any camera.
LARGEST = 1e9


Finite = Annotated[float, Field(allow_inf_nan=False, ge=-LARGEST, le=LARGEST)]
# No control characters: names and paths are shown on terminals.
Text = Annotated[
    str, StringConstraints(max_length=10_000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$")
]
Name = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
Distribution = Annotated[str, StringConstraints(max_length=200, pattern=r"^[A-Za-z0-9._-]+$")]
# A folder inside the ensemble's, and no other.
MemberName = Annotated[str, StringConstraints(pattern=r"^members/[1-9][0-9]{0,2}$")]
Byte = Annotated[int, Field(ge=0, le=255)]


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


def _component(text: str) -> str:
    try:
        parse_component(text)
    except UsageError as error:
        raise ValueError(error.what) from error
    return text


def _no_component_or_one(text: str) -> str:
    return _component(text) if text else text


class PartFile(_Checked):
    expression: Annotated[Name, AfterValidator(_component)]
    distribution: Distribution
    version: Annotated[str, StringConstraints(max_length=100, pattern=r"^[A-Za-z0-9.!+_-]+$")]


class IntensityFile(_Checked):
    """As `Intensity.record` writes it."""

    scaling: Literal["range", "percentile", "per-image", "fixed", "type"]
    black: Finite = 0.0
    white: Finite | None = None
    dtype: Literal["uint8", "uint16", "float32"] | None = None

    @model_validator(mode="after")
    def white_is_above_black(self) -> IntensityFile:
        if self.white is not None and self.white <= self.black:
            raise ValueError(f"white is {self.white:g} and black {self.black:g}: white is above it")
        if self.white is None and self.scaling not in ("per-image", "type"):
            raise ValueError(f"white is missing, which the scaling {self.scaling} needs")
        return self


class ReadingFile(_Checked):
    """As `Reading.record` writes it."""

    page: Annotated[int, Field(ge=1)] | None = None
    nan_fill: Finite | None = None
    alpha: Literal["drop", "white", "channel"] = "drop"


class TrainingFile(BaseModel):
    """What decides how a new image is read; the rest is told, and used for nothing."""

    model_config = ConfigDict(strict=True, extra="allow")

    intensity: IntensityFile | None = None
    reading: ReadingFile | None = None
    full_scale: Annotated[Finite, Field(gt=0)] | None = None


class NormalizationFile(_Checked):
    mean: list[Finite]
    std: list[Annotated[Finite, Field(gt=0)]]


class ModelFile(_Checked):
    """The content of model.json; raises pydantic's ValidationError naming the field."""

    sha256_of_this_file: str | None = None
    format: Literal["segkit-model/1"]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    encoder: PartFile
    decoder: PartFile
    upsampler: PartFile
    num_classes: Annotated[int, Field(ge=1, le=65_536)]
    in_channels: Annotated[int, Field(ge=1, le=65_536)]
    weights: dict[Name, Text] = {}
    classes: list[Name] = []
    palette: list[Annotated[list[Byte], Field(min_length=3, max_length=3)]] = []
    ignore_index: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None = None
    training: TrainingFile = TrainingFile()
    normalization: NormalizationFile | None = None
    separation: Annotated[Name, AfterValidator(_no_component_or_one)] = ""
    maps: Annotated[int, Field(ge=0, le=1024)] = 0
    background: Annotated[int, Field(ge=0, le=65_536)] = 0
    temperature: Annotated[float, Field(ge=COLDEST, le=HOTTEST)] = 1.0
    unpadded: bool = False
    mirrors: Literal["", "horizontal", "both"] = ""

    @model_validator(mode="after")
    def counts_agree(self) -> ModelFile:
        labels = self.record().label_count
        if self.classes and len(self.classes) != labels:
            raise ValueError(f"classes has {len(self.classes)} names for {labels} labels")
        if self.palette and len(self.palette) != labels:
            raise ValueError(f"palette has {len(self.palette)} colours for {labels} labels")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes names one class twice")
        if pixels := self.normalization:
            for name, values in (("mean", pixels.mean), ("std", pixels.std)):
                if len(values) != self.in_channels:
                    raise ValueError(
                        f"normalization.{name} has {len(values)} numbers for {self.in_channels} "
                        "channels"
                    )
        return self

    def record(self) -> ModelRecord:
        """As the rest of segkit takes it."""
        content: dict[str, Any] = self.model_dump(
            # What is not said stays unsaid: a reader's defaults are not the file's.
            exclude={"sha256_of_this_file", "format", "sha256"},
            exclude_unset=True,
        )
        for kind in ("encoder", "decoder", "upsampler"):
            content[kind] = Part(**content[kind])
        return ModelRecord(**content)


class EnsembleFile(_Checked):
    """The content of model.json of an ensemble, whose members are model folders inside its own."""

    sha256_of_this_file: str
    format: Literal["segkit-ensemble/1"]
    members: Annotated[list[MemberName], Field(min_length=2, max_length=100)]
    temperature: Annotated[float, Field(ge=COLDEST, le=HOTTEST)] = 1.0
    training: TrainingFile = TrainingFile()


def ensemble_text(members: Sequence[str], temperature: float, training: Mapping[str, Any]) -> str:
    """The text of an ensemble's model.json; raises ValueError for numbers that JSON has not."""
    said = {"members": list(members), "temperature": temperature, "training": dict(training)}
    return sealed({"format": ENSEMBLE, **said})


def to_text(record: ModelRecord, sha256: str) -> str:
    """The text of model.json; raises ValueError for numbers that JSON has not."""
    return sealed({"format": FORMAT, "sha256": sha256, **asdict(record)})
