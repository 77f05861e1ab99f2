"""The loaders of torchvision read the same folders: same images, same masks, same tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from segkit_datasets import DATASETS

from segkit.api import Archive

torchvision = pytest.importorskip("torchvision")


def draw(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def photograph(number: int, height: int = 20) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (height, 30, 3), dtype=np.uint8)


def values(number: int, allowed: list[int], height: int = 20) -> np.ndarray:
    return np.random.default_rng(number).choice(allowed, (height, 30)).astype(np.uint8)


def test_pets(tmp_path):
    base = tmp_path / "oxford-iiit-pet"
    lines = []
    for number, (breed, label, species) in enumerate([("Bengal", 6, 1), ("pug", 26, 2)]):
        name = f"{breed}_{number}"
        draw(base / "images" / f"{name}.jpg", photograph(number))
        draw(base / "annotations" / "trimaps" / f"{name}.png", values(number, [1, 2, 3]))
        lines.append(f"{name} {label} {species} 1")
    (base / "annotations" / "test.txt").write_text("\n".join(lines) + "\n")
    theirs = torchvision.datasets.OxfordIIITPet(
        tmp_path, split="test", target_types=["segmentation", "category", "binary-category"]
    )
    ours = {
        task: DATASETS["oxford-iiit-pet"](root=tmp_path, split="test", task=task)
        for task in ("trimap", "breeds", "species")
    }
    assert len(theirs) == len(ours["trimap"]) == 2
    for index, (image, (trimap, breed, species)) in enumerate(theirs):
        stored = np.array(trimap)
        labels = {"trimap": 1, "breeds": breed + 1, "species": species + 1}
        for task, dataset in ours.items():
            sample = dataset[index]
            assert np.array_equal(sample.image, np.array(image))
            expected = np.select([stored == 1, stored == 2], [labels[task], 0], 255)
            assert np.array_equal(sample.mask, expected)


def test_voc(tmp_path):
    base = tmp_path / "VOCdevkit" / "VOC2012"
    for number in range(2):
        draw(base / "JPEGImages" / f"2007_{number}.jpg", photograph(number))
        image = Image.fromarray(values(number, [*range(21), 255]))
        image.putpalette([part for k in range(256) for part in (k, k // 2, 255 - k)])
        (base / "SegmentationClass").mkdir(exist_ok=True)
        image.save(base / "SegmentationClass" / f"2007_{number}.png")
    (base / "ImageSets" / "Segmentation").mkdir(parents=True)
    (base / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_1\n2007_0\n")
    (base / "ImageSets" / "Segmentation" / "train.txt").write_text("2007_1\n")
    theirs = torchvision.datasets.VOCSegmentation(tmp_path, year="2012", image_set="val")
    ours = DATASETS["voc2012"](root=tmp_path, split="val")
    assert len(theirs) == len(ours) == 2
    for (image, mask), sample in zip(theirs, ours, strict=True):
        assert np.array_equal(sample.image, np.array(image))
        assert np.array_equal(sample.mask, np.array(mask))


def test_cityscapes(tmp_path):
    for number in range(2):
        name = f"aachen_00000{number}_000019"
        draw(
            tmp_path / "leftImg8bit" / "train" / "aachen" / f"{name}_leftImg8bit.png",
            photograph(number),
        )
        truth = tmp_path / "gtFine" / "train" / "aachen"
        draw(truth / f"{name}_gtFine_labelIds.png", values(number, list(range(34))))
    theirs = torchvision.datasets.Cityscapes(tmp_path, split="train", target_type="semantic")
    ours = DATASETS["cityscapes"](root=tmp_path, split="train")
    training_label = {each.id: each.train_id for each in theirs.classes}
    images = {
        Path(path).stem.removesuffix("_leftImg8bit"): i for i, path in enumerate(theirs.images)
    }
    for pair, sample in zip(ours.pairs, ours, strict=True):
        image, ids = theirs[images[pair.id]]
        assert np.array_equal(sample.image, np.array(image))
        expected = np.vectorize(training_label.get)(np.array(ids))
        assert np.array_equal(sample.mask, np.where(expected < 0, 255, expected))


def test_the_classes_and_colours_of_cityscapes():
    evaluated = sorted(
        (each for each in torchvision.datasets.Cityscapes.classes if 0 <= each.train_id < 19),
        key=lambda each: each.train_id,
    )
    ours = DATASETS["cityscapes"]
    assert list(ours.classes) == [each.name for each in evaluated]
    assert list(ours.palette) == [tuple(each.color) for each in evaluated]


def test_addresses_and_checksums():
    pets = torchvision.datasets.OxfordIIITPet._RESOURCES
    archives: tuple[Archive, ...] = DATASETS["oxford-iiit-pet"].published.archives
    assert [(each.url, each.md5) for each in archives] == list(pets)
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    (voc,) = DATASETS["voc2012"].published.archives
    assert (voc.url, voc.md5) == tuple(DATASET_YEAR_DICT["2012"][key] for key in ("url", "md5"))
