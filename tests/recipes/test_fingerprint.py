"""What is measured of a data set, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_worlds import cells

from segkit.data.opening.open import open_data
from segkit.recipes.fingerprint import fingerprint_of


@pytest.mark.parametrize(("first", "kept"), [(0, 1.0), (1, (0 + (64**2 - 64 * 4) / 64**2) / 2)])
def test_what_masks_keep_at_half_the_resolution_is_known(folder, first, kept):
    """By hand: 64 squares of 2 x 2. On even pixels each is one coarse pixel, of which bilinear
    enlarging leaves 9/16 to its four and 3/16 to their neighbours. On odd ones it is a quarter of
    four coarse pixels, and lost."""
    mask = np.zeros((64, 64), np.uint8)
    for y, x in np.ndindex(2, 2):
        mask[first + y :: 8, first + x :: 8] = 1
    pictures = [(image, mask) for image, _ in cells(3)]
    assert fingerprint_of(open_data(folder(pictures))).halved == pytest.approx(kept)


def test_12_bits_in_16_bit_files_are_measured_as_shares_of_white(folder):
    deep = [((image.astype(np.uint16) * 16), mask) for image, mask in cells(5)]
    shallow = fingerprint_of(open_data(folder(cells(5))))
    found = fingerprint_of(open_data(folder(deep)))
    assert found.depth == "uint16"
    assert found.mean == pytest.approx(shallow.mean, rel=0.01)


def test_objects_are_counted_and_measured(folder):
    image, mask = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    mask[8:24, 8:24] = mask[30:46, 40:56] = 1
    found = fingerprint_of(open_data(folder([(image + 90 * mask, mask), *cells(1)])))
    assert found.shares[1] == 2 * 16**2 / 64**2
    assert found.objects[1].an_image == 2
    assert found.objects[1].diameter == pytest.approx(16 * 2 / np.sqrt(np.pi))
