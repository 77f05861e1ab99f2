"""The values of data.yaml's keys: what each may be, and what is said of another."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segkit.data.files.masks import RGB
from segkit.data.files.reading import ALPHA
from segkit.data.intensity import Intensity, read_intensity
from segkit.errors import DataError, UsageError, did_you_mean

IGNORED = "ignore"


def wrong(file: Path, breach: str, fix: str) -> DataError:
    return DataError("SK-D009", f"{file} {breach}.", fix)


def _text(file: Path, key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise wrong(file, f"has {key}: {value!r}", f"{key} is a text.")
    return value


def _folder(file: Path, key: str, value: Any) -> Path:
    return (file.parent / _text(file, key, value)).resolve()


def _number(file: Path, key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(file, f"has {key}: {value!r}", f"{key} is a whole number.")
    return value


def _positive(file: Path, key: str, value: Any) -> int:
    if _number(file, key, value) < 1:
        raise wrong(file, f"has {key}: {value!r}", f"{key} is a whole number from 1 on.")
    return int(value)


def _real(file: Path, key: str, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise wrong(file, f"has {key}: {value!r}", f"{key} is a number.")
    return float(value)


def _choice(*choices: str | bool) -> Any:
    def read(file: Path, key: str, value: Any) -> str | bool:
        for choice in choices:
            if value == choice and type(value) is type(choice):
                return choice
        known = " or ".join(str(choice).lower() for choice in choices)
        raise wrong(file, f"has {key}: {value!r}", f"{key} may be {known}.")

    return read


def _intensity(file: Path, key: str, value: Any) -> Intensity:
    try:
        return read_intensity(_text(file, key, value))
    except UsageError as error:
        raise wrong(file, f"has {key}: {value!r}", error.fix) from error


def _names(file: Path, key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, dict):
        if set(value) != set(range(len(value))):
            labels = ", ".join(str(label) for label in value)
            raise wrong(file, f"has names for the labels {labels}", "Name 0, 1, 2, … all.")
        value = [value[label] for label in range(len(value))]
    if not isinstance(value, list) or not value:
        raise wrong(file, f"has names: {value!r}", "names is a list of the classes' names.")
    names = tuple(str(name) for name in value)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise wrong(file, f"names two classes '{twice[0]}'", "Give each class its own name.")
    return names


def _pattern(file: Path, key: str, value: Any) -> re.Pattern[str]:
    try:
        return re.compile(_text(file, key, value))
    except re.error as error:
        fix = f"{key} is a regular expression, such as 'patient[0-9]+'."
        raise wrong(file, f"has {key}: {value!r}, which cannot be read ({error})", fix) from error


def label_mapping(file: Path, key: str, value: Any) -> dict[tuple[int, int], int | None]:
    if not isinstance(value, dict):
        raise wrong(file, f"has {key}: {value!r}", f"{key} is written as {{stored value: label}}.")
    mapping: dict[tuple[int, int], int | None] = {}
    for stored, label in value.items():
        if label != IGNORED and (not isinstance(label, int) or isinstance(label, bool)):
            raise wrong(
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
    raise wrong(
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
            raise wrong(
                file, f"has the colour {colour!r}", "A colour is [red, green, blue], 0 to 255."
            )
        colours[name] = (colour[0], colour[1], colour[2])
    return colours


def named_palette(
    file: Path, colours: Mapping[str | int, RGB], names: tuple[str, ...]
) -> dict[str, RGB]:
    named: dict[str, RGB] = {}
    for key, colour in colours.items():
        if isinstance(key, int) and names and key >= len(names):
            raise wrong(
                file,
                f"has a colour for class {key}, but {len(names)} names",
                "Give as many names as colours.",
            )
        name = key if isinstance(key, str) else (names[key] if names else f"class {key}")
        if names and name not in (*names, IGNORED):
            raise wrong(
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
    "label_mapping": label_mapping,
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
    "group": _pattern,
}
