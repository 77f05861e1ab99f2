"""The rules of `--recipe auto`: one row a setting, each with what it rests on.

A rule sees the fingerprint of the data and what the rows above it have decided, and gives a value
with its reason, or nothing: then the setting stays as `--recipe plain` has it. A setting that the
user gives is never decided. To change a rule, repeat the experiment that its row names.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from segkit.recipes.fingerprint import Fingerprint

# The deepest map has at least this side in a crop; nnU-Net (Isensee et al. 2021) goes on to 4.
DEEPEST_SIDE, FEWEST_LEVELS, MOST_LEVELS = 8, 3, 6
WIDTH = 16
# Crops that are tried, pixels, and the steps that the largest of them must leave room for: more
# where it is larger than this. At half the resolution the smaller ones are left out, and large is
# twice as large.
SIDES = (64, 96, 128, 192, 256, 384)
ENOUGH_STEPS, LARGE, STEPS_FOR_LARGE = 150, 128, 2000
# Masks that keep this IoU, mean over the classes, at half the resolution are learned there where
# time is short.
HALVED = 0.95
# The rate for short trainings.
FEW_STEPS, QUICK_RATE = 600, 0.003
# Where the images' contrasts differ by more, no one scale fits them.
CONTRASTS = 2.0
# A class is rare where it covers less of the images than this.
RARE = 0.1
# A crop shows an image whole, or nearly, where it holds this share of its shorter side.
WHOLE = 0.9


class Speed(Protocol):
    """What the minutes of a training allow on this machine."""

    def steps(self, size: int, stride: int) -> int:
        """How many steps with crops of this side, pixels, and the network that goes with them and
        starts at this stride."""


@dataclass(frozen=True)
class Known:
    """What a rule may look at.

    fingerprint  of the training images
    classes      their names
    settings     what is given or decided already, by setting
    pretrained   whether the encoder that plain has comes with pretrained weights here
    random       whether all of the network starts from random weights
    speed        of the training on this machine, where it is given minutes
    stride       of the network's finest map, where its encoder is decided
    """

    fingerprint: Fingerprint
    classes: tuple[str, ...]
    settings: dict[str, Any]
    pretrained: bool = False
    random: bool = False
    speed: Speed | None = None
    stride: int = 1

    def steps(self, size: int) -> int:
        """That fit the time, with crops of this side, pixels."""
        return self.speed.steps(size, self.stride) if self.speed else 0


Decided = tuple[Any, str] | None


@dataclass(frozen=True)
class Rule:
    """One row.

    setting   that it decides
    decide    gives (value, reason as a half-sentence), or None for no opinion
    support   the experiment that justifies it, or the convention that it follows, with its source
    """

    setting: str
    decide: Callable[[Known], Decided]
    support: str


def _intensity(known: Known) -> Decided:
    first, ninth = known.fingerprint.contrast
    if ninth <= CONTRASTS * max(first, 1e-6):
        return None
    return "per-image", (
        f"the contrast of one image in ten is below {_percent(first)} of white, and of another "
        f"above {_percent(ninth)}: each is scaled by itself"
    )


def _size(known: Known) -> Decided:
    usual = int(known.settings["size"])
    sides = [side for side in SIDES if SIDES[0] * known.stride <= side < usual]
    if known.speed is None or not sides:
        return None
    taken, steps = sides[0], known.steps(sides[0])
    for side in (*sides[1:], usual):
        if steps < ENOUGH_STEPS:
            break
        large = side > LARGE * known.stride
        more, wanted = known.steps(side), STEPS_FOR_LARGE if large else ENOUGH_STEPS
        if more < wanted:
            told = f"{steps} steps fit the time, and {more} with crops of {side}"
            return taken, f"{told}, which want {wanted}"
        taken, steps = side, more
    if taken == usual:
        return usual, f"it fits the images, and {steps} steps fit the time"
    return taken, f"only {steps} steps fit the time, and fewer with larger crops"


def stride_of(known: Known) -> int:
    """Of the network's finest map: 2 where the crops that fit the images would leave too few steps
    at full resolution, and masks are as good as whole at half of it."""
    if known.speed is None or not known.random or known.fingerprint.halved < HALVED:
        return 1
    at_full = _size(known)
    return 1 if at_full is None or at_full[0] == known.settings["size"] else 2


def _encoder(known: Known) -> Decided:
    if known.pretrained:
        return known.settings["encoder"], "its pretrained weights are at hand"
    side = int(known.settings["size"])
    finest = side // known.stride
    levels = 1 + int(math.log2(finest / DEEPEST_SIDE)) if finest > DEEPEST_SIDE else 1
    depth = min(MOST_LEVELS, max(FEWEST_LEVELS, levels))
    deepest = max(1, finest >> (depth - 1))
    start = "a random start"
    if known.settings["weights"] == "auto":
        start += f", since the weights of {known.settings['encoder']} are not at hand (--weights "
        start += "imagenet says where they are to be had)"
    stride = f", stride={known.stride}" if known.stride > 1 else ""
    return (
        f"unet(depth={depth}, width={WIDTH}{stride})",
        f"{start}; crops of {side} pixels are {deepest} at level {depth}",
    )


def _decoder(known: Known) -> Decided:
    if known.stride == 1:
        return None
    return (
        f"unet(output_stride={known.stride}, width={WIDTH // known.stride})",
        "larger crops fit the time at half the resolution, at which the masks keep a mean IoU of "
        f"{known.fingerprint.halved:.3f}",
    )


def _rate(known: Known) -> Decided:
    if known.speed is None or not known.random or known.settings["optimizer"] != "adamw":
        return None
    steps = known.steps(int(known.settings["size"]))
    if steps > FEW_STEPS:
        return None
    return QUICK_RATE, f"from random weights, in the {steps} steps that fit the time"


def _augmentation(known: Known) -> Decided:
    found = known.fingerprint.symmetry
    if known.settings.get("overfit"):
        return "none", "images are learnt by heart"
    if known.settings["data"] is None:
        return None
    if not found.mirrors:
        return "light(flips=none)", f"never mirrored, since {found.because}"
    grey = known.fingerprint.channels != 3
    if found.turns or (found.turns is None and grey):
        told = found.because if found.turns else f"{found.because}, and they are grey"
        return "standard(flips=both, quarters=true, scale=[0.7, 1.4])", f"turned, since {told}"
    return "standard(scale=[0.7, 1.4])", f"never turned upside down, since {found.because}"


def _crops(known: Known) -> Decided:
    print_ = known.fingerprint
    if known.settings["size"] >= WHOLE * print_.shorter[1]:
        return "anywhere", "a crop shows nearly the whole image"
    rare = [label for label in print_.taught if print_.shares[label] < RARE]
    if not rare or len(print_.taught) < 2:
        return "anywhere", f"no class covers less than {RARE:.0%}"
    least = min(rare, key=lambda label: print_.shares[label])
    told = f"{known.classes[least]} covers {_percent(print_.shares[least])} of the pixels"
    # "foreground" means any class but 0.
    return ("foreground" if print_.ground == 0 else "classes"), told


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


NNUNET = "nnU-Net (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z)"
RULES: tuple[Rule, ...] = (
    Rule(
        "intensity",
        _intensity,
        "Of dsb2018's 18 images for training, three kinds were held apart in turn: an IoU of "
        "nuclei of 0.199 with one scale for all and 0.852 with each image's own (0.270 and 0.929 "
        "with another seed) on the 4 images of 360 x 360 pixels, 0.591 and 0.713 on 5 of those of "
        "256 x 256 with a brighter background, 0.539 and 0.802 on the 6 others, after 100 steps of "
        "8 crops of 96 pixels. The ninth decile of the contrasts is 4.5 times the first there, and "
        f"at most 1.5 times in eight other sets. {NNUNET} scales every image by itself, but of CT.",
    ),
    Rule(
        "size",
        _size,
        "In 100 seconds of one core, seed 0: on isbi2012 an IoU of membranes of 0.568 after 74 "
        "steps of 8 crops of 256 pixels, 0.632 after 181 of 192 and 0.596 after 321 of 128; on "
        "dsb2018 an IoU of nuclei of 0.477 after 73 of 256, 0.760 after 179 of 192 and 0.773 "
        "after 318 of 128. In five minutes, seed 1, an mIoU on a fifth of the training images of "
        "0.243 after 244 of 256, 0.329 after 490 of 192 and 0.356 after 1,020 of 128 on camvid; "
        "of 0.787 after 264, 0.809 after 558 and 0.811 after 1,311 on drive; of 0.775 after 300, "
        "0.787 after 570 and 0.788 after 1,292 on isbi2012. In fifteen minutes 0.810 after 798 of "
        "256 and 0.822 after 4,216 of 128 on drive, and at half the resolution 0.431 after 1,444 "
        "of 352 and 0.515 after 3,055 of 256 on camvid. Fewer steps cost more than smaller crops.",
    ),
    Rule(
        "encoder",
        _encoder,
        "Time: 100 steps of 4 crops of 96 pixels took 59 s with unet(depth=4, width=16) and 215 s "
        "with densenet121 on one busy core, for an mIoU of 0.672 and 0.693 (isbi2012). Depth: "
        f"convention of {NNUNET}, a plain U-Net as deep as the crop allows.",
    ),
    Rule(
        "decoder",
        _decoder,
        "In three minutes of one core, seed 1, an mIoU on a fifth of the training images of 0.327 "
        "after 488 steps of 256 pixels at half the resolution and 0.296 after 610 of 128 at full "
        "resolution on camvid, of 0.452 after 610 and 0.426 after 732 on pets_cat_dog, of 0.784 "
        "after 682 and 0.784 after 832 on isbi2012, and of 0.903 after 640 and 0.906 after 793 on "
        "dsb2018. In fifteen minutes 0.515 after 3,055 of 256 and 0.408 after 1,701 of 192 on "
        "camvid, 0.784 after 793 of 512 and 0.782 after 854 of 256 on isbi2012. At half the "
        "resolution masks keep a mean IoU of 0.966, 1.000, 0.984 and 0.995 there, 0.912 on drive "
        "and 0.931 on m2nist.",
    ),
    Rule(
        "lr",
        _rate,
        "In 40 seconds of one core, crops of 128 pixels (m2nist: 64): an IoU of 0.761 with 0.003 "
        "and 0.653 with 0.001 on dsb2018 (0.764 and 0.724 with another seed), 0.581 and 0.572 on "
        "isbi2012, 0.412 and 0.400 on drive, an mIoU of 0.182 and 0.187 on camvid, after 116 to "
        "145 steps; 0.441 after 568 steps and 0.205 after 418 on m2nist; 0.006 reached 0.453 on "
        "dsb2018 and 0.525 on isbi2012. In longer trainings it is too fast: 0.845 after 1,769 "
        "steps, and 0.902 after 2,170 with 0.001 (m2nist, three minutes).",
    ),
    Rule(
        "augmentation",
        _augmentation,
        "Flips: mIoU 0.147 without augmentation and 0.117 with standard, which mirrors digits "
        "(m2nist, 200 steps of 8 crops of 64 pixels). Turns, and scales from 0.7 to 1.4: "
        f"convention of {NNUNET}; undecided here, 0.703 turned and 0.672 with standard on "
        "isbi2012, 0.742 and 0.777 on dsb2018 (100 steps of 4 crops of 96 pixels).",
    ),
    Rule(
        "crops",
        _crops,
        f"Convention of {NNUNET}, a third of whose crops hold foreground.",
    ),
)
# Settings about which a rule has an opinion only where it knows the speed.
BY_SPEED = frozenset({"size", "decoder", "lr"})
