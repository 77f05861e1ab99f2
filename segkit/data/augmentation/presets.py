"""The augmentation presets: what may happen to a training sample."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from segkit.errors import UsageError, did_you_mean
from segkit.registry.expression import parse_component

AIMS = ("anywhere", "foreground", "classes", "middle")
FLIPS = ("none", "horizontal", "both")
# Of the parts that are no share or probability: degrees.
LARGEST = {"rotation": 180}


@dataclass(frozen=True)
class Preset:
    """What may happen to a training sample; 0 or False switches a part off.

    aim          what a crop is placed by: "anywhere", "foreground" (every second crop by a pixel
                 of any class but 0), "classes" (by a pixel of a class of the image, each class as
                 likely) or "middle" (of the image, in every epoch)
    scale        smallest and largest enlargement, drawn evenly on the logarithm
    rotation     largest turn to either side, degrees
    flips        "none", "horizontal" or "both"
    quarters     turn by a random multiple of 90 degrees (pictures without an up)
    elastic      spread of a smooth deformation's displacements, share of the crop's side
    brightness   largest shift, share of the image's range
    contrast     largest change of the factor around the mean
    saturation   largest change of the colourfulness factor (images with 3 channels)
    tint         largest change of each channel's factor (images with more than one channel)
    gamma        largest change of the exponent
    blur         probability of a Gaussian blur, sigma 0.3 to 1.2 pixels
    noise        probability of Gaussian noise, up to 3 % of the image's range
    """

    aim: str = "anywhere"
    scale: tuple[float, float] = (1.0, 1.0)
    rotation: float = 0.0
    flips: str = "none"
    quarters: bool = False
    elastic: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    tint: float = 0.0
    gamma: float = 0.0
    blur: float = 0.0
    noise: float = 0.0


# Where crops are cut is a setting of its own.
PARTS = tuple(each.name for each in fields(Preset) if each.name != "aim")
PRESETS: dict[str, Preset] = {
    "none": Preset(),
    "light": Preset(scale=(0.9, 1.1), flips="horizontal"),
    "standard": Preset(
        scale=(0.5, 2.0),
        flips="horizontal",
        brightness=0.12,
        contrast=0.25,
        saturation=0.3,
        tint=0.05,
        blur=0.1,
        noise=0.1,
    ),
    "strong": Preset(
        scale=(0.4, 2.5),
        rotation=25,
        flips="horizontal",
        brightness=0.25,
        contrast=0.4,
        saturation=0.5,
        tint=0.12,
        gamma=0.3,
        blur=0.25,
        noise=0.25,
    ),
    # Ronneberger et al. 2015: displacements of 10 pixels' standard deviation on a 3 x 3 grid, on
    # tiles of about 512 pixels.
    "microscopy": Preset(
        scale=(0.8, 1.25),
        rotation=15,
        flips="both",
        quarters=True,
        elastic=0.02,
        brightness=0.15,
        contrast=0.3,
        gamma=0.3,
        blur=0.1,
        noise=0.2,
    ),
}


def find_preset(written: str, aim: str = "anywhere") -> Preset:
    """A preset by name, or changed as `standard(flips=both, scale=[0.8, 1.25])`; crops so placed.

    Raises UsageError: SK-C001 where it cannot be read, SK-C003 for a name that there is not,
    SK-C005 for a part that a preset does not have, SK-C006 for a wrong value.
    """
    wanted = parse_component(written)
    if wanted.name not in PRESETS:
        raise UsageError(
            "SK-C003",
            f"no augmentation is called '{wanted.name}'.",
            f"{did_you_mean(wanted.name, PRESETS)}There are {', '.join(PRESETS)}.",
        )
    if aim not in AIMS:
        raise UsageError(
            "SK-C003",
            f"crops cannot be placed by '{aim}'.",
            f"{did_you_mean(aim, AIMS)}There are {', '.join(AIMS)}.",
        )
    changes = {part: _changed(part, value) for part, value in wanted.options.items()}
    return replace(PRESETS[wanted.name], **changes, aim=aim)


def _changed(part: str, value: Any) -> Any:
    """A part's value in the type that it has; raises UsageError SK-C005 or SK-C006."""
    if part not in PARTS:
        raise UsageError(
            "SK-C005",
            f"an augmentation has no part '{part}'.",
            f"{did_you_mean(part, PARTS)}There are {', '.join(PARTS)}.",
        )
    default = getattr(PRESETS["none"], part)
    match default:
        case bool() if isinstance(value, bool):
            return value
        case str() if (value or "none") in FLIPS:
            return value or "none"
        case tuple() if isinstance(value, (list, tuple)) and len(value) == 2:
            low, high = value
            if _is_number(low) and _is_number(high) and 0.1 <= low <= high <= 10:
                return float(low), float(high)
        case float() if _is_number(value) and 0 <= value <= LARGEST.get(part, 1):
            return float(value)
    raise UsageError(
        "SK-C006", f"augmentation: part '{part}' cannot be {value}.", f"Give {_allowed(part)}."
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _allowed(part: str) -> str:
    match getattr(PRESETS["none"], part):
        case bool():
            return "true or false"
        case str():
            return f"one of {', '.join(FLIPS)}"
        case tuple():
            return "two numbers from 0.1 to 10, such as [0.8, 1.25]"
    return f"a number from 0 to {LARGEST.get(part, 1):g}"
