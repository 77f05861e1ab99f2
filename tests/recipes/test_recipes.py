"""`--recipe auto` on drawn sets: what it decides, that options win, what it cannot promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from segkit.config import TrainConfig, read_config
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.distributed import Group
from segkit.errors import DataError
from segkit.inference.predict import predict
from segkit.recipes.deciding import recipe_for, with_recipe
from segkit.recipes.fingerprint import fingerprint_of
from segkit.recipes.rules import RULES
from segkit.training.rehearsal import minutes
from segkit.training.rehearsal.deadline import Deadline
from segkit.training.rehearsal.minutes import Shape
from segkit.training.training import train

Pictures = Sequence[tuple[np.ndarray, np.ndarray]]
ALONE = Group(0, 1, 1, torch.device("cpu"))


@pytest.fixture
def folder(tmp_path) -> Callable[..., Path]:
    """folder(pictures, val=1): writes (image, mask) pairs, the last `val` for validation."""

    def write(pictures: Pictures, val: int = 1) -> Path:
        for number, (image, mask) in enumerate(pictures):
            split = "val" if number >= len(pictures) - val else "train"
            for kind, array in (("images", image), ("masks", mask)):
                (tmp_path / kind / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(tmp_path / kind / split / f"{number:03d}.png")
        return tmp_path

    return write


def cells(count: int, side: int = 64, radius: int = 8, colour: bool = False) -> Pictures:
    """Bright discs anywhere on noise: a world without an up."""
    rng = np.random.default_rng(1)
    pictures = []
    for _ in range(count):
        image = rng.normal(60, 8, (side, side))
        mask = np.zeros((side, side), np.uint8)
        for _ in range(3):
            y, x = rng.integers(radius, side - radius, 2).tolist()
            cv2.circle(mask, (x, y), radius, 1, -1)
        image = (image + 80 * mask).clip(0, 255).astype(np.uint8)
        pictures.append((np.stack([image] * 3, axis=2) if colour else image, mask))
    return pictures


def landscapes(count: int) -> Pictures:
    """Bright sky above ground, the horizon now higher, now lower."""
    rng = np.random.default_rng(2)
    pictures = []
    for _ in range(count):
        mask = np.zeros((64, 64), np.uint8)
        mask[int(rng.integers(24, 40)) :] = 1
        image = rng.normal(200, 8, (64, 64, 3)) - 120 * mask[:, :, None]
        pictures.append((image.clip(0, 255).astype(np.uint8), mask))
    return pictures


def letters(count: int) -> Pictures:
    """An F somewhere: never mirrored."""
    rng = np.random.default_rng(3)
    pictures = []
    for _ in range(count):
        mask = np.zeros((64, 64), np.uint8)
        y, x = rng.integers(4, 36, 2).tolist()
        mask[y : y + 20, x : x + 4] = mask[y : y + 4, x : x + 14] = 1
        mask[y + 9 : y + 12, x : x + 10] = 1
        pictures.append(((40 + 150 * mask).astype(np.uint8), mask))
    return pictures


def decided(root: Path, **given: object) -> tuple[TrainConfig, dict[str, str], list[str]]:
    """(settings, reason by setting, cautions) of a training on the folder without weights."""
    config = TrainConfig.model_validate({"data": str(root), "weights": "none", **given})
    config, decisions = with_recipe(config, open_data(root), ALONE)
    reasons = {each.setting: each.reason for each in decisions if each.setting}
    return config, reasons, [each.reason for each in decisions if not each.setting]


def test_a_world_without_an_up_is_turned_and_mirrored(folder):
    config, reasons, _ = decided(folder(cells(16, colour=True)))
    assert "flips=both" in config.augmentation
    assert "nothing tells up from down" in reasons["augmentation"]


def test_landscapes_are_mirrored_and_not_turned_upside_down(folder):
    config, reasons, _ = decided(folder(landscapes(16)))
    assert "both" not in config.augmentation
    assert "none" not in config.augmentation
    assert "nearly every picture" in reasons["augmentation"]


def test_writing_is_never_mirrored(folder):
    config, reasons, _ = decided(folder(letters(48)))
    assert "flips=none" in config.augmentation
    assert "unlike their mirror images" in reasons["augmentation"]


def exposures(count: int) -> Pictures:
    """Cells by two microscopes, one of which gives dark pictures."""
    return [(image // (6 if n % 2 else 1), mask) for n, (image, mask) in enumerate(cells(count))]


def test_pictures_of_unlike_contrasts_are_each_scaled_by_itself_unless_it_is_said(folder):
    root = folder(exposures(9))
    config, reasons, _ = decided(root)
    assert config.intensity == "per-image"
    first, ninth = fingerprint_of(open_data(root)).contrast
    # 0.5 % and 99.5 % of noise of 8 about 60, and of 80 more: 2 x 2.58 x 8 + 80.
    assert ninth == pytest.approx(121 / 255, rel=0.1)
    assert first == pytest.approx(ninth / 6, rel=0.1)
    assert f"below {100 * first:.2g} % of white" in reasons["intensity"]
    assert decided(root, intensity="percentile")[0].intensity == "percentile"
    (root / "data.yaml").write_text("intensity: range\n")
    assert decided(root)[0].intensity is None


def test_pictures_of_one_contrast_keep_their_scale(folder):
    assert decided(folder(cells(9)))[0].intensity is None


def test_a_training_on_unlike_contrasts_ends_in_a_model_that_scales_each_image(
    folder, tmp_path, one_thread
):
    root = folder(exposures(5))
    small = {"epochs": 1, "epoch_steps": 1, "batch": 2, "size": 32, "samples": 0, "workers": 0}
    small |= {"encoder": "unet(depth=2, width=4)", "device": "cpu", "out": str(tmp_path / "run")}
    run = train(TrainConfig(data=str(root), weights="none", **small)).folder
    assert read_config(run / "config.yaml").intensity == "per-image"
    bright = cells(1)[0][0]
    dark = (bright.astype(np.float32) / 4).astype(np.float32)
    answers = [predict(run, each, probabilities=True) for each in (bright, dark)]
    assert np.allclose(*(each.probabilities for each in answers), atol=0.02)


def test_an_option_that_is_given_always_wins(folder):
    given = {"encoder": "unet(depth=2)", "augmentation": "light", "crops": "classes"}
    config, reasons, _ = decided(folder(cells(4)), **given)
    assert {name: getattr(config, name) for name in given} == given
    assert not given.keys() & reasons.keys()


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
    ("seconds", "size"), [(0.1, 64), (60, 128), (900, 128), (1600, 192), (3000, 256), (1e6, 480)]
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


def threads(count: int, side: int = 64) -> Pictures:
    """Lines of one pixel, of which half the resolution leaves nothing."""
    pictures = []
    for image, _ in cells(count, side):
        mask = np.zeros((side, side), np.uint8)
        mask[::8] = 1
        pictures.append((image, mask))
    return pictures


@pytest.mark.parametrize(
    ("seconds", "size", "stride"), [(15, 128, 2), (60, 256, 2), (3000, 480, 2), (1e6, 480, 1)]
)
def test_larger_crops_at_half_the_resolution_where_time_is_short(folder, seconds, size, stride):
    """cells of 30 pixels across, whose masks lose 1 % there; 20 ms a step of 1,000 pixels."""
    root = folder(cells(2, side=500, radius=30))
    config = TrainConfig(data=str(root), weights="none", minutes=1)
    recipe = recipe_for(config, open_data(root), ALONE)
    changes, decisions = recipe.decide(speed=Pretended(seconds, milliseconds=20))
    assert changes["size"] == size
    # 8 pixels, 16 or 15 at the deepest level.
    depth = {(128, 2): 4, (256, 2): 5, (480, 2): 5, (480, 1): 6}[size, stride]
    more = ", stride=2" if stride == 2 else ""
    assert changes["encoder"] == f"unet(depth={depth}, width=16{more})"
    wanted = "unet(output_stride=2, width=8)" if stride == 2 else None
    assert changes.get("decoder") == wanted
    assert any("at half the resolution" in each.reason for each in decisions) == (stride == 2)


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


def test_plain_leaves_all_as_it_is(folder):
    root = folder(cells(4))
    config = TrainConfig(data=str(root), recipe="plain")
    assert with_recipe(config, open_data(root), ALONE) == (config, ())


def test_the_network_is_as_deep_as_the_crops_allow(folder):
    root = folder(cells(4))
    depths = {side: decided(root, size=side)[0].encoder for side in (16, 64, 256, 2048)}
    assert [text[5:12] for text in depths.values()] == [f"depth={depth}" for depth in (3, 4, 6, 6)]


def test_decisions_are_the_same_again_and_stand_in_the_runs_settings(folder, tmp_path, one_thread):
    root = folder(cells(6, side=32, radius=4))
    small = {"epochs": 1, "samples": 0, "device": "cpu", "workers": 0, "precision": "fp32"}
    config, reasons, _ = decided(root, **small)
    assert decided(root, **small)[:2] == (config, reasons)
    run = train(config.model_copy(update={"out": str(tmp_path / "run"), **small})).folder
    written = read_config(run / "config.yaml")
    assert {n: getattr(written, n) for n in reasons} == {n: getattr(config, n) for n in reasons}
    assert with_recipe(written, open_data(root), ALONE) == (written, ())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_images_are_no_promise(folder, count):
    _, _, cautions = decided(folder(cells(count + 1)))
    assert cautions[0].startswith(f"{count} image")
    assert "cannot be promised" in cautions[0]


def test_one_class_alone_is_said(folder):
    ground = [(image, np.zeros_like(mask)) for image, mask in cells(12)]
    root = folder(ground)
    with pytest.raises(DataError, match="there is nothing to learn"):
        decided(root)
    data = open_data(root, DataOptions(num_classes=2))
    _, decisions = with_recipe(TrainConfig(data=str(root), weights="none"), data, ALONE)
    assert any("whatever it predicts" in each.reason for each in decisions)


def test_masks_empty_in_all_but_one_are_said(folder):
    pictures = [(image, mask * (number == 0)) for number, (image, mask) in enumerate(cells(13))]
    _, _, cautions = decided(folder(pictures))
    assert any("in 1 image of 12" in each and "may never be learnt" in each for each in cautions)


def test_sizes_far_apart_are_said_and_work(folder):
    config, _, cautions = decided(folder([*cells(3, side=40), *cells(2, side=2000), *cells(1)]))
    assert any("sides range from 40 to 2000 pixels" in each for each in cautions)
    assert config.encoder.startswith("unet")


def test_a_class_that_hardly_occurs_is_said_and_aimed_at(folder):
    pictures = [(image, 0 * mask) for image, mask in cells(40, side=200)]
    pictures[7][1][50:52, 50:52] = 1
    pictures[-1][1][50:60, 50:60] = 1
    config, reasons, cautions = decided(folder(pictures), size=64)
    assert any("0.00026 % of the pixels, in 1 image of 39" in each for each in cautions)
    assert config.crops == "foreground"
    assert "covers 0.00026 %" in reasons["crops"]


def _moved(pair: tuple[np.ndarray, np.ndarray], pixels: int) -> tuple[np.ndarray, np.ndarray]:
    image, mask = (np.roll(each, pixels, axis=1) for each in pair)
    return image, mask


def _dot(mask: np.ndarray) -> np.ndarray:
    """A square of four pixels, where the mask has its first."""
    place = np.argwhere(mask)[0]
    dot = np.zeros_like(mask)
    dot[place[0] : place[0] + 2, place[1] : place[1] + 2] = 1
    return dot


HARD_SETS = {
    "one image": lambda: cells(2),
    "two images": lambda: cells(3),
    "40 and 800 pixels": lambda: [*cells(3, side=40), *cells(2, side=800), *cells(1)],
    "12 bits": lambda: [(image.astype(np.uint16) * 16, mask) for image, mask in cells(5)],
    "empty but one": lambda: [(i, m * (n in (0, 5))) for n, (i, m) in enumerate(cells(6))],
    "smaller than a crop": lambda: cells(4, side=20, radius=4),
    "0.01 % of a class": lambda: [(i, m * 0 + _dot(m)) for i, m in cells(5, side=200)],
    "one recording": lambda: [_moved(cells(1)[0], 2 * n) for n in range(6)],
}


@pytest.mark.integration
@pytest.mark.parametrize("hard", HARD_SETS)
def test_what_a_recipe_decides_in_a_minute_can_be_trained(
    folder, tmp_path, one_thread, hard, monkeypatch
):
    root = folder(HARD_SETS[hard]())
    # Planned as for half a minute, and then cut to four steps.
    monkeypatch.setattr(minutes, "shape", lambda seconds, costs: Shape(2, 2, 2))
    monkeypatch.setattr(Deadline, "epochs", lambda self, setup, done: setup.epochs)
    small = {"minutes": 0.5, "samples": 1, "device": "cpu", "workers": 0}
    config = TrainConfig(data=str(root), weights="none", out=str(tmp_path / "run"), **small)
    result = train(config)
    assert result is not None
    assert np.isfinite(result.scores[result.score_name])


def test_frames_of_one_recording_are_said(folder):
    (image, mask), *others = cells(14)
    walk = [np.roll(image, 2 * step, axis=1) for step in range(14)]
    masks = [np.roll(mask, 2 * step, axis=1) for step in range(14)]
    _, _, cautions = decided(folder(list(zip(walk, masks, strict=True))))
    assert any("frames of a recording" in each for each in cautions)
    assert not any("recording" in each for each in decided(folder(others))[2])


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


def test_touching_objects_are_said_unless_they_are_separated(folder):
    pictures = []
    for image, _ in cells(12):
        numbers = np.zeros((64, 64), np.uint8)
        numbers[8:24, 8:24], numbers[8:24, 24:40], numbers[44:60, 44:60] = 1, 2, 3
        pictures.append((image, numbers))
    root = folder(pictures)
    data = open_data(root, DataOptions(instances="foreground"))
    told = []
    for separate in (None, "distance"):
        config = TrainConfig(data=str(root), weights="none", separate=separate)
        found = with_recipe(config, data, ALONE)[1]
        told.append([each.reason for each in found if "touch another" in each.reason])
    assert told[0][0].startswith("67% of the objects touch another one")
    assert told[1] == []


def test_missing_weights_are_said_with_where_to_get_them(folder, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config, reasons, _ = decided(folder(cells(4)), weights="auto")
    assert "--weights imagenet says where" in reasons["encoder"]
    assert config.weights == "none"


def test_weights_that_are_given_keep_their_encoder(folder):
    config, reasons, _ = decided(folder(cells(4)), weights="imagenet")
    assert (config.encoder, config.weights) == ("densenet121", "imagenet")
    assert "at hand" in reasons["encoder"]


def test_the_page_of_recipes_shows_every_rule():
    page = " ".join((Path(__file__).parents[2] / "docs" / "recipes.md").read_text().split())
    assert [rule.setting for rule in RULES if f"| `{rule.setting}` |" not in page] == []
    assert [rule.setting for rule in RULES if rule.support not in page] == []


def test_every_rule_names_what_it_rests_on():
    assert all(len(rule.support) > 40 for rule in RULES)
    assert all(rule.setting in TrainConfig.model_fields for rule in RULES)
    assert len({rule.setting for rule in RULES}) == len(RULES)
