"""Telling object numbers from classes: a mask that counts cells looks like one of many classes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from segkit.data.files.masks import MaskFacts, read_values
from segkit.data.files.reading import PLAIN, Reading

LOOKED_AT = 24
# Fewer objects in all masks together may as well be classes that are one piece each.
CLEARLY_OBJECTS = 8
# Fewer in each of one or two masks are too few to ask about.
LEAST_BY_CHANCE = 4


def seeming_objects(
    masks: Sequence[MaskFacts], ignore: int | None = None, reading: Reading = PLAIN
) -> int:
    """How many objects the values seem to count; 0 where they do not look like it.

    They do where 0 lies beside them nearly everywhere, they run 1, 2, 3, … in each file, and each
    number is one connected blob. They run equally far in all files where they are classes, and by
    chance in one or two: those count for fewer than CLEARLY_OBJECTS, where 0 covers more than each.

    A heuristic: what follows from it must show the way out.
    """
    numbered = [_numbers(facts, ignore) for facts in masks]
    filled = [numbers for numbers in numbered if numbers]
    if not filled or sum(0 in facts.counts for facts in masks) < 0.9 * len(masks):
        return 0
    highest = max(max(numbers) for numbers in filled)
    running = sum(numbers == set(range(1, len(numbers) + 1)) for numbers in filled) / len(filled)
    uneven = len({len(numbers) for numbers in filled}) > 1 or (len(filled) <= 2 and highest >= 8)
    ground = all(facts.counts.get(0, 0) == _most(facts) for facts in masks)
    by_chance = not uneven and len(filled) <= 2 and highest >= LEAST_BY_CHANCE and ground
    if highest < 3 or not (uneven or by_chance) or running < 0.7:
        return 0
    if _blob_share(masks, ignore, reading) < 0.95:
        return 0
    objects = sum(len(numbers) for numbers in filled)
    return objects if uneven else min(objects, CLEARLY_OBJECTS - 1)


def _most(facts: MaskFacts) -> int:
    """Pixels of the most frequent value; more than there are where two are as frequent."""
    first, second = (*sorted(facts.counts.values(), reverse=True), 0)[:2]
    return first + (first == second)


def _numbers(facts: MaskFacts, ignore: int | None) -> set[int]:
    return {value for value in facts.counts if value != 0 and value != ignore}


def _blob_share(masks: Sequence[MaskFacts], ignore: int | None, reading: Reading) -> float:
    """The share of (mask, value) whose pixels hang together, up to 1 % of them."""
    step = max(1, len(masks) // LOOKED_AT)
    blobs, all_values = 0, 0
    for facts in masks[::step]:
        values_HW = read_values(facts.path, reading=reading)
        for value in sorted(_numbers(facts, ignore))[:100]:
            _, _, statistics, _ = cv2.connectedComponentsWithStats(
                (values_HW == value).astype(np.uint8)
            )
            areas = statistics[1:, cv2.CC_STAT_AREA]
            blobs += bool(areas.max() >= 0.99 * areas.sum())
            all_values += 1
    return blobs / all_values if all_values else 0.0
