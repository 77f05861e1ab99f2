"""Pixel shuffle, CARAFE and DySample against their formulas written another way, in plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from segkit_upsamplers import UPSAMPLERS
from segkit_upsamplers.carafe import reassemble
from segkit_upsamplers.dysample import sample_double
from torch import Tensor
from torch.nn import functional as F


@pytest.mark.parametrize("kernel", [1, 3])
def test_pixel_shuffle_starts_as_the_nearest_enlargement_of_a_convolution(kernel):
    upsampler = UPSAMPLERS["pixel_shuffle"](5, 3, 2, kernel=kernel)
    convolution = upsampler.steps[0].convolution
    x_BCHW = torch.randn(2, 5, 4, 6)
    one_per_block = F.conv2d(
        x_BCHW, convolution.weight[::4], convolution.bias[::4], padding=kernel // 2
    )
    expected_BCHW = one_per_block.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(upsampler(x_BCHW, (8, 12)), expected_BCHW)


def test_without_that_start_pixel_shuffle_shows_a_checkerboard():
    upsampler = UPSAMPLERS["pixel_shuffle"](5, 3, 2)
    constant_BCHW = torch.ones(1, 5, 6, 6)
    inner = (..., slice(2, -2), slice(2, -2))
    assert upsampler(constant_BCHW, (12, 12))[inner].std(dim=(2, 3)).max() < 1e-6
    upsampler.steps[0].convolution.reset_parameters()
    assert upsampler(constant_BCHW, (12, 12))[inner].std(dim=(2, 3)).min() > 1e-2


def test_pixel_shuffle_moves_channels_into_blocks():
    upsampler = UPSAMPLERS["pixel_shuffle"](1, 1, 2, kernel=1)
    convolution = upsampler.steps[0].convolution
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([1.0, 2, 3, 4]).reshape(4, 1, 1, 1))
        convolution.bias.zero_()
    enlarged_BCHW = upsampler(torch.tensor([[[[1.0, 10.0]]]]), (2, 4))
    assert enlarged_BCHW[0, 0].tolist() == [[1, 2, 10, 20], [3, 4, 30, 40]]


def reassembled_by_loops(x_BCHW: np.ndarray, weight_BT4HW: np.ndarray, kernel: int) -> np.ndarray:
    """Equations 1 to 4 of the CARAFE paper for an enlargement of 2, with edges repeated."""
    batch, channels, height, width = x_BCHW.shape
    enlarged = np.zeros((batch, channels, 2 * height, 2 * width))
    for b, c, row, column in np.ndindex(enlarged.shape):
        below, beside = row // 2, column // 2
        for tap in range(kernel**2):
            i = min(max(below + tap // kernel - kernel // 2, 0), height - 1)
            j = min(max(beside + tap % kernel - kernel // 2, 0), width - 1)
            weight = weight_BT4HW[b, tap, 2 * (row % 2) + column % 2, below, beside]
            enlarged[b, c, row, column] += weight * x_BCHW[b, c, i, j]
    return enlarged


@pytest.mark.parametrize("exporting", [False, True])
@pytest.mark.parametrize("kernel", [3, 5])
def test_carafe_equals_plain_loops(kernel, exporting, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: exporting)
    torch.manual_seed(0)
    x_BCHW = torch.randn(2, 3, 4, 3, dtype=torch.float64)
    weight_BT4HW = torch.randn(2, kernel**2, 4, 4, 3, dtype=torch.float64).softmax(dim=1)
    expected = reassembled_by_loops(x_BCHW.numpy(), weight_BT4HW.numpy(), kernel)
    np.testing.assert_allclose(reassemble(x_BCHW, weight_BT4HW, kernel), expected, rtol=1e-12)


def test_carafe_equals_its_unfolded_form_end_to_end():
    upsampler = UPSAMPLERS["carafe"](6, 4, 2).double()
    step = upsampler.steps[0]
    x_BCHW = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    kernels_BTHW = F.pixel_shuffle(step.encode(step.compress(x_BCHW)), 2).softmax(dim=1)
    padded_BCHW = F.pad(x_BCHW, (2, 2, 2, 2), mode="replicate")
    unfolded_BCTHW = F.unfold(padded_BCHW, 5).reshape(2, 6, 25, 5, 7)
    near_BCTHW = unfolded_BCTHW.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4)
    # The 1x1 convolution after the reassembly, as in the paper's use: the same result.
    expected_BCHW = step.project(torch.einsum("bcthw,bthw->bchw", near_BCTHW, kernels_BTHW))
    torch.testing.assert_close(upsampler(x_BCHW, (10, 14)), expected_BCHW)


@pytest.mark.parametrize("autocast", [False, True])
def test_carafe_keeps_no_unfolded_map_for_the_gradient(autocast):
    upsampler = UPSAMPLERS["carafe"](64, 64, 2)
    x_BCHW = torch.randn(1, 64, 32, 32, requires_grad=True)
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast),
    ):
        upsampler(x_BCHW, (64, 64))
    unfolded = 25 * x_BCHW.numel() * 4
    assert sum(saved.values()) < unfolded / 2


def test_carafe_keeps_a_constant_map_constant_up_to_the_border():
    upsampler = UPSAMPLERS["carafe"](4, 4, 4)
    torch.testing.assert_close(
        upsampler(torch.ones(1, 4, 3, 5), (12, 20)), torch.ones(1, 4, 12, 20)
    )


def test_carafe_has_the_papers_parameters():
    # 256 channels compressed to 64, then a 3x3 convolution to 2^2 * 5^2 weights, both with biases.
    by_hand = (256 * 64 + 64) + (9 * 64 * 100 + 100)
    assert sum(p.numel() for p in UPSAMPLERS["carafe"](256, 256, 2).parameters()) == by_hand


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("dynamic_scope", [False, True])
@pytest.mark.parametrize("style", ["lp", "pl"])
def test_dysample_at_zero_offsets_is_bilinear(style, dynamic_scope, groups):
    upsampler = UPSAMPLERS["dysample"](
        8, 8, 4, style=style, groups=groups, dynamic_scope=dynamic_scope
    ).double()
    for step in upsampler.steps:
        torch.nn.init.zeros_(step.offset.weight)
    x_BCHW = torch.randn(2, 8, 5, 3, dtype=torch.float64)
    twice_BCHW = F.interpolate(x_BCHW, scale_factor=2, mode="bilinear", align_corners=False)
    expected_BCHW = F.interpolate(twice_BCHW, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(upsampler(x_BCHW, (20, 12)), expected_BCHW)


def sampled_by_loops(x_BCHW: np.ndarray, offset_BG2HW: np.ndarray) -> np.ndarray:
    """Bilinear reading of the map at each output pixel's place plus its group's offset."""
    batch, channels, height, width = x_BCHW.shape
    groups = offset_BG2HW.shape[1]
    enlarged = np.zeros((batch, channels, 2 * height, 2 * width))
    for b, c, row, column in np.ndindex(enlarged.shape):
        right, down = offset_BG2HW[b, c // (channels // groups), :, row, column]
        y = min(max((row + 0.5) / 2 - 0.5 + down, 0), height - 1)
        x = min(max((column + 0.5) / 2 - 0.5 + right, 0), width - 1)
        top, left = min(int(y), height - 2), min(int(x), width - 2)
        v, u = y - top, x - left
        corners = x_BCHW[b, c, top : top + 2, left : left + 2]
        enlarged[b, c, row, column] = [1 - v, v] @ corners @ [1 - u, u]
    return enlarged


def test_dysample_equals_plain_loops_for_groups_and_large_offsets():
    torch.manual_seed(0)
    x_BCHW = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    offset_BG2HW = 2 * torch.randn(2, 2, 2, 6, 10, dtype=torch.float64)
    expected = sampled_by_loops(x_BCHW.numpy(), offset_BG2HW.numpy())
    np.testing.assert_allclose(sample_double(x_BCHW, offset_BG2HW), expected, atol=1e-12)


def test_dysample_moves_points_by_a_quarter_or_half_of_what_the_layers_say():
    x_BCHW = torch.randn(1, 4, 3, 3)
    static = UPSAMPLERS["dysample"](4, 4, 2)
    dynamic = UPSAMPLERS["dysample"](4, 4, 2, dynamic_scope=True)
    dynamic.steps[0].offset.load_state_dict(static.steps[0].offset.state_dict())
    # An untrained scope is sigmoid(0) = 1/2, and half of a half is the static quarter.
    assert torch.equal(static(x_BCHW, (6, 6)), dynamic(x_BCHW, (6, 6)))
    torch.nn.init.zeros_(static.steps[0].offset.weight)
    torch.nn.init.constant_(static.steps[0].offset.bias, 4.0)
    # A constant output of 4 is one pixel to the right and down.
    moved_BCHW = F.interpolate(
        F.pad(x_BCHW, (0, 1, 0, 1), mode="replicate"), (8, 8), mode="bilinear"
    )[..., 2:, 2:]
    torch.testing.assert_close(static(x_BCHW, (6, 6)), moved_BCHW)


def test_dysamples_places_keep_their_precision_under_bfloat16_autocast():
    upsampler = UPSAMPLERS["dysample"](4, 4, 2)
    torch.nn.init.zeros_(upsampler.steps[0].offset.weight)
    x_BCHW = torch.randn(1, 4, 2, 700)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        enlarged_BCHW = upsampler(x_BCHW, (4, 1400))
    expected_BCHW = F.interpolate(x_BCHW, (4, 1400), mode="bilinear", align_corners=False)
    torch.testing.assert_close(enlarged_BCHW, expected_BCHW, atol=1e-3, rtol=0)


def test_dysample_has_the_papers_parameters():
    # C * 2 * g * 4 weights (lp); a quarter of the channels and no factor 4 (pl); biases beside.
    lp, pl = (UPSAMPLERS["dysample"](256, 256, 2, style=style) for style in ("lp", "pl"))
    assert sum(p.numel() for p in lp.parameters()) == 256 * 32 + 32
    assert sum(p.numel() for p in pl.parameters()) == 64 * 8 + 8
