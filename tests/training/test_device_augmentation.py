"""Augmentation on the device: what the host's preset may do, to image, mask and objects alike."""

import numpy as np
import pytest
import torch

from segkit.data.augmentation.colour_changes import change_colours
from segkit.data.augmentation.recipes import RECIPES, Recipe
from segkit.data.batches import Batch
from segkit.training.device_augmentation import DeviceAugmentation, host_part
from segkit.training.training import train


def batch_of(count=6, side=8, channels=3):
    """Image, mask and objects that hold the same numbers, so that any parting of ways shows."""
    number_BHW = torch.arange(count * side * side).reshape(count, side, side) % 251
    image_BCHW = number_BHW[:, None].expand(-1, channels, -1, -1).to(torch.uint8)
    names = tuple(str(place) for place in range(count))
    return Batch(image_BCHW, number_BHW, number_BHW.clone(), names)


def test_mask_and_objects_move_with_the_image():
    augmentation = DeviceAugmentation(Recipe(flips="both", quarters=True), seed=0, full_scale=255)
    batch = batch_of()
    moved = augmentation(batch, 1, 2)
    assert torch.equal(moved.image_BCHW[:, 0].long(), moved.target_BHW)
    assert torch.equal(moved.target_BHW, moved.instances_BHW)
    assert not torch.equal(moved.target_BHW, batch.target_BHW)
    for plane, original in zip(moved.target_BHW, batch.target_BHW, strict=True):
        assert torch.equal(plane.flatten().sort()[0], original.flatten().sort()[0])


def test_every_flip_and_turn_occurs_about_equally_often():
    augmentation = DeviceAugmentation(Recipe(flips="both", quarters=True), seed=0, full_scale=255)
    batch = batch_of(count=1600, side=2)
    corners = augmentation(batch, 0, 0).target_BHW - batch.target_BHW[:, :1, :1]
    first = (corners[:, 0, 0] % 251).bincount(minlength=4)[:4]
    assert first.min() > 300


def test_equal_places_in_a_training_give_equal_batches_and_others_do_not():
    augmentation = DeviceAugmentation(RECIPES["strong"], seed=3, full_scale=255)
    again = DeviceAugmentation(RECIPES["strong"], seed=3, full_scale=255)
    first = augmentation(batch_of(), 4, 5).image_BCHW
    assert torch.equal(first, again(batch_of(), 4, 5).image_BCHW)
    assert not torch.equal(first, again(batch_of(), 4, 6).image_BCHW)
    assert not torch.equal(first, again(batch_of(), 5, 5).image_BCHW)


def test_the_batch_itself_is_not_modified():
    batch = batch_of()
    before = batch.image_BCHW.clone()
    DeviceAugmentation(RECIPES["strong"], seed=0, full_scale=255)(batch, 0, 0)
    assert torch.equal(batch.image_BCHW, before)


@pytest.mark.parametrize("part", ["brightness", "contrast", "tint", "saturation"])
def test_colours_spread_as_far_as_on_the_host(part):
    recipe = Recipe(**{part: 0.2})
    rng = np.random.default_rng(0)
    image_HWC = rng.integers(60, 190, (16, 16, 3), dtype=np.uint8)
    host = np.stack([change_colours(image_HWC, recipe, rng) for _ in range(600)])
    image_BCHW = torch.from_numpy(image_HWC).permute(2, 0, 1).expand(600, -1, -1, -1)
    batch = Batch(image_BCHW, torch.zeros(600, 16, 16).long(), None, ("x",) * 600)
    device = DeviceAugmentation(recipe, seed=0, full_scale=255)(batch, 0, 0).image_BCHW
    spread = host.astype(float).std(axis=0).transpose(2, 0, 1)
    np.testing.assert_allclose(device.std(dim=0).numpy(), spread, rtol=0.15, atol=0.8)
    np.testing.assert_allclose(
        device.mean(dim=0).numpy(), host.mean(axis=0).transpose(2, 0, 1), atol=2.5
    )


def test_nothing_is_done_twice():
    for recipe in RECIPES.values():
        left = host_part(recipe)
        assert (left.flips, left.quarters, left.brightness, left.gamma) == ("none", False, 0, 0)
        assert (left.scale, left.rotation, left.elastic) == (
            recipe.scale,
            recipe.rotation,
            recipe.elastic,
        )
        assert (left.blur, left.noise) == (recipe.blur, recipe.noise)


def test_a_training_asks_for_it_by_name(settings, tmp_path):
    for place in ("host", "device"):
        train(settings(augment_on=place, augmentation="strong", out=str(tmp_path / place)))
    first = {
        place: (tmp_path / place / "metrics.csv").read_text().splitlines()[1]
        for place in ("host", "device")
    }
    assert first["host"].split(",")[2] != first["device"].split(",")[2]
