"""The network, its crops and its rate, decided by the data and the time."""

from __future__ import annotations

import pytest
from drawn_worlds import ALONE, cells, decided, threads

from segkit.config import TrainConfig
from segkit.data.opening.open import open_data
from segkit.recipes.deciding import recipe_for


class Pretended:
    """A machine on which a step takes so many milliseconds for each 1,000 pixels of a crop, of a
    network that starts at stride 1, and a quarter of that at stride 2."""

    def __init__(self, seconds: float, milliseconds: float) -> None:
        self.seconds, self.milliseconds, self.asked = seconds, milliseconds, []

    def steps(self, size: int, stride: int) -> int:
        if stride == 1 and size not in self.asked:
            self.asked.append(size)
        return int(self.seconds / (self.milliseconds * 1e-6 * (size / stride) ** 2))


@pytest.mark.parametrize(
    ("seconds", "size"),
    [(0.1, 64), (60, 64), (200, 96), (900, 128), (1600, 192), (3000, 256), (1e6, 480)],
)
def test_the_largest_crop_that_leaves_room_for_enough_steps_is_taken(folder, seconds, size):
    root = folder(threads(2, side=500))
    config = TrainConfig(data=str(root), weights="none", minutes=1)
    recipe = recipe_for(config, open_data(root), ALONE)
    speed = Pretended(seconds, milliseconds=20)
    changes, _ = recipe.decide(speed=speed)
    assert changes["size"] == size
    assert "stride" not in changes["encoder"] and "decoder" not in changes
    # From the smallest up, and none beyond the first that is too slow.
    assert speed.asked == sorted(set(speed.asked))
    taken = speed.asked.index(size)
    assert len(speed.asked) <= taken + 2


@pytest.mark.parametrize(
    ("seconds", "size", "stride"),
    [(60, 128, 2), (200, 192, 2), (400, 256, 2), (3000, 480, 2), (1e6, 480, 1)],
)
def test_larger_crops_at_half_the_resolution_where_time_is_short(folder, seconds, size, stride):
    """cells of 30 pixels across, whose masks lose 1 % there; 20 ms a step of 1,000 pixels."""
    root = folder(cells(2, side=500, radius=30))
    config = TrainConfig(data=str(root), weights="none", minutes=1)
    recipe = recipe_for(config, open_data(root), ALONE)
    changes, decisions = recipe.decide(speed=Pretended(seconds, milliseconds=20))
    assert changes["size"] == size
    # 8 pixels, 16 or 15 at the deepest level.
    depth = {(128, 2): 4, (192, 2): 4, (256, 2): 5, (480, 2): 5, (480, 1): 6}[size, stride]
    more = ", stride=2" if stride == 2 else ""
    assert changes["encoder"] == f"unet(depth={depth}, width=16{more})"
    wanted = "unet(output_stride=2, width=8)" if stride == 2 else None
    assert changes.get("decoder") == wanted
    assert any("at half the resolution" in each.reason for each in decisions) == (stride == 2)


def test_a_pretrained_start_wants_fewer_steps(folder):
    root = folder(cells(2, side=500))
    config = TrainConfig(data=str(root), weights="imagenet", minutes=1)
    recipe = recipe_for(config, open_data(root), ALONE)
    assert recipe.decide(speed=Pretended(60, milliseconds=20))[0]["size"] == 128


@pytest.mark.parametrize(("radius", "size"), [(8, 64), (40, 96), (60, 128)])
def test_crops_hold_an_object_where_objects_are_told_apart(folder, radius, size):
    """The smallest that is no smaller than one; of 96 pixels, 325 steps fit, and of 128, 183."""
    root = folder(cells(2, side=500, radius=radius))
    config = TrainConfig(data=str(root), weights="none", minutes=1, separate="distance")
    recipe = recipe_for(config, open_data(root), ALONE)
    assert recipe.decide(speed=Pretended(60, milliseconds=20))[0]["size"] == size


@pytest.mark.parametrize(
    "given",
    [
        *({"size": 256}, {"encoder": "unet"}, {"decoder": "segnet"}, {"upsampler": "transposed"}),
        *({"separate": "distance"}, {"weights": "imagenet"}),
    ],
)
def test_whoever_gives_a_part_of_the_network_gets_full_resolution(folder, given):
    root = folder(cells(2, side=500, radius=30))
    settings = {"data": str(root), "weights": "none", "minutes": 1.0, **given}
    recipe = recipe_for(TrainConfig.model_validate(settings), open_data(root), ALONE)
    changes, _ = recipe.decide(speed=Pretended(60, milliseconds=20))
    assert "decoder" not in changes and "stride" not in changes.get("encoder", "")


def test_a_short_training_from_random_weights_learns_faster_and_no_other_does(folder):
    root = folder(cells(4))

    def rate(seconds: float, **given: object) -> float | None:
        settings = {"data": str(root), "weights": "none", "minutes": 1.0, **given}
        recipe = recipe_for(TrainConfig.model_validate(settings), open_data(root), ALONE)
        return recipe.decide(speed=Pretended(seconds, milliseconds=20))[0].get("lr")

    # A crop of 64 x 64 pixels takes 82 ms.
    assert (rate(40), rate(60)) == (0.003, None)
    assert rate(40, lr=0.01) is rate(40, optimizer="sgd") is rate(40, weights="imagenet") is None
    assert rate(40, encoder="unet(depth=2)", weights="auto") is None
    assert decided(root)[0].lr == 0.001


def test_the_network_is_as_deep_as_the_crops_allow(folder):
    root = folder(cells(4))
    depths = {side: decided(root, size=side)[0].encoder for side in (16, 64, 256, 2048)}
    assert [text[5:12] for text in depths.values()] == [f"depth={depth}" for depth in (3, 4, 6, 6)]


def test_missing_weights_are_said_with_where_to_get_them(folder, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config, reasons, _ = decided(folder(cells(4)), weights="auto")
    assert "--weights imagenet says where" in reasons["encoder"]
    assert config.weights == "none"


def test_weights_that_are_given_keep_their_encoder(folder):
    config, reasons, _ = decided(folder(cells(4)), weights="imagenet")
    assert (config.encoder, config.weights) == ("densenet121", "imagenet")
    assert "at hand" in reasons["encoder"]
