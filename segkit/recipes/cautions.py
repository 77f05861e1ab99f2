"""What a set of images cannot promise, however it is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from segkit.recipes.fingerprint import Fingerprint

FEW_IMAGES = 10
# A class in so few images, or on so small a share of them, is learnt by chance.
FEW_SHOW_IT, HARDLY_THERE = 3, 1e-3
# Of the distance between any two pictures: see Fingerprint.alike and data/layouts/neighbours.
RECORDING = 0.8
# Sizes that differ by more are of different worlds: an object is larger than a whole other image.
SIZES_APART = 8
TOUCHING = 0.2


def cautions(found: Fingerprint, classes: Sequence[str], *, separated: bool) -> list[str]:
    """A sentence each.

    separated   the network learns to tell objects apart that touch
    """
    apart = [] if separated else _of_objects(found)
    return [*_of_images(found), *_of_classes(found, classes), *apart]


def _of_images(found: Fingerprint) -> Iterator[str]:
    if found.images < FEW_IMAGES:
        noun = "image" if found.images == 1 else "images"
        yield (
            f"{found.images} {noun} to train on: the network will fit pictures like these; that it "
            "works on others cannot be promised, nor told from so few"
        )
    elif found.alike < RECORDING:
        yield (
            "the images follow one another as frames of a recording or slices of a stack do: "
            "scores say how it works on this one, and not on the next"
        )
    if found.longest > SIZES_APART * found.shorter[0]:
        yield (
            f"sides range from {found.shorter[0]} to {found.longest} pixels: if objects differ as "
            "much in size, bring the images to one scale"
        )
    if len(found.spacings) > 1:
        yield (
            f"pixels are {' and '.join(found.spacings)} large: bring the images to one scale, "
            "since the network is told nothing of it"
        )


def _of_classes(found: Fingerprint, classes: Sequence[str]) -> Iterator[str]:
    if len(found.taught) < 2:
        only = f"only {classes[found.taught[0]]}" if found.taught else "no class at all"
        yield f"the training masks show {only}: whatever it predicts elsewhere is not learnt"
        return
    for label in found.taught:
        share, shown_in = found.shares[label], found.shown_in[label]
        if label == found.ground:
            continue
        if share < HARDLY_THERE or shown_in < min(FEW_SHOW_IT, found.images):
            noun = "image" if shown_in == 1 else "images"
            yield (
                f"{classes[label]} covers {100 * share:.2g} % of the pixels, in {shown_in} {noun} "
                f"of {found.images}: it may never be learnt, whatever the total score says"
            )


def _of_objects(found: Fingerprint) -> Iterator[str]:
    if found.touching is not None and found.touching > TOUCHING:
        yield (
            f"{found.touching:.0%} of the objects touch another one, and a mask of classes cannot "
            "tell them apart: --separate distance teaches the network to (docs/objects.md)"
        )
