"""Whether drawn sets get the verdict they deserve: opens each and compares.

`python tests/data/drawn_verdicts.py drawn_sets 140000 142000` tries a range of seeds and prints
each wrong verdict as it is found, and how many were right every hundred sets.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import numpy as np
from drawn_sets import DrawnSet, drawn_set, write_set

from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.data.settings import read_label_mapping
from segkit.errors import DataError

Draw = Callable[[int], DrawnSet]
OBJECTS = ("object_numbers", "touching_objects")
REPAIRS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "binarize": (r"--binarize (\d+)", int),
    "label_mapping": (r"--label-mapping '(.*?)'", read_label_mapping),
    "num_classes": (r"--num-classes (\d+)", int),
}
QUESTION = "were the masks resized smoothly?"
# Pixels of all masks: five of 21 rows and 64 columns have fewer.
TINY = 8000
NUMBERS = ("smeared_numbers", "smeared_classes")


def wrong_verdict(seed: int, folder: Path, draw: Draw) -> str:
    """What is wrong with the verdict on the set of a seed; "" where nothing is."""
    drawn = draw(seed)
    root = write_set(drawn, folder, np.random.default_rng([seed, 1]))
    try:
        data = open_data(root, DataOptions(**drawn.options))
    except DataError as error:
        return wrong_refusal(drawn, root, error)
    if may_be_asked(drawn) and any(QUESTION in note for note in data.notes):
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


def may_be_asked(drawn: DrawnSet) -> bool:
    """Smoothed numbers of few classes, or in tiny masks, may be classes: then that is asked."""
    few = max(int(m.max()) for m in drawn.stored) < 6
    return drawn.kind in NUMBERS and (few or sum(m.size for m in drawn.stored) < TINY)


def wrong_refusal(drawn: DrawnSet, root: Path, error: DataError) -> str:
    if may_be_asked(drawn) and QUESTION in error.fix:
        return ""
    if error.code not in drawn.code.split(" or "):
        return f"{drawn.kind}: {drawn.code or 'good'}, told {error}"
    if drawn.repaired is None:
        return ""
    repair, labels = drawn.repaired
    pattern, read = REPAIRS[repair]
    found = re.search(pattern, error.fix)
    if found is None:
        return f"{drawn.kind}: no {repair} in {error}"
    options = DataOptions(**{repair: read(found[1])})
    allowed = 0.06 + unknowable(drawn.stored, labels) if drawn.truth is None else 0.0
    return wrong_labels(f"{drawn.kind} repaired", root, options, labels, allowed)


def unknowable(stored: list[np.ndarray], labels: list[np.ndarray]) -> float:
    """The share of a mask that the middle of what is stored labels otherwise than the true middle.

    Where smoothing left no pixel of the foreground's own value, no one can know that value.
    """
    if stored[0].ndim == 3 or max(int(labels_HW.max()) for labels_HW in labels) > 1:
        return 0.0
    ends = [*map(np.min, stored), *map(np.max, stored)]
    middle = (int(min(ends)) + int(max(ends))) / 2
    both = zip(stored, labels, strict=True)
    return max(float(((values_HW >= middle) != labels_HW).mean()) for values_HW, labels_HW in both)


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


def verdicts(
    seeds: Iterable[int], place: Path, draw: Draw = drawn_set
) -> Iterator[tuple[int, str]]:
    """(seed, what is wrong with the verdict on its set; "" where nothing is), one after another."""
    for seed in seeds:
        folder = place / str(seed)
        yield seed, wrong_verdict(seed, folder, draw)
        shutil.rmtree(folder)


def wrong_among(seeds: Iterable[int], place: Path, draw: Draw = drawn_set) -> dict[int, str]:
    return {seed: wrong for seed, wrong in verdicts(seeds, place, draw) if wrong}


def main(module: str, first: int, stop: int) -> int:
    """Tries the sets of `module` (drawn_sets or drawn_otherwise); 1 where a verdict is wrong."""
    generator = import_module(module)
    draw = generator.drawn_set if module == "drawn_sets" else generator.drawn_otherwise
    wrong = 0
    with tempfile.TemporaryDirectory() as place:
        for seed, what in verdicts(range(first, stop), Path(place), draw):
            wrong += bool(what)
            if what:
                click.echo(f"{module} {seed}: {what}")
            if (seed + 1 - first) % 100 == 0 or seed + 1 == stop:
                done = seed + 1 - first
                click.echo(f"{module} {first} to {seed}: {wrong} of {done} are wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
