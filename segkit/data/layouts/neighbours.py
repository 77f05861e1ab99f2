"""Frames of one recording in two splits: near copies, which make scores flatter.

Names alone prove nothing (photographs are numbered too): a recording is a run of numbered files in
which those that follow each other look more alike than pictures of the set do otherwise, by
thumbnails of 16 x 16 greys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from segkit.data.files.facts import ImageFacts
from segkit.data.files.pairing import Pair
from segkit.data.findings import WARNING, Finding
from segkit.data.layouts.layout import Layout

# Frames differ by less than this share of what any two pictures do. Measured: 0.35 to 0.73 in a
# street video, a cell film and a stack of slices; 0.9 to 1.05 in four sets of single pictures.
ALIKE = 0.8
# Shorter runs say nothing.
LEAST_FRAMES = 6
# Of a split; fewer frames flatter nobody.
LEAST_SHARE = 0.1


def neighbours_across_splits(layout: Layout, images: Mapping[Path, ImageFacts]) -> list[Finding]:
    """A warning for each split with frames from between the frames of the training."""
    train = set(layout.splits.get("train", ()))
    films = _films(layout, images)
    findings = []
    for split, members in layout.splits.items():
        if split not in ("train", "all"):
            others = set(members) - train
            between = [pair for film in films for pair in _between(film, train) if pair in others]
            if len(between) >= max(1, LEAST_SHARE * len(members)):
                findings.append(_finding(split, between, len(members)))
    return findings


def recordings(layout: Layout, images: Mapping[Path, ImageFacts]) -> dict[Pair, str]:
    """The recording of each image that is a frame of one, by a name of its own."""
    return {
        pair: f"{film[0].id} to {film[-1].id}" for film in _films(layout, images) for pair in film
    }


def _films(layout: Layout, images: Mapping[Path, ImageFacts]) -> list[list[Pair]]:
    """The recordings, their frames in order."""
    pairs = [pair for pair in layout.pairs if pair.image in images]
    usual = _usual_difference([images[pair.image] for pair in pairs])
    runs: dict[str, list[Pair]] = {}
    for pair in pairs:
        runs.setdefault(_numbered(pair)[0], []).append(pair)
    films = [sorted(run, key=_numbered) for run in runs.values() if len(run) >= LEAST_FRAMES]
    return [film for film in films if _is_film(film, images, usual)]


def _finding(split: str, between: Sequence[Pair], count: int) -> Finding:
    what = (
        f"{len(between)} of {count} images in {split} are frames from between training frames of "
        f"one recording, such as {between[0].image}."
    )
    fix = "Scores will flatter: keep whole recordings in one split, by train.txt and val.txt."
    return Finding("SK-D031", what, fix, tuple(pair.image for pair in between), WARNING)


def _between(film: Sequence[Pair], train: set[Pair]) -> list[Pair]:
    """The frames that are not of the training, with training frames before and after them."""
    places = [place for place, pair in enumerate(film) if pair in train]
    if not places:
        return []
    return [pair for pair in film[places[0] : places[-1]] if pair not in train]


def _numbered(pair: Pair) -> tuple[str, int]:
    """(name without the last number, that number): 0016E5_ and 8430 of val/0016E5_08430."""
    name = pair.id.rpartition("/")[2]
    found = re.fullmatch(r"(.*?)(\d+)(\D*)", name)
    return (f"{found[1]}*{found[3]}", int(found[2])) if found else (name, 0)


def _is_film(film: Sequence[Pair], images: Mapping[Path, ImageFacts], usual: float) -> bool:
    steps = [_difference(images[a.image], images[b.image]) for a, b in pairwise(film)]
    return float(np.median(steps)) < ALIKE * usual


def _difference(one: ImageFacts, other: ImageFacts) -> float:
    """Mean difference of two thumbnails, greys of 255."""
    greys = [np.frombuffer(bytes.fromhex(f.thumbnail), np.uint8).astype(int) for f in (one, other)]
    return float(np.abs(greys[0] - greys[1]).mean())


def _usual_difference(images: Sequence[ImageFacts]) -> float:
    """The median over pictures drawn two by two from the set."""
    if len(images) < 2:
        return 0.0
    drawn = np.random.default_rng(0).integers(0, len(images), (300, 2)).tolist()
    return float(np.median([_difference(images[i], images[j]) for i, j in drawn if i != j]))
