"""Verdicts on sets drawn at random: no good one is refused, no bad one is trained on."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn_otherwise import drawn_otherwise
from drawn_sets import DrawnSet, drawn_set, write_set

from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.data.settings import read_label_mapping
from segkit.errors import DataError

# Wrong once; each shows what its kind taught.
ONCE_WRONG: tuple[int, ...] = (
    *(124, 176, 186, 200, 223, 257, 376, 611, 624, 697, 771, 1479, 1896),
    *(10038, 10073, 10161, 11065, 11177, 11218, 11348, 11409, 11427),
    *(20127, 20250, 20636, 21106, 40075, 40282),
    *(50095, 50180, 50450, 50556, 50857, 51376, 51470, 52001, 52584, 70362, 71929),
    *(80049, 90300, 111134, 120798, 121409),
)
ONCE_WRONG_OTHERWISE: tuple[int, ...] = (
    *(516, 1467, 1582, 1702, 1953, 2050, 3145, 5016, 6668),
    *(30715, 30838, 30918, 30947, 40599, 40718, 40789, 50236),
)


Draw = Callable[[int], DrawnSet]
OBJECTS = ("object_numbers", "touching_objects")
NUMBERS = ("smeared_numbers", "smeared_classes")


def wrong_verdict(seed: int, folder: Path, draw: Draw) -> str:
    """What is wrong with the verdict on the set of a seed; "" where nothing is."""
    drawn = draw(seed)
    root = write_set(drawn, folder, np.random.default_rng([seed, 1]))
    try:
        data = open_data(root, DataOptions(**drawn.options))
    except DataError as error:
        return wrong_refusal(drawn, root, error)
    # Smoothed numbers of few classes may be classes in their order: then that is asked.
    few = drawn.kind in NUMBERS and max(int(m.max()) for m in drawn.stored) < 6
    if few and any("were the masks resized smoothly?" in note for note in data.notes):
        return ""
    # Equally many numbers in both of two masks may be classes, one piece each: then that is asked.
    alike = len(drawn.stored) <= 2 and len({int(m.max()) for m in drawn.stored}) == 1
    if drawn.kind in OBJECTS and alike and any("object numbers?" in note for note in data.notes):
        return ""
    if drawn.truth is None:
        return f"{drawn.kind}: trains with {data.notes}"
    if (len(data.classes), data.ignore_index) != (drawn.classes, drawn.ignored):
        return f"{drawn.kind}: {drawn.classes} classes, ignored {drawn.ignored}: {data.notes}"
    return wrong_labels(drawn.kind, root, DataOptions(**drawn.options), drawn.truth, 0.0)


def wrong_refusal(drawn: DrawnSet, root: Path, error: DataError) -> str:
    if error.code not in drawn.code.split(" or "):
        return f"{drawn.kind}: {drawn.code or 'good'}, told {error}"
    if drawn.repaired is None:
        return ""
    repair, labels = drawn.repaired
    if repair == "binarize":
        found = re.search(r"--binarize (\d+)", error.fix)
        options = DataOptions(binarize=int(found[1])) if found else None
    else:
        found = re.search(r"--label-mapping '(.*?)'", error.fix)
        options = DataOptions(label_mapping=read_label_mapping(found[1])) if found else None
    if options is None:
        return f"{drawn.kind}: no {repair} in {error}"
    return wrong_labels(f"{drawn.kind} repaired", root, options, labels, 0.06)


def wrong_labels(
    kind: str, root: Path, options: DataOptions, truth: list[np.ndarray], allowed: float
) -> str:
    """Compares the labels that come out, pixel by pixel."""
    dataset = open_data(root, options).split("all")
    samples = {sample.id: sample.mask for sample in map(dataset.__getitem__, range(len(dataset)))}
    for number, labels_HW in enumerate(truth):
        wrong = float((samples[f"p{number:03d}"] != labels_HW).mean())
        if wrong > allowed:
            return f"{kind}: {wrong:.1%} of the labels of p{number:03d} are wrong"
    return ""


def wrong_among(
    seeds: range | tuple[int, ...], place: Path, draw: Draw = drawn_set
) -> dict[int, str]:
    found = {}
    for seed in seeds:
        folder = place / str(seed)
        if what := wrong_verdict(seed, folder, draw):
            found[seed] = what
        shutil.rmtree(folder)
    return found


def test_a_hundred_drawn_sets_get_their_verdicts(tmp_path):
    assert wrong_among(range(100), tmp_path) == {}


def test_the_sets_that_once_got_a_wrong_verdict_keep_the_right_one(tmp_path):
    assert wrong_among(ONCE_WRONG, tmp_path) == {}


@pytest.mark.integration
def test_sets_that_another_hand_drew_get_their_verdicts(tmp_path):
    assert wrong_among((*range(30), *ONCE_WRONG_OTHERWISE), tmp_path, drawn_otherwise) == {}


@pytest.mark.slow
def test_two_thousand_sets_that_another_hand_drew_get_their_verdicts(tmp_path):
    assert wrong_among(range(30, 2030), tmp_path, drawn_otherwise) == {}


@pytest.mark.slow
def test_two_thousand_drawn_sets_get_their_verdicts(tmp_path):
    assert wrong_among(range(100, 2100), tmp_path) == {}
