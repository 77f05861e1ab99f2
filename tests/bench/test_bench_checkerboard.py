"""The measure of upsampling artefacts, on patterns and networks whose answer is known."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import segkit
from segkit.bench.worker.checkerboard import (
    checkerboard_energy,
    network_energy,
    smooth_images,
    without_slow,
)


def test_smooth_images_hold_nothing_at_the_grids_frequencies():
    assert checkerboard_energy(smooth_images(2, 3, 64), deepest=8) < 1e-9


@pytest.mark.parametrize("period", [2, 4, 8])
def test_a_pattern_that_repeats_is_all_grid(period):
    tile = torch.randn(1, 1, period, period).tile(1, 1, 64 // period, 64 // period)
    assert checkerboard_energy(tile + 5, deepest=8) == pytest.approx(1)


def test_half_the_energy_in_a_grid_is_half():
    smooth = smooth_images(1, 1, 64)
    place = torch.arange(64)
    grid = ((-1.0) ** (place[:, None] + place[None, :])).expand(1, 1, 64, 64)
    mixed = smooth / smooth.std(correction=0) + grid
    assert checkerboard_energy(mixed, deepest=2) == pytest.approx(0.5, abs=1e-6)


def test_uneven_overlap_of_a_transposed_convolution_shows_and_resizing_does_not():
    """Odena's own example: kernel 3 at stride 2 overlaps unevenly, kernel 4 evenly."""
    smooth = smooth_images(2, 1, 32)
    found = {}
    for kernel, padding in ((3, 1), (4, 1)):
        layer = nn.ConvTranspose2d(
            1, 1, kernel, 2, padding, output_padding=int(kernel == 3), bias=False
        )
        nn.init.constant_(layer.weight, 1.0)
        with torch.no_grad():
            found[kernel] = checkerboard_energy(layer(smooth + 2)[..., 16:48, 16:48], 2)
    resized = F.interpolate(smooth + 2, scale_factor=2, mode="bilinear")[..., 16:48, 16:48]
    assert found[3] > 0.1
    assert found[4] < 0.01 and checkerboard_energy(resized, 2) < 0.01


def test_what_slowly_changes_is_taken_away_and_the_grid_is_kept():
    place = torch.arange(64.0)
    slope = (place[:, None] + place[None, :]).expand(1, 1, 64, 64)
    grid = (-1.0) ** (place[:, None] + place[None, :])
    left = without_slow(slope + grid, 8)[..., 8:-8, 8:-8]
    assert torch.allclose(left - left.mean(), grid[8:-8, 8:-8].expand_as(left), atol=1e-4)


def test_a_network_that_upsamples_by_nearest_shows_more_than_one_by_bilinear():
    shares = {}
    for upsampler in ("nearest", "bilinear"):
        torch.manual_seed(0)
        model = segkit.build_model("unet", "unet", upsampler, num_classes=2,
                                   encoder_options={"depth": 3, "width": 8})  # fmt: skip
        shares[upsampler] = network_energy(model)[0]
    assert 0 <= shares["bilinear"] < shares["nearest"] <= 1
