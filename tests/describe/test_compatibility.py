"""Every encoder with every decoder and upsampler: it works at odd sizes, or is refused by name."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

import segkit

GENERATOR = Path(__file__).parents[2] / "docs" / "generate_compatibility.py"
spec = importlib.util.spec_from_file_location("generate_compatibility", GENERATOR)
assert spec is not None and spec.loader is not None
compatibility = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = compatibility
spec.loader.exec_module(compatibility)

FIRST_ENCODERS = ("unet(width=8)", "densenet121(depth=3)", "densenet121(depth=5)")
FIRST_UPSAMPLERS = ("nearest", "bilinear", "bicubic", "transposed")


@pytest.mark.parametrize("size", [(33, 50), (64, 64), (17, 95)])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("upsampler", FIRST_UPSAMPLERS)
@pytest.mark.parametrize("encoder", FIRST_ENCODERS)
def test_any_size_and_channel_count_with_the_first_parts(encoder, upsampler, channels, size):
    torch.manual_seed(0)
    model = segkit.build_model(encoder, "unet", upsampler, num_classes=2, in_channels=channels)
    logits_BKHW = model.eval()(torch.randn(1, channels, *size))
    assert logits_BKHW.shape == (1, 2, *size)
    assert logits_BKHW.isfinite().all()


@pytest.mark.parametrize("upsampler", compatibility.upsamplers())
@pytest.mark.parametrize("decoder", compatibility.decoders())
def test_a_pooling_encoder_works_with_all_or_they_are_refused_by_name(decoder, upsampler):
    cell = compatibility.try_cell("unet(width=4)", decoder, upsampler)
    assert cell.refusal == "" or cell.refusal.endswith(".")


@pytest.mark.slow
@pytest.mark.parametrize("decoder", compatibility.decoders())
@pytest.mark.parametrize("encoder", compatibility.ENCODERS)
def test_no_combination_crashes(encoder, decoder):
    cells = [compatibility.try_cell(encoder, decoder, u) for u in compatibility.upsamplers()]
    published = (GENERATOR.parent / "compatibility.md").read_text(encoding="utf-8")
    assert all(compatibility.general(cell.refusal) in published for cell in cells)


def test_a_crash_would_not_pass_for_a_refusal():
    with pytest.raises(segkit.SegkitError, match="SK-C003"):
        compatibility.try_cell("unet", "no_such_decoder", "bilinear")
