"""How often masks beside their pictures are told, and masks that fit are not, on real sets.

`python -m pytest -m slow -s tests/data/test_shifted_masks.py` prints the rates. Every pair is taken
as it is, and cut out, turned a little and mirrored at random, image and mask alike, so that a small
set yields many; draws are of 5 to 12 of a set's pairs, each in one of its versions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from segkit.data.checks import edges
from segkit.data.checks.edges import EdgeAgreement, agreement_of, edge_finding, fit_by_place
from segkit.data.opening.inspection import inspect
from segkit.data.options import DataOptions

SETS = {
    "camvid": {},
    "ctc_dic_hela": {"instances": "foreground"},
    "ctc_phc_u373": {"instances": "foreground"},
    "drive": {},
    "dsb2018": {},
    "isbi2012": {},
    "m2nist": {},
    "pets_cat_dog": {},
    "pets_sample": {"label_mapping": {(1, 1): 1, (2, 2): 0, (3, 3): None}},
}
PAIRS, VERSIONS, DRAWS = 12, 2, 48
SIDE = edges.SIDE
SHIFT = round(0.05 * SIDE)

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]
Moved = Callable[[np.ndarray], np.ndarray]


def shifted(down: int, right: int) -> Moved:
    """Planes of labels so many pixels further down and right, their rim repeated."""
    how = np.float32([[1, 0, right], [0, 1, down]])
    mode = {"flags": cv2.INTER_NEAREST, "borderMode": cv2.BORDER_REPLICATE}
    return lambda plane_HW: cv2.warpAffine(plane_HW, how, (SIDE, SIDE), **mode)


FITTING: dict[str, Moved] = {"as they are": lambda plane_HW: plane_HW}
SHIFTED: dict[str, Moved] = {
    "down": shifted(SHIFT, 0),
    "left": shifted(0, -SHIFT),
    "up and right": shifted(-SHIFT, SHIFT),
}
ELSEWHERE: dict[str, Moved] = {
    "mirrored": lambda plane_HW: plane_HW[:, ::-1],
    "turned": lambda plane_HW: plane_HW[::-1, ::-1],
}


def planes_of(root: Path, **options: object) -> list[Planes]:
    """Picture, labels and what is ignored of pairs spread over the set, at SIDE pixels a side."""
    seen = inspect(root, DataOptions(**options))
    items = list(seen.items.values())
    found = []
    for item in items[:: max(1, len(items) // PAIRS)][:PAIRS]:
        labels_HW, ignored_HW = edges._labels(seen, item, seen.labelling)
        found.append((edges._picture(seen, item), labels_HW.astype(float), ignored_HW))
    return found


def version(planes: Planes, rng: np.random.Generator) -> Planes:
    """A part of 70 to 95 % of each side, turned by up to 8 degrees and mirrored at random."""
    height, width = planes[1].shape
    share, angle = rng.uniform(0.7, 0.95), np.deg2rad(rng.uniform(-8, 8))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    to_picture = turn * share * [width, height] / SIDE * [rng.choice([-1, 1]), 1]
    middle = rng.uniform(share / 2, 1 - share / 2, 2) * [width, height]
    how = np.column_stack([to_picture, middle - to_picture @ [SIDE / 2, SIDE / 2]])
    smooth = cv2.GaussianBlur(planes[0].astype(np.float32), (0, 0), max(0.3, share * width / 600))
    sampled = [
        cv2.warpAffine(plane, how, (SIDE, SIDE), flags=flag | cv2.WARP_INVERSE_MAP,
                       borderMode=cv2.BORDER_REFLECT)
        for plane, flag in ((smooth, cv2.INTER_LINEAR), (planes[1], cv2.INTER_NEAREST),
                            (planes[2].astype(np.uint8), cv2.INTER_NEAREST))
    ]  # fmt: skip
    return sampled[0].reshape(SIDE, SIDE, -1), sampled[1], sampled[2] > 0


def whole(planes: Planes) -> Planes:
    """All of it, brought to SIDE pixels a side."""
    image, labels, ignored = (plane.astype(np.float32) for plane in planes)
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    rest = [cv2.resize(p, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) for p in (labels, ignored)]
    return small.reshape(SIDE, SIDE, -1), rest[0], rest[1] > 0


@pytest.fixture(scope="module")
def agreements(real_data: Path) -> dict[str, dict[str, list[EdgeAgreement]]]:
    """{set: {how the masks were moved: what its draws say}}."""
    found: dict[str, dict[str, list[EdgeAgreement]]] = {}
    for name, options in SETS.items():
        rng = np.random.default_rng(0)
        pairs = planes_of(real_data / name, **options)
        versions = [[whole(p), *(version(p, rng) for _ in range(VERSIONS))] for p in pairs]
        found[name] = {}
        for kind, move in (FITTING | SHIFTED | ELSEWHERE).items():
            fits = [
                [fit_by_place(image, move(labels), move(ignored.astype(np.uint8)) > 0)
                 for image, labels, ignored in each]
                for each in versions
            ]  # fmt: skip
            found[name][kind] = [drawn(fits, rng) for _ in range(DRAWS)]
    return found


def drawn(fits: list[list[np.ndarray | None]], rng: np.random.Generator) -> EdgeAgreement:
    """Of 5 to 12 pairs, each in one of its versions."""
    count = int(rng.integers(edges.LEAST_PAIRS, len(fits) + 1))
    chosen = [fits[i][rng.integers(len(fits[i]))] for i in rng.choice(len(fits), count, False)]
    told = [fit_PP for fit_PP in chosen if fit_PP is not None]
    return agreement_of(told) if len(told) >= edges.LEAST_PAIRS else drawn(fits, rng)


def warned(found: list[EdgeAgreement]) -> float:
    return float(np.mean([bool(edge_finding(agreement)) for agreement in found]))


@pytest.mark.slow
def test_masks_moved_by_5_percent_are_told_and_those_that_fit_are_not(agreements):
    false = [warned(found["as they are"]) for found in agreements.values()]
    for name, found in agreements.items():
        rates = {kind: f"{warned(told):.0%}" for kind, told in found.items()}
        print(f"{name}: told in so many of {DRAWS} draws: {rates}")  # noqa: T201
    assert len(false) * DRAWS > 400 and np.mean(false) < 0.01
    for found in agreements.values():
        assert min(warned(found[kind]) for kind in SHIFTED) > 0.95
        assert min(warned(found[kind]) for kind in ELSEWHERE) > 0.8


@pytest.mark.slow
def test_limits_found_on_the_other_sets_tell_the_same(agreements):
    for left_out, found in agreements.items():
        others = [told for name, told in agreements.items() if name != left_out]
        limits = [limit_between(others, of) for of in (by_gain, by_clearness)]
        print(f"without {left_out}: gain {limits[0]:.3f}, errors {limits[1]:.1f}")  # noqa: T201
        for kind in FITTING | SHIFTED:
            told = np.mean([is_beyond(each, limits) for each in found[kind]])
            assert told < 0.01 if kind in FITTING else told > 0.95


def by_gain(agreement: EdgeAgreement) -> float:
    return agreement.gain if np.hypot(agreement.down, agreement.right) >= edges.SHIFTED else 0.0


def by_clearness(agreement: EdgeAgreement) -> float:
    return by_gain(agreement) / agreement.error if agreement.error else 0.0


def is_beyond(agreement: EdgeAgreement, limits: list[float]) -> bool:
    return by_gain(agreement) >= limits[0] and by_clearness(agreement) >= limits[1]


def limit_between(
    sets: list[dict[str, list[EdgeAgreement]]], measured: Callable[[EdgeAgreement], float]
) -> float:
    """In the middle between masks that fit, and one in a hundred of the shifted ones."""
    fitting = max(measured(each) for found in sets for each in found["as they are"])
    beside = [measured(each) for found in sets for kind in SHIFTED for each in found[kind]]
    return (fitting + float(np.quantile(beside, 0.01))) / 2
