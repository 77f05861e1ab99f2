"""Which class is the background, that is: no object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

NAMES = ("background", "bg")


def background_of(classes: Sequence[str], pixels: Mapping[int, int]) -> int:
    """Its label: that of the class so called; else of more than two classes the one that covers
    more than half of all pixels; else 0.

    pixels   of each label; the ignored one counts for nothing

    Of two classes the second is what is looked for, however much it covers.
    """
    for label, name in enumerate(classes):
        if name.strip().casefold() in NAMES:
            return label
    counted = {label: pixels.get(label, 0) for label in range(len(classes))}
    most = max(counted, key=lambda label: counted[label])
    return most if len(classes) > 2 and 2 * counted[most] > sum(counted.values()) else 0
