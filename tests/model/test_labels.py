"""Label maps are torch.argmax's, in every tie, for NaN, in every layout; enlarged ones too."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from segkit.model import labels
from segkit.model.labels import most_likely, most_likely_enlarged

TYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
CLASSES = (2, 3, 21, 144, 150, 257, 300)


def drawn(shape, dtype, seed=0, levels=None) -> torch.Tensor:
    """Random logits; with few levels, most pixels are ties."""
    generator = torch.Generator().manual_seed(seed)
    if levels:
        return torch.randint(-levels, levels, shape, generator=generator).to(dtype)
    return torch.randn(shape, generator=generator).to(dtype)


def in_layout(logits_BKHW: torch.Tensor, layout: str) -> torch.Tensor:
    """The same values, otherwise laid out in memory."""
    if layout == "channels_last":
        return logits_BKHW.contiguous(memory_format=torch.channels_last)
    if layout == "cropped":
        return F.pad(logits_BKHW, (0, 3, 0, 2))[..., :-2, :-3]
    if layout == "channels_last cropped":
        padded_BKHW = F.pad(logits_BKHW, (0, 3, 0, 2))
        return padded_BKHW.contiguous(memory_format=torch.channels_last)[..., :-2, :-3]
    if layout == "turned":
        return logits_BKHW.mT.contiguous().mT
    return logits_BKHW


LAYOUTS = ("contiguous", "channels_last", "cropped", "channels_last cropped", "turned")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("dtype", TYPES)
def test_labels_are_those_of_argmax_in_every_tie(dtype, classes, layout):
    logits_BKHW = in_layout(drawn((2, classes, 19, 23), dtype, levels=3), layout)
    assert torch.equal(most_likely(logits_BKHW).long(), logits_BKHW.argmax(dim=1))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("classes", CLASSES)
def test_labels_of_plain_numbers_are_those_of_argmax(classes, layout):
    logits_BKHW = in_layout(drawn((2, classes, 19, 23), torch.float32), layout)
    assert torch.equal(most_likely(logits_BKHW).long(), logits_BKHW.argmax(dim=1))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("classes", [5, 144, 150])
def test_the_first_nan_is_the_largest_as_argmax_has_it(classes, dtype, layout):
    logits_BKHW = drawn((2, classes, 19, 23), dtype, levels=2)
    logits_BKHW[torch.rand(logits_BKHW.shape) < 0.5 / classes] = torch.nan
    logits_BKHW[:, :, 3] = torch.nan
    logits_BKHW = in_layout(logits_BKHW, layout)
    assert torch.equal(most_likely(logits_BKHW).long(), logits_BKHW.argmax(dim=1))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_infinities_and_signed_zeros_are_compared_as_numbers(layout):
    values = torch.tensor([torch.inf, -torch.inf, 0.0, -0.0])
    chosen = torch.randint(4, (3, 6, 9, 11), generator=torch.Generator().manual_seed(0))
    logits_BKHW = in_layout(values[chosen], layout)
    assert torch.equal(most_likely(logits_BKHW).long(), logits_BKHW.argmax(dim=1))


@pytest.mark.parametrize("block", [1, 7, 100, 1000])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_size_of_the_blocks_does_not_show(monkeypatch, layout, block):
    monkeypatch.setattr(labels, "CPU_BLOCK", block)
    logits_BKHW = in_layout(drawn((2, 5, 13, 17), torch.float32, levels=2), layout)
    assert torch.equal(most_likely(logits_BKHW).long(), logits_BKHW.argmax(dim=1))


def test_logits_stay_as_they_were():
    for layout in LAYOUTS:
        logits_BKHW = in_layout(drawn((1, 3, 4, 5), torch.float32), layout)
        before_BKHW = logits_BKHW.clone()
        most_likely(logits_BKHW)
        most_likely_enlarged(logits_BKHW, (8, 10))
        assert torch.equal(logits_BKHW, before_BKHW)


def test_a_single_class_is_one_where_its_logit_is_above_zero():
    logits_B1HW = torch.tensor([[[[-1.0, 0.0, 2.0, torch.nan]]]])
    assert most_likely(logits_B1HW).tolist() == [[[0, 0, 1, 0]]]


def test_labels_are_as_small_as_the_classes_allow():
    assert most_likely(torch.zeros(1, 256, 1, 1)).dtype == torch.uint8
    assert most_likely(torch.zeros(1, 257, 1, 1)).dtype == torch.int32


def test_logits_that_want_gradients_are_no_trouble():
    logits_BKHW = drawn((1, 3, 4, 5), torch.float32).requires_grad_()
    assert not most_likely(logits_BKHW).requires_grad
    assert not most_likely_enlarged(logits_BKHW, (8, 10)).requires_grad


def test_whole_numbers_and_no_images_have_labels_too():
    whole_BKHW = drawn((2, 4, 5, 6), torch.int64, levels=3)
    assert torch.equal(most_likely(whole_BKHW).long(), whole_BKHW.argmax(dim=1))
    assert most_likely(torch.zeros(0, 3, 4, 5)).shape == (0, 4, 5)


def enlarged(coarse_BKHW: torch.Tensor, size: tuple[int, int], corners: bool) -> torch.Tensor:
    return F.interpolate(coarse_BKHW, size, mode="bilinear", align_corners=corners)


SIZES = [((7, 9), (28, 36)), ((16, 16), (128, 128)), ((5, 6), (5, 6)), ((1, 1), (8, 8))]
ODD_SIZES = [((5, 7), (33, 29)), ((9, 8), (13, 50)), ((6, 6), (4, 3)), ((3, 4), (1, 1))]


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize(("coarse", "size"), SIZES + ODD_SIZES)
@pytest.mark.parametrize("classes", [1, 2, 21, 150])
def test_enlarged_labels_have_the_largest_of_the_enlarged_logits(classes, coarse, size, corners):
    """Against float64: the class chosen is the largest but for the rounding of float32."""
    coarse_BKHW = drawn((2, classes, *coarse), torch.float32)
    label_BHW = most_likely_enlarged(coarse_BKHW, size, align_corners=corners)
    exact_BKHW = enlarged(coarse_BKHW.double(), size, corners)
    if classes == 1:
        assert torch.equal(label_BHW, (exact_BKHW[:, 0] > 0).to(torch.uint8))
        return
    chosen_BHW = exact_BKHW.gather(1, label_BHW.long()[:, None])[:, 0]
    torch.testing.assert_close(chosen_BHW, exact_BKHW.amax(dim=1), rtol=0, atol=1e-5)
    assert (label_BHW.long() == exact_BKHW.argmax(dim=1)).double().mean() > 0.999


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("stride", [2, 4, 8])
def test_no_label_differs_from_those_of_the_whole_logits(stride, corners):
    coarse_BKHW = drawn((1, 21, 256 // stride, 320 // stride), torch.float32)
    whole_BHW = enlarged(coarse_BKHW, (256, 320), corners).argmax(dim=1)
    label_BHW = most_likely_enlarged(coarse_BKHW, (256, 320), align_corners=corners)
    assert (label_BHW != whole_BHW).double().mean() <= 1e-5


@pytest.mark.parametrize("block", [1, 500, 4000])
def test_the_height_of_the_bands_does_not_show(monkeypatch, block):
    coarse_BKHW = drawn((2, 4, 13, 11), torch.float32)
    expected_BHW = most_likely_enlarged(coarse_BKHW, (52, 44))
    monkeypatch.setattr(labels, "CPU_BLOCK", block)
    assert torch.equal(most_likely_enlarged(coarse_BKHW, (52, 44)), expected_BHW)


def test_the_crop_is_the_upper_left_of_the_labels():
    coarse_BKHW = drawn((2, 4, 8, 8), torch.float32)
    whole_BHW = most_likely_enlarged(coarse_BKHW, (32, 32))
    part_BHW = most_likely_enlarged(coarse_BKHW, (32, 32), crop=(29, 27))
    assert torch.equal(part_BHW, whole_BHW[:, :29, :27])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_enlarged_in_float32(dtype):
    coarse_BKHW = drawn((1, 21, 16, 16), dtype)
    label_BHW = most_likely_enlarged(coarse_BKHW, (64, 64))
    assert torch.equal(label_BHW, most_likely_enlarged(coarse_BKHW.float(), (64, 64)))


def test_enlarging_never_holds_the_large_logits():
    """At 150 classes and stride 4: an eighth of them at most, labels included."""
    coarse_BKHW = drawn((1, 150, 128, 128), torch.float32)
    most_likely_enlarged(coarse_BKHW, (512, 512))
    with torch.profiler.profile(profile_memory=True) as profile:
        most_likely_enlarged(coarse_BKHW, (512, 512))
    held, most = 0, 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    assert 0 < most < 150 * 512 * 512 * 4 / 8
