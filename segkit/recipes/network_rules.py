"""Rules of the network, the size of its crops and its learning rate: by the data and the time."""

from __future__ import annotations

import math

from segkit.recipes.known import Decided, Known

# The deepest map has at least this side in a crop; nnU-Net (Isensee et al. 2021) goes on to 4.
DEEPEST_SIDE, FEWEST_LEVELS, MOST_LEVELS = 8, 3, 6
WIDTH = 16
# Crops that are tried, pixels, and the steps that a larger one than the smallest must leave room
# for: more where it is larger than LARGE; few where the start is pretrained, or the next smaller
# one would not hold an object of those to be told apart. At half the resolution the smaller ones
# are left out, and large is twice as large.
SIDES = (64, 96, 128, 192, 256, 384)
ENOUGH_STEPS, LARGE, STEPS_FOR_LARGE, FEWEST_STEPS = 700, 128, 2000, 150
# Masks that keep this IoU, mean over the classes, at half the resolution are learned there where
# time is short.
HALVED = 0.95
# The rate for short trainings.
FEW_STEPS, QUICK_RATE = 600, 0.003


def size(known: Known) -> Decided:
    usual = int(known.settings["size"])
    sides = [side for side in SIDES if SIDES[0] * known.stride <= side < usual]
    if known.speed is None or not sides:
        return None
    taken, steps = sides[0], known.steps(sides[0])
    for side in (*sides[1:], usual):
        wanted = _steps_wanted(known, taken, side)
        if steps < wanted:
            break
        more = known.steps(side)
        if more < wanted:
            told = f"{steps} steps fit the time, and {more} with crops of {side}"
            return taken, f"{told}, which want {wanted}"
        taken, steps = side, more
    if taken == usual:
        return usual, f"it fits the images, and {steps} steps fit the time"
    return taken, f"only {steps} steps fit the time, and fewer with larger crops"


def _steps_wanted(known: Known, smaller: int, side: int) -> int:
    """Of crops of this side, where the next smaller ones are of that."""
    objects = known.fingerprint.objects.values() if known.settings["separate"] else ()
    if smaller < max((each.diameter for each in objects), default=0.0):
        return FEWEST_STEPS
    if side > LARGE * known.stride:
        return STEPS_FOR_LARGE
    return ENOUGH_STEPS if known.random else FEWEST_STEPS


def stride_of(known: Known) -> int:
    """Of the network's finest map: 2 where the crops that fit the images would leave too few steps
    at full resolution, and masks are as good as whole at half of it."""
    if known.speed is None or not known.random or known.fingerprint.halved < HALVED:
        return 1
    at_full = size(known)
    return 1 if at_full is None or at_full[0] == known.settings["size"] else 2


def encoder(known: Known) -> Decided:
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


def decoder(known: Known) -> Decided:
    if known.stride == 1:
        return None
    return (
        f"unet(output_stride={known.stride}, width={WIDTH // known.stride})",
        "larger crops fit the time at half the resolution, at which the masks keep a mean IoU of "
        f"{known.fingerprint.halved:.3f}",
    )


def rate(known: Known) -> Decided:
    if known.speed is None or not known.random or known.settings["optimizer"] != "adamw":
        return None
    steps = known.steps(int(known.settings["size"]))
    if steps > FEW_STEPS:
        return None
    return QUICK_RATE, f"from random weights, in the {steps} steps that fit the time"
