"""Channels and depth of a data set's images: what all of them are given out as."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from segkit.data.files.facts import ImageFacts
from segkit.data.files.reading import Reading
from segkit.data.intensity import Intensity, find_intensity
from segkit.errors import DataError


@dataclass(frozen=True)
class Pixels:
    """channels of every image given out, what is black and white, and sentences on both."""

    channels: int
    intensity: Intensity
    notes: tuple[str, ...]


def find_pixels(
    images: Sequence[ImageFacts], wanted: int | None, reading: Reading, intensity: Intensity | None
) -> Pixels:
    """Channels (those wanted, or fitting all images), black and white.

    intensity   a scaling, or a model's own, which the images have to fit
    Raises DataError SK-D011 and SK-D034.
    """
    channels, note = _channels(images, wanted, reading)
    found, notes = find_intensity(intensity, images)
    return Pixels(channels, found, (note, *notes))


def joined(pixels: Pixels, files: Sequence[int], images: Sequence[ImageFacts]) -> Pixels:
    """Where an image is several files, of one channel each: as many channels as files."""
    count = max(files, default=1)
    if count == 1:
        return pixels
    if pixels.channels not in (1, count) or any(facts.channels != 1 for facts in images):
        raise DataError(
            "SK-D011",
            f"each image is {count} files, which hold or are wanted as {pixels.channels} channels.",
            f"Files of one grey channel each are read, as {count} channels.",
        )
    return Pixels(
        count, pixels.intensity, (f"Images: {count} channels, a file each.", *pixels.notes[1:])
    )


def _channels(
    images: Sequence[ImageFacts], wanted: int | None, reading: Reading
) -> tuple[int, str]:
    """Channels of the images given out, and the note that says how they come about."""
    counts = Counter(facts.channels for facts in images)
    have = ", ".join(f"{number} with {channels}" for channels, number in sorted(counts.items()))
    if wanted is not None and set(counts) == {wanted}:
        return wanted, f"Images: {wanted} channel{'s' * (wanted != 1)}."
    if wanted is not None:
        return wanted, f"Images: {wanted} channels wanted; of the files, {have}."
    if max(counts) > 4:
        raise DataError(
            "SK-D011",
            f"the images have many channels: {have}.",
            f"Say how many are meant: {reading.otherwise(f'in_channels: {max(counts)}')}.",
        )
    if reading.alpha == "channel":
        return _with_alpha(counts, have, reading)
    channels = 1 if set(counts) <= {1, 2} else 3
    dropped = sum(counts[c] for c in (2, 4))
    see_through = sum(facts.mode in ("LA", "RGBA") for facts in images)
    policy = f"; alpha is dropped in {dropped}" if dropped else ""
    if reading.alpha == "white" and see_through:
        policy = f"; {see_through} with alpha are laid on white"
    mixed = f" (files: {have})" if len(counts) > 1 else ""
    return channels, f"Images: {channels} channel{'s' * (channels > 1)}{policy}{mixed}."


def _with_alpha(counts: Counter[int], have: str, reading: Reading) -> tuple[int, str]:
    """As many channels as the files have, where pictures without alpha can be given an opaque one.

    Raises DataError SK-D011 where they cannot.
    """
    channels = max(counts)
    if len(counts) > 1 and set(counts) != {3, 4}:
        raise DataError(
            "SK-D011",
            f"the images differ in channels ({have}), so alpha cannot be a channel of all.",
            f"Drop it, or lay all on white: {reading.otherwise('alpha: drop')}; or `alpha: white`.",
        )
    return channels, f"Images: {channels} channels, alpha among them (files: {have})."
