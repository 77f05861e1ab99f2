"""Lines to paste where masks are refused: as an option, and as data.yaml says the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from segkit.data.settings import DataSettings


def splitting(levels: Sequence[int], settings: DataSettings) -> str:
    """How to split values half-way between the lowest level and the highest."""
    middle = (levels[0] + levels[-1] + 1) // 2
    line = f"`binarize: {middle}` in {settings.to_write}"
    return f"--binarize {middle}, or {line}, splits them there."


def nearest_level(levels: Sequence[int], lowest: int, highest: int) -> dict[int | str, int | str]:
    """A mapping of ranges: each value to the place of the level nearest to it."""
    ends = [lowest, *((a + b + 1) // 2 for a, b in pairwise(levels)), highest + 1]
    return {f"{a}-{b - 1}": label for label, (a, b) in enumerate(pairwise(ends))}


def written(mapping: Mapping[int | str, int | str]) -> str:
    """A mapping as data.yaml holds it."""
    pairs = (f'"{k}": {v}' if isinstance(k, str) else f"{k}: {v}" for k, v in mapping.items())
    return f"{{{', '.join(pairs)}}}"


def mapping_line(mapping: Mapping[int | str, int | str], settings: DataSettings) -> str:
    """The mapping as an option to paste, and as the line of data.yaml that says the same."""
    told = written(mapping)
    return f"--label-mapping '{told}', or write into {settings.to_write}: label_mapping: {told}"
