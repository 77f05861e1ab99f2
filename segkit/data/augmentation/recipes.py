"""The augmentation presets: what may happen to a training sample."""

from __future__ import annotations

from dataclasses import dataclass, replace

from segkit.errors import UsageError, did_you_mean

AIMS = ("anywhere", "foreground", "classes")


@dataclass(frozen=True)
class Recipe:
    """What may happen to a training sample; 0 or False switches a part off.

    aim          what a crop is placed by: "anywhere", "foreground" (every second crop by a pixel
                 of any class but 0) or "classes" (by a pixel of a class of the image, each class as
                 likely)
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


RECIPES: dict[str, Recipe] = {
    "none": Recipe(),
    "light": Recipe(scale=(0.9, 1.1), flips="horizontal"),
    "standard": Recipe(
        scale=(0.5, 2.0),
        flips="horizontal",
        brightness=0.12,
        contrast=0.25,
        saturation=0.3,
        tint=0.05,
        blur=0.1,
        noise=0.1,
    ),
    "strong": Recipe(
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
    "microscopy": Recipe(
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


def find_recipe(name: str, aim: str = "anywhere") -> Recipe:
    """The preset of that name with crops so placed; raises UsageError SK-C003."""
    if name not in RECIPES:
        raise UsageError(
            "SK-C003",
            f"no augmentation is called '{name}'.",
            f"{did_you_mean(name, RECIPES)}There are {', '.join(RECIPES)}.",
        )
    if aim not in AIMS:
        raise UsageError(
            "SK-C003",
            f"crops cannot be placed by '{aim}'.",
            f"{did_you_mean(aim, AIMS)}There are {', '.join(AIMS)}.",
        )
    return replace(RECIPES[name], aim=aim)
