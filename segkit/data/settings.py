"""data.yaml: what a folder of images says about itself, read safely and checked key by key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from segkit.config import YamlLoader
from segkit.data.files.masks import RGB
from segkit.data.files.reading import ALPHA, MAX_PIXELS, Reading
from segkit.data.intensity import Intensity, read_intensity
from segkit.errors import DataError, UsageError, did_you_mean

FILE_NAMES = ("data.yaml", "data.yml")
IGNORED = "ignore"
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
    folder: Path | None = None

    @property
    def to_write(self) -> Path:
        """The file that says more: the one read, else the one to make."""
        return self.file or (self.folder or Path()) / FILE_NAMES[0]

    def reading(self) -> Reading:
        """How the files are read."""
        limit = self.max_pixels or MAX_PIXELS
        return Reading(limit, self.page, self.nan_fill, self.alpha, self.soft)


KEYS = tuple(f.name for f in fields(DataSettings) if f.name not in ("file", "folder"))


def find_settings(root: Path) -> DataSettings:
    """The settings of a folder that may hold a data.yaml, or of that file; raises SK-D009."""
    if root.is_file():
        if root.suffix.lower() not in (".yaml", ".yml"):
            raise DataError(
                "SK-D001",
                f"{root} is a file, and a data set is a folder of images and masks.",
                "Give the folder that holds images/ and masks/, or its data.yaml.",
            )
        return read_settings(root)
    for name in FILE_NAMES:
        if (root / name).is_file():
            return read_settings(root / name)
    return DataSettings(folder=root)


def read_label_mapping(text: str) -> dict[tuple[int, int], int | None]:
    """The mapping in a text such as `{0: 0, "1-9": 1, 255: ignore}`; raises UsageError SK-C009."""
    option = Path("--label-mapping")
    try:
        return _mapping(option, "label_mapping", yaml.load(text, Loader=YamlLoader))
    except (yaml.YAMLError, DataError) as error:
        what = error.what if isinstance(error, DataError) else f"{option} {text} is no mapping."
        raise UsageError(
            "SK-C009", what, "Write it as '{stored value: label}', such as '{0: 0, 255: 1}'."
        ) from error


def read_settings(file: Path) -> DataSettings:
    """Reads one data.yaml; raises DataError SK-D009, naming the file and the key."""
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=YamlLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _wrong(file, f"is no YAML that segkit reads ({error})", "Correct it.") from error
    if content is None:
        return DataSettings(file=file)
    if not isinstance(content, dict):
        raise _wrong(file, "holds no keys", f"It may say {', '.join(KEYS)}.")
    read: dict[str, Any] = {}
    for key, value in content.items():
        if key in OTHER_TOOLS_KEYS:
            continue
        if key not in KEYS:
            hint = did_you_mean(str(key), KEYS)
            raise _wrong(file, f"has an unknown key '{key}'", f"{hint}Known are {', '.join(KEYS)}.")
        if value is not None:
            read[key] = READERS[key](file, key, value)
    if "palette" in read:
        read["palette"] = _named_palette(file, read["palette"], read.get("names", ()))
    return DataSettings(file=file, **read)


def _wrong(file: Path, breach: str, fix: str) -> DataError:
    return DataError("SK-D009", f"{file} {breach}.", fix)


def _text(file: Path, key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(file, f"has {key}: {value!r}", f"{key} is a text.")
    return value


def _folder(file: Path, key: str, value: Any) -> Path:
    return (file.parent / _text(file, key, value)).resolve()


def _number(file: Path, key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(file, f"has {key}: {value!r}", f"{key} is a whole number.")
    return value


def _positive(file: Path, key: str, value: Any) -> int:
    if _number(file, key, value) < 1:
        raise _wrong(file, f"has {key}: {value!r}", f"{key} is a whole number from 1 on.")
    return int(value)


def _real(file: Path, key: str, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise _wrong(file, f"has {key}: {value!r}", f"{key} is a number.")
    return float(value)


def _choice(*choices: str | bool) -> Any:
    def read(file: Path, key: str, value: Any) -> str | bool:
        for choice in choices:
            if value == choice and type(value) is type(choice):
                return choice
        known = " or ".join(str(choice).lower() for choice in choices)
        raise _wrong(file, f"has {key}: {value!r}", f"{key} may be {known}.")

    return read


def _intensity(file: Path, key: str, value: Any) -> Intensity:
    try:
        return read_intensity(_text(file, key, value))
    except UsageError as error:
        raise _wrong(file, f"has {key}: {value!r}", error.fix) from error


def _names(file: Path, key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, dict):
        if set(value) != set(range(len(value))):
            labels = ", ".join(str(label) for label in value)
            raise _wrong(file, f"has names for the labels {labels}", "Name 0, 1, 2, … all.")
        value = [value[label] for label in range(len(value))]
    if not isinstance(value, list) or not value:
        raise _wrong(file, f"has names: {value!r}", "names is a list of the classes' names.")
    names = tuple(str(name) for name in value)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _wrong(file, f"names two classes '{twice[0]}'", "Give each class its own name.")
    return names


def _mapping(file: Path, key: str, value: Any) -> dict[tuple[int, int], int | None]:
    if not isinstance(value, dict):
        raise _wrong(file, f"has {key}: {value!r}", f"{key} is written as {{stored value: label}}.")
    mapping: dict[tuple[int, int], int | None] = {}
    for stored, label in value.items():
        if label != IGNORED and (not isinstance(label, int) or isinstance(label, bool)):
            raise _wrong(
                file, f"maps {stored} to {label!r}", 'A label is a whole number, or "ignore".'
            )
        mapping[_range(file, stored)] = None if label == IGNORED else label
    return mapping


def _range(file: Path, stored: Any) -> tuple[int, int]:
    if isinstance(stored, int) and not isinstance(stored, bool):
        return stored, stored
    first, dash, last = str(stored).partition("-")
    if dash and first.strip().isdigit() and last.strip().isdigit() and int(first) <= int(last):
        return int(first), int(last)
    raise _wrong(
        file,
        f"maps the stored value {stored!r}",
        'A stored value is a whole number, or a range such as "1-65535".',
    )


def _colours(file: Path, key: str, value: Any) -> dict[str | int, RGB]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    colours: dict[str | int, RGB] = {}
    for name, colour in pairs:
        right = isinstance(colour, list) and len(colour) == 3
        if not right or not all(isinstance(c, int) and 0 <= c <= 255 for c in colour):
            raise _wrong(
                file, f"has the colour {colour!r}", "A colour is [red, green, blue], 0 to 255."
            )
        colours[name] = (colour[0], colour[1], colour[2])
    return colours


def _named_palette(
    file: Path, colours: Mapping[str | int, RGB], names: tuple[str, ...]
) -> dict[str, RGB]:
    named: dict[str, RGB] = {}
    for key, colour in colours.items():
        if isinstance(key, int) and names and key >= len(names):
            raise _wrong(
                file,
                f"has a colour for class {key}, but {len(names)} names",
                "Give as many names as colours.",
            )
        name = key if isinstance(key, str) else (names[key] if names else f"class {key}")
        if names and name not in (*names, IGNORED):
            raise _wrong(
                file,
                f"has a colour for '{name}', which is not in names",
                f"{did_you_mean(name, names)}Names are {', '.join(names)}.",
            )
        named[name] = colour
    return named


READERS: dict[str, Any] = {
    "path": _folder,
    "train": _text,
    "val": _text,
    "test": _text,
    "names": _names,
    "nc": _positive,
    "ignore_index": _number,
    "label_mapping": _mapping,
    "palette": _colours,
    "mask_suffix": _text,
    "in_channels": _number,
    "instances": _choice("foreground", "boundary"),
    "binarize": _number,
    "max_pixels": _number,
    "allow_leak": _choice(True, False),
    "exif": _choice("apply", "ignore"),
    "alpha": _choice(*ALPHA),
    "page": _positive,
    "nan_fill": _real,
    "soft": _choice(True, False),
    "intensity": _intensity,
    "resize_masks": _choice("nearest"),
}
