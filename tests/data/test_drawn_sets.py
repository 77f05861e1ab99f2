"""Verdicts on sets drawn at random: no good one is refused, no bad one is trained on."""

from __future__ import annotations

import pytest
from drawn_otherwise import drawn_otherwise
from drawn_verdicts import wrong_among

# Wrong once; each shows what its kind taught.
ONCE_WRONG: tuple[int, ...] = (
    *(124, 176, 186, 200, 223, 257, 376, 611, 624, 697, 771, 1479, 1896),
    *(10038, 10073, 10161, 11065, 11177, 11218, 11348, 11409, 11427),
    *(20127, 20250, 20636, 21106, 40075, 40282),
    *(50095, 50180, 50450, 50556, 50857, 51376, 51470, 52001, 52584, 70362, 71929),
    *(80049, 90300, 111134, 120798, 121409, 141311, 148055, 210050),
)
ONCE_WRONG_OTHERWISE: tuple[int, ...] = (
    *(516, 1467, 1582, 1702, 1953, 2050, 3145, 5016, 6668),
    *(30715, 30838, 30918, 30947, 40599, 40718, 40789, 50236),
    *(60347, 60949, 60966, 61472, 63775, 64291, 66745, 68557, 70230),
)


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
