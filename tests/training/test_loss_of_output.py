"""A training step's loss: of coarse logits where the loss can, of enlarged ones where not."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import segkit
from segkit.model.loss_sum import loss_of, output_for, takes_coarse_logits
from segkit.model.network import CoarseLogits
from segkit.training.training import train


class Plain(nn.Module):
    """A loss without `from_coarse`, and what it was called with."""

    def forward(self, logits_BKHW, target_BHW):
        self.given = logits_BKHW
        return nn.functional.cross_entropy(logits_BKHW, target_BHW)


@pytest.fixture(scope="module", params=[False, True])
def network(request):
    """With logits at a quarter of the image's size, enlarged either way."""
    torch.manual_seed(0)
    model = segkit.build_model("densenet121", "smp/fpn", num_classes=4).eval()
    model.align_corners = request.param
    return model


@pytest.mark.parametrize("size", [(32, 32), (29, 35)])
@pytest.mark.parametrize("expression", ["dice+ce", "ce", "focal"])
def test_the_loss_of_coarse_logits_is_that_of_enlarged_ones(network, size, expression):
    assert network.decoder.stride > 1
    image_BCHW, target_BHW = torch.randn(2, 3, *size), torch.randint(0, 4, (2, *size))
    loss = segkit.build_loss(expression, num_classes=4, ignore_index=255)
    expected = loss(network(image_BCHW), target_BHW)
    output = output_for(loss, network, image_BCHW)
    assert isinstance(output, CoarseLogits)
    assert output.logits_BKhw.shape[-1] < size[1]
    found = loss_of(loss, output, target_BHW)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    gradients = [torch.autograd.grad(each, network.head.weight)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_losses_that_know_no_coarse_logits_get_full_ones_in_float32(network):
    loss = Plain()
    with torch.autocast("cpu", torch.bfloat16):
        output = output_for(loss, network, torch.randn(1, 3, 32, 32))
    loss_of(loss, output, torch.zeros(1, 32, 32, dtype=torch.int64))
    assert loss.given.shape == (1, 4, 32, 32)
    assert loss.given.dtype == torch.float32


def losses_of(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.mark.slow
def test_training_goes_the_same_way_with_and_without_full_logits(settings, tmp_path, monkeypatch):
    """The epochs' losses agree within a hundredth, at a rate at which Adam's first steps, which
    take a gradient's sign for its size, do not make much of the last bits."""
    changes = {"encoder": "densenet121", "decoder": "smp/fpn", "size": 32, "lr": 1e-5}
    train(settings(out=str(tmp_path / "coarse"), **changes))
    monkeypatch.setattr(
        "segkit.training.loop.learner.output_for", lambda loss, network, image: network(image)
    )
    train(settings(out=str(tmp_path / "full"), **changes))
    coarse, full = losses_of(tmp_path / "coarse"), losses_of(tmp_path / "full")
    assert coarse == pytest.approx(full, rel=0.01)
    assert len(coarse) > 1


@pytest.mark.parametrize("expression", ["dice+ce", "lovasz", "dice+lovasz"])
def test_labels_in_bytes_cost_the_same(expression):
    loss = segkit.build_loss(expression, num_classes=4, ignore_index=-1)
    logits_BKHW = torch.randn(2, 4, 8, 8)
    target_BHW = torch.randint(0, 4, (2, 8, 8))
    found = loss_of(loss, logits_BKHW, target_BHW.to(torch.uint8))
    assert torch.equal(found, loss(logits_BKHW, target_BHW))
    coarse = CoarseLogits(logits_BKHW, (16, 16), False)
    narrow, wide = (
        loss_of(loss, coarse, torch.ones(2, 15, 16, dtype=dtype))
        for dtype in (torch.uint8, torch.int64)
    )
    assert torch.equal(narrow, wide)


def test_a_sum_enlarges_where_not_all_of_it_does():
    loss = segkit.build_loss("dice + lovasz", num_classes=4)
    assert not takes_coarse_logits(loss)
    logits_BKhw, target_BHW = torch.randn(1, 4, 4, 4), torch.randint(0, 4, (1, 7, 8))
    full_BKHW = nn.functional.interpolate(logits_BKhw, (8, 8), mode="bilinear")[..., :7, :]
    expected = loss(full_BKHW, target_BHW)
    assert torch.equal(loss.from_coarse(logits_BKhw, target_BHW, (8, 8)), expected)
    coarse = CoarseLogits(logits_BKhw, (8, 8), False)
    assert torch.equal(loss_of(loss, coarse, target_BHW), expected)
