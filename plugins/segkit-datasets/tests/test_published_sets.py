"""Each set, read from folders of the structure in which it is published, drawn here."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from segkit_datasets import DATASETS
from segkit_datasets.pets import BREEDS

from segkit import SegkitError
from segkit.api import DataError, UsageError
from segkit.testing import Case, conformance

SIDE = 16
MARKED = np.zeros((SIDE, SIDE), bool)
MARKED[4:10, 4:10] = True


def draw(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def photograph(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def marked(value: int, elsewhere: int = 0, aside: int = 0) -> np.ndarray:
    """The drawn object, some pixels to the right of where it is marked: no two masks are alike."""
    return np.where(np.roll(MARKED, aside, axis=1), value, elsewhere).astype(np.uint8)


def write_pets(root: Path) -> None:
    pets = [("Abyssinian", 1, 1), ("pug", 26, 2), ("Siamese", 33, 1)]
    for split, numbers in (("trainval", range(10)), ("test", range(99, 102))):
        lines = []
        for number in numbers:
            breed, label, species = pets[number % 3]
            name = f"{breed}_{number}"
            lines.append(f"{name} {label} {species} 1")
            draw(root / "images" / f"{name}.jpg", photograph(number))
            trimap = marked(1, elsewhere=2, aside=number % 5)
            trimap[3] = 3
            draw(root / "annotations" / "trimaps" / f"{name}.png", trimap)
        (root / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")
    # The published archive has such leftovers of macOS.
    (root / "annotations" / "trimaps" / "._pug_1.png").write_bytes(b"\0\5\26\7")


def write_camvid(root: Path) -> None:
    for part, split in enumerate(("train", "val", "test")):
        for number in range(2):
            name = f"{part}{number}.png"
            draw(root / "CamVid" / split / name, photograph(10 * part + number))
            draw(root / "CamVid" / f"{split}annot" / name, marked(8, elsewhere=11, aside=number))


def write_voc(root: Path) -> None:
    base = root / "VOCdevkit" / "VOC2012"
    lists = {"train": ["2007_000032"], "val": ["2007_000033"]}
    for number, name in enumerate([*lists["train"], *lists["val"]]):
        draw(base / "JPEGImages" / f"{name}.jpg", photograph(number))
        mask = marked(15, aside=number)
        mask[3] = 255
        image = Image.fromarray(mask)
        image.putpalette([value for k in range(256) for value in (k, 255 - k, 0)])
        (base / "SegmentationClass").mkdir(exist_ok=True)
        image.save(base / "SegmentationClass" / f"{name}.png")
    lists["trainval"] = lists["train"] + lists["val"]
    (base / "ImageSets" / "Segmentation").mkdir(parents=True)
    for split, names in lists.items():
        text = "\n".join(names)
        (base / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(text)


def write_cityscapes(root: Path) -> None:
    for number, (split, city) in enumerate((("train", "aachen"), ("val", "munster"))):
        name = f"{city}_000000_000019"
        draw(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", photograph(number))
        truth = root / "gtFine" / split / city
        draw(truth / f"{name}_gtFine_labelIds.png", marked(33, elsewhere=7) + marked(0))
        draw(truth / f"{name}_gtFine_color.png", photograph(1))


def write_isbi(root: Path) -> None:
    slices = np.stack([photograph(number)[:, :, 0] for number in range(10)])
    tifffile.imwrite(root / "train-volume.tif", slices)
    tifffile.imwrite(
        root / "train-labels.tif", np.stack([marked(255, aside=z % 5) for z in range(10)])
    )


def write_ctc(root: Path) -> None:
    cells = marked(3).astype(np.uint16)
    beside = cells.copy()
    beside[0, 0] = 7
    for number, video in enumerate(("01", "02")):
        for frame in range(3):
            draw(root / video / f"t{frame:03d}.tif", photograph(3 * number + frame)[:, :, 0])
            markers = beside if frame == 1 else cells
            (root / f"{video}_GT" / "TRA").mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(root / f"{video}_GT" / "TRA" / f"man_track{frame:03d}.tif", markers)
        for frame in (0, 1):
            (root / f"{video}_GT" / "SEG").mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(root / f"{video}_GT" / "SEG" / f"man_seg{frame:03d}.tif", cells)


def write_dsb(root: Path) -> None:
    for number in range(6):
        id = f"{number:064x}"
        folder = root / "stage1_train" / id
        opaque = np.full((SIDE, SIDE, 1), 255, np.uint8)
        draw(folder / "images" / f"{id}.png", np.dstack([photograph(number), opaque]))
        draw(folder / "masks" / "a.png", marked(255, aside=number % 3))
        draw(folder / "masks" / "b.png", np.roll(marked(255), 7, axis=1))


WRITERS = {
    "oxford-iiit-pet": write_pets,
    "camvid": write_camvid,
    "voc2012": write_voc,
    "cityscapes": write_cityscapes,
    "isbi2012": write_isbi,
    "ctc": write_ctc,
    "dsb2018": write_dsb,
}
PETS = [f"oxford-iiit-pet(task={task})" for task in ("trimap", "species", "breeds")]


def write_all(root: Path) -> None:
    for write in WRITERS.values():
        write(root)


@conformance(
    "segkit-datasets",
    examples={"oxford-iiit-pet": PETS, "ctc": ["ctc", "ctc(val=1)"]},
    make_root=write_all,
)
def test_conformance(case: Case) -> None:
    case.run()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    write_all(folder)
    return folder


def labels_of(dataset, index: int = 0) -> tuple[set[int], set[int]]:
    """Labels where the drawn object is, and elsewhere."""
    mask_HW = dataset[index].mask
    return set(mask_HW[MARKED].tolist()), set(mask_HW[~MARKED].tolist())


EXPECTED = {
    "oxford-iiit-pet": ("pet", {"background", None}),
    "camvid": ("car", {None}),
    "voc2012": ("person", {"background", None}),
    "cityscapes": ("bicycle", {"road"}),
    "isbi2012": ("cell", {"membrane"}),
    "ctc": ("cell", {"background"}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_stored_values_become_the_classes_they_mean(root, name):
    dataset = DATASETS[name](root=root, split="train")
    inside, outside = labels_of(dataset)
    name_of = {**dict(enumerate(dataset.classes)), dataset.ignore_index: None}
    assert ({name_of[k] for k in inside}, {name_of[k] for k in outside}) == (
        {EXPECTED[name][0]},
        EXPECTED[name][1],
    )


@pytest.mark.parametrize("name", WRITERS)
def test_no_image_lies_in_two_of_train_val_and_test(root, name):
    factory = DATASETS[name]
    splits = [s for s in ("train", "val", "test") if s in factory.splits]
    ids = [pair.id for split in splits for pair in factory(root=root, split=split).pairs]
    assert len(ids) == len(set(ids)) > 1


def test_pets_train_and_val_share_trainval_and_test_is_as_published(root):
    pets = DATASETS["oxford-iiit-pet"]
    ids = {split: {pair.id for pair in pets(root=root, split=split).pairs} for split in pets.splits}
    assert ids["train"] | ids["val"] == ids["trainval"]
    assert len(ids["val"]) == 1
    assert ids["test"] == {
        line.split()[0] for line in (root / "annotations" / "test.txt").read_text().splitlines()
    }


def test_pets_have_their_breed_or_species_as_label(root):
    for task, of_pug, of_siamese in (("breeds", "pug", "Siamese"), ("species", "dog", "cat")):
        dataset = DATASETS["oxford-iiit-pet"](root=root, split="test", task=task)
        found = {
            pair.id.partition("_")[0]: dataset.classes[dataset[at].mask[5, 9]]
            for at, pair in enumerate(dataset.pairs)
        }
        assert (found["pug"], found["Siamese"]) == (of_pug, of_siamese)


def test_there_are_37_breeds_and_their_names_sort_as_they_are_numbered():
    assert len(BREEDS) == 37
    assert sorted(BREEDS, key=str.lower) == list(BREEDS)


def test_pets_read_the_gifs_that_are_called_jpg(tmp_path):
    write_pets(tmp_path)
    trainval = DATASETS["oxford-iiit-pet"](root=tmp_path, split="trainval")
    first = trainval.pairs[0].image
    grey = photograph(5)[:, :, 0]
    Image.fromarray(grey).save(first, format="GIF")
    assert np.array_equal(trainval[0].image, np.repeat(grey[:, :, None], 3, axis=2))


def test_a_frame_whose_markers_show_more_cells_has_its_background_ignored(root):
    dataset = DATASETS["ctc"](root=root, split="train")
    assert [pair.id for pair in dataset.pairs] == ["01/000", "01/001"]
    assert labels_of(dataset, 1) == ({1}, {255})


def test_nuclei_keep_their_numbers(root):
    sample = DATASETS["dsb2018"](root=root, split="train")[0]
    assert set(np.unique(sample.instances)) == {0, 1, 2}
    assert np.array_equal(sample.mask, (sample.instances > 0).astype(np.int64))
    assert sample.image.shape == (SIDE, SIDE, 4)


def test_the_last_fifth_of_the_isbi_stack_validates(root):
    val = DATASETS["isbi2012"](root=root, split="val")
    assert [pair.id for pair in val.pairs] == ["08", "09"]
    assert np.array_equal(val[1].image[:, :, 0], photograph(9)[:, :, 0])


@pytest.mark.parametrize("name", WRITERS)
def test_an_empty_folder_is_refused_with_the_way_to_the_data(tmp_path, name):
    with pytest.raises(DataError, match="SK-D001") as caught:
        DATASETS[name](root=tmp_path, split="train")
    published = DATASETS[name].published
    assert str(tmp_path) in caught.value.what
    assert caught.value.fix == (
        f"`segkit data download {name}` fetches it." if published.archives else published.by_hand
    )


@pytest.mark.parametrize("name", ["voc2012", "cityscapes", "isbi2012", "ctc"])
def test_a_split_that_its_owners_keep_back_is_refused(root, name):
    with pytest.raises(UsageError, match=f"SK-D010: {name} has no split 'test'"):
        DATASETS[name](root=root, split="test")


def test_a_label_of_no_class_is_refused_with_its_file(tmp_path):
    write_camvid(tmp_path)
    mask = tmp_path / "CamVid" / "trainannot" / "00.png"
    draw(mask, marked(12))
    dataset = DATASETS["camvid"](root=tmp_path, split="train")
    with pytest.raises(DataError, match="holds the value 12, which this data set") as caught:
        dataset[0]
    assert str(mask) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("camvid", "CamVid/trainannot/00.png"),
        ("cityscapes", "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"),
        ("voc2012", "VOCdevkit/VOC2012/JPEGImages/2007_000032.jpg"),
        ("isbi2012", "train-labels.tif"),
    ],
)
def test_a_lost_file_is_named(tmp_path, name, lost):
    WRITERS[name](tmp_path)
    (tmp_path / lost).unlink()
    with pytest.raises(SegkitError) as caught:
        DATASETS[name](root=tmp_path, split="train")[0]
    assert Path(lost).name in str(caught.value)


def test_every_set_says_where_it_comes_from_and_on_what_terms():
    for factory in DATASETS.values():
        published = factory.published
        assert published.homepage.startswith("http")
        assert published.licence
        assert published.citation
        assert published.by_hand.endswith(".")


def test_colours_of_voc_are_those_of_its_development_kit():
    # From the kit's documentation: aeroplane, bicycle, person, tvmonitor.
    palette = DATASETS["voc2012"].palette
    assert [palette[k] for k in (1, 2, 15, 20)] == [
        (128, 0, 0),
        (0, 128, 0),
        (192, 128, 128),
        (0, 64, 128),
    ]


@pytest.fixture
def real_data() -> Path:
    folder = os.environ.get("SEGKIT_TEST_DATA")
    if not folder:
        pytest.skip("SEGKIT_TEST_DATA names no folder of real data")
    return Path(folder)


def test_a_real_camvid_reads_as_its_masks_say(tmp_path, real_data):
    source = real_data / "camvid"
    for split in ("train", "val"):
        masks = sorted((source / "masks" / split).iterdir())[:3]
        for mask in masks:
            (image,) = (source / "images" / split).glob(f"{mask.stem}.*")
            draw(tmp_path / split / f"{mask.stem}.png", np.array(Image.open(image)))
            draw(tmp_path / f"{split}annot" / mask.name, np.array(Image.open(mask)))
    dataset = DATASETS["camvid"](root=tmp_path, split="val")
    stored = np.array(Image.open(sorted((source / "masks" / "val").iterdir())[0]))
    assert np.array_equal(dataset[0].mask, stored)
    assert set(np.unique(stored)) <= {*range(len(dataset.classes)), dataset.ignore_index}


def test_real_trimaps_become_pet_ground_and_border(tmp_path, real_data):
    source = real_data / "pets_sample"
    images = sorted((source / "images").glob("*.jpg"))
    lines = []
    for image in images:
        (mask,) = (source / "masks").glob(f"{image.stem}.*")
        for file, place in ((image, "images"), (mask, "annotations/trimaps")):
            (tmp_path / place).mkdir(parents=True, exist_ok=True)
            (tmp_path / place / f"{image.stem}{file.suffix}").write_bytes(file.read_bytes())
        lines.append(f"{image.stem} 1 1 1")
    (tmp_path / "annotations" / "trainval.txt").write_text("\n".join(lines))
    dataset = DATASETS["oxford-iiit-pet"](root=tmp_path, split="trainval")
    assert len(dataset) == len(images) > 0
    for pair, sample in zip(dataset.pairs, dataset, strict=True):
        stored = np.array(Image.open(pair.mask))
        for value, label in ((1, 1), (2, 0), (3, 255)):
            assert np.array_equal(sample.mask == label, stored == value)
