"""data.yaml: what a folder of images says about itself, read safely and checked key by key."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from segkit.config import load_yaml
from segkit.data.files.masks import RGB
from segkit.data.files.reading import MAX_PIXELS, Reading
from segkit.data.intensity import Intensity
from segkit.data.setting_values import READERS, label_mapping, named_palette, wrong
from segkit.errors import DataError, UsageError, did_you_mean
from segkit.storage import require_plain

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz")
FILE_NAMES = ("data.yaml", "data.yml")
# What tools for YOLO write into their data.yaml besides; it says nothing about masks.
OTHER_TOOLS_KEYS = ("download", "roboflow", "kpt_shape", "flip_idx")


@dataclass(frozen=True)
class DataSettings:
    """The content of data.yaml; every key may be left out.

    path           folder that the other paths start from, itself relative to data.yaml
    train          images folder, or a text file with a name a line
    val            as train
    test           as train
    names          the classes, in label order: a list, or a mapping {label: name}
    nc             how many classes there are, where they have no names
    ignore_index   the label that counts for nothing (after label_mapping)
    label_mapping  {stored value: label}; a key may be a range "1-65535", a label may be "ignore"
    palette        an RGB colour per class: a list in label order, or {class or "ignore": [r, g, b]}
    mask_suffix    what a mask's name has beyond its image's, such as _mask
    in_channels    channels of the images
    instances      masks hold object numbers: "foreground" makes every object one class, "boundary"
                   its outermost pixels a class of their own
    binarize       values from here on are foreground, the rest background: for smeared masks
    max_pixels     the largest image allowed, pixels
    allow_leak     True where one picture may lie in two splits
    exif           "apply" or "ignore": whether images are turned as their EXIF orientation says
    alpha          of images: "drop" (the default), lay on "white", or keep as a "channel"
    page           which page of files that hold several, from 1
    nan_fill       what replaces NaN and infinities in images
    soft           True where masks hold fractions from 0 to 1: 0.5 and more is foreground
    intensity      what is black and white: range, percentile, per-image or fixed(BLACK, WHITE)
    resize_masks   "nearest": masks of another size than their images are enlarged or reduced to it
    group          a regular expression: images whose names give the same text for it are of one
                   recording or patient, which no drawn split parts

    file           the data.yaml that was read, None where there is none
    folder         where it was looked for
    """

    file: Path | None = None
    path: Path | None = None
    train: str | None = None
    val: str | None = None
    test: str | None = None
    names: tuple[str, ...] = ()
    nc: int | None = None
    ignore_index: int | None = None
    label_mapping: Mapping[tuple[int, int], int | None] = field(default_factory=dict)
    palette: Mapping[str, RGB] = field(default_factory=dict)
    mask_suffix: str = ""
    in_channels: int | None = None
    instances: str | None = None
    binarize: int | None = None
    max_pixels: int | None = None
    allow_leak: bool = False
    exif: str | None = None
    alpha: str = "drop"
    page: int | None = None
    nan_fill: float | None = None
    soft: bool = False
    intensity: Intensity | None = None
    resize_masks: str | None = None
    group: re.Pattern[str] | None = None
    folder: Path | None = None

    @property
    def to_write(self) -> Path:
        """The file that says more: the one read, else the one to make."""
        return self.file or (self.folder or Path()) / FILE_NAMES[0]

    def reading(self) -> Reading:
        """How the files are read."""
        limit = self.max_pixels or MAX_PIXELS
        return Reading(limit, self.page, self.nan_fill, self.alpha, self.soft, self.to_write)


KEYS = tuple(f.name for f in fields(DataSettings) if f.name not in ("file", "folder"))


def find_settings(root: Path, declare: str | None = None) -> DataSettings:
    """The settings of a folder that may hold a data.yaml, or of that file; raises SK-D009.

    declare   what is said over them: lines of data.yaml, such as "page: 1"
    """
    settings = _found_settings(root)
    return settings if declare is None else declared(declare, settings)


def _found_settings(root: Path) -> DataSettings:
    if root.is_file():
        if root.suffix.lower() not in (".yaml", ".yml"):
            fix = "Give the folder that holds images/ and masks/, or its data.yaml."
            if root.suffix.lower() in ARCHIVES:
                fix = f"Unpack it, and give the folder it becomes: {unpacking(root)}"
            what = f"{root} is a file, and a data set is a folder of images and masks."
            raise DataError("SK-D001", what, fix)
        return read_settings(root)
    for name in FILE_NAMES:
        if (root / name).is_file():
            return read_settings(root / name)
    return DataSettings(folder=root)


def unpacking(archive: Path) -> str:
    """The command that unpacks an archive beside itself."""
    return f"python -m {'zipfile' if archive.suffix.lower() == '.zip' else 'tarfile'} -e " + (
        f"{shlex.quote(str(archive))} {shlex.quote(str(archive.with_suffix('')))}"
    )


def read_label_mapping(text: str) -> dict[tuple[int, int], int | None]:
    """The mapping in a text such as `{0: 0, "1-9": 1, 255: ignore}`; raises UsageError SK-C009."""
    option = Path("--label-mapping")
    try:
        # YAML reads {5:1} as one word; here it can mean but one thing.
        spaced = re.sub(r"(?<=[0-9\"'])\s*:\s*(?=\w)", ": ", text)
        return label_mapping(option, "label_mapping", load_yaml(spaced))
    except (yaml.YAMLError, DataError) as error:
        what = error.what if isinstance(error, DataError) else f"{option} {text} is no mapping."
        what = what.replace(f"{option} has label_mapping:", f"{option} cannot be")
        raise UsageError(
            "SK-C009", what, "Write it as '{stored value: label}', such as '{0: 0, 255: 1}'."
        ) from error


def read_settings(file: Path) -> DataSettings:
    """Reads one data.yaml; raises DataError SK-D009, naming the file and the key."""
    try:
        require_plain(file)
        content = load_yaml(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise wrong(file, f"is no YAML that segkit reads ({error})", "Correct it.") from error
    return DataSettings(file=file, **_values_of(file, content))


def declared(text: str, settings: DataSettings) -> DataSettings:
    """The settings with what a text says over them: lines of data.yaml, such as "page: 1".

    Raises UsageError SK-C009, naming the key.
    """
    option = Path("--declare")
    try:
        values = _values_of(option, load_yaml(text))
    except (yaml.YAMLError, DataError) as error:
        what, fix = f"{option} {text} is no YAML.", "Write it as data.yaml would: 'page: 1'."
        if isinstance(error, DataError):
            what, fix = error.what, f"Write 'KEY: VALUE', as 'names: [car, tree]'. {error.fix}"
        raise UsageError("SK-C009", what, fix) from error
    return replace(settings, **values)


def _values_of(file: Path, content: Any) -> dict[str, Any]:
    """What the keys of a data.yaml say."""
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise wrong(file, "holds no keys", f"It may say {', '.join(KEYS)}.")
    read: dict[str, Any] = {}
    for key, value in content.items():
        if key in OTHER_TOOLS_KEYS:
            continue
        if key not in KEYS:
            hint = did_you_mean(str(key), KEYS)
            raise wrong(file, f"has an unknown key '{key}'", f"{hint}Known are {', '.join(KEYS)}.")
        if value is not None:
            read[key] = READERS[key](file, key, value)
    if "palette" in read:
        read["palette"] = named_palette(file, read["palette"], read.get("names", ()))
    return read
