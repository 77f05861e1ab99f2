"""The settings of a training that say what its data are, and which of them validate."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class DataConfig(BaseModel):
    """What a training is given to learn from; what is left to segkit is "auto" or none."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    data: str | None = Field(
        default=None, description="folder of images and masks; null is the built-in demo set"
    )
    dataset: str | None = Field(
        default=None,
        description="published data set that data holds, as name(option=value); null: our layouts",
    )
    in_channels: int | None = Field(
        default=None, ge=1, description="channels of the image; null asks the data"
    )
    intensity: str | None = Field(
        default=None,
        description="pixel values that are black and white: range (of all images), percentile, "
        "per-image or fixed(BLACK, WHITE); null: as data.yaml says, else range",
    )
    num_classes: int | None = Field(
        default=None, ge=1, description="how many classes the masks hold; null asks the data"
    )
    ignore_index: int | Literal["auto"] | None = Field(
        default="auto",
        description="mask label that counts for nothing; auto asks the data, null is none",
    )
    instances: Literal["foreground", "boundary"] | None = Field(
        default=None,
        description="where masks hold object numbers: foreground, or boundary for the objects' "
        "outermost pixels as a class too; null where they hold classes",
    )
    binarize: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="mask values from here on are foreground, for smeared masks; null is none",
    )
    label_mapping: str | None = Field(
        default=None,
        description="what stored mask values mean, as {stored value: label}; a value may be a "
        'range "1-9", a label may be ignore; null asks the data',
    )
    declare: str | None = Field(
        default=None,
        description="what data.yaml would say, over what it says: 'page: 1', or "
        "'{page: 1, soft: true}'",
    )
    resize_masks: Literal["nearest"] | None = Field(
        default=None, description="masks of another size than their images are brought to it"
    )
    max_pixels: int | None = Field(
        default=None, ge=1, description="the largest image allowed, pixels; null is 178,956,970"
    )
    on_bad_sample: Literal["error", "skip"] = Field(
        default="error",
        description="skip leaves out samples whose files are damaged, up to 5 % of all",
    )
    cache: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="keep a folder's decoded pixels in the user's cache; auto: where they fit",
    )
    overfit: int | None = Field(
        default=None,
        ge=1,
        description="train on so many images alone and score on the same: a sound setup comes near "
        "a perfect score; null takes all",
    )
    val_share: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="share that validates where the data name no such part, 0 to 1; with 0 every "
        "image trains, and the model has no score",
    )
    folds: int | None = Field(
        default=None,
        ge=2,
        le=100,
        description="cross-validation: as many trainings, each validated on another part of the "
        "images for training and validation, and an ensemble of them; null: one training",
    )
    fold: int | None = Field(
        default=None,
        ge=1,
        description="the part of folds that this training is validated on, from 1; null: all, one "
        "after the other",
    )
