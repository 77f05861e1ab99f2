"""--on-bad-sample skip: a few damaged files are left out and named, many are refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.data.opening.open import open_data
from segkit.data.opening.opened import Data
from segkit.data.opening.skipping import as_csv
from segkit.data.options import DataOptions
from segkit.errors import DataError
from segkit.training.run.run_folder import RunFolder

COUNT = 40


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Forty pairs; the image of one is cut short, the mask of another has another size."""
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        for part, array in (
            ("images", rng.integers(0, 256, (32, 32, 3), np.uint8)),
            ("masks", np.tri(32, 32 if number != 7 else 30, dtype=np.uint8)),
        ):
            path = tmp_path / "set" / part / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    cut = tmp_path / "set" / "images" / "03.png"
    cut.write_bytes(cut.read_bytes()[:500])
    return tmp_path / "set"


def ids(data: Data, split: str) -> list[str]:
    return [data.split(split)[i].id for i in range(len(data.split(split)))]


def test_bad_samples_stop_everything_unless_skipping_is_asked_for(root: Path):
    with pytest.raises(DataError, match=r"03\.png"):
        open_data(root)


def test_skipped_samples_are_named_and_the_others_keep_their_split(root: Path):
    data = open_data(root, DataOptions(on_bad_sample="skip"))
    assert "2 bad samples are skipped: 03 and 1 more." in data.notes
    assert [(each.id, each.code) for each in data.skipped] == [("03", "SK-D004"), ("07", "SK-D003")]
    left = set(ids(data, "train")) | set(ids(data, "val"))
    assert left == {f"{n:02}" for n in range(COUNT)} - {"03", "07"}
    for number, part in ((3, "images"), (7, "masks")):
        other = "01.png"
        whole = (root / part / other).read_bytes()
        (root / part / f"{number:02}.png").write_bytes(whole)
    whole_set = open_data(root)
    assert set(ids(data, "val")) == set(ids(whole_set, "val")) - {"03", "07"}


def test_more_than_one_in_twenty_is_refused(root: Path):
    (root / "masks" / "11.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"SK-D033: 3 of 40 samples are bad, and at most 5%") as e:
        open_data(root, DataOptions(on_bad_sample="skip"))
    assert "03.png" in e.value.what and "`segkit data check`" in e.value.fix


def test_faults_of_the_whole_set_are_never_skipped(root: Path):
    for path in (root / "masks").iterdir():
        Image.fromarray(np.tri(32, dtype=np.uint8) * 5).save(path)
    with pytest.raises(DataError, match="SK-D007"):
        open_data(root, DataOptions(on_bad_sample="skip"))


def test_the_run_folder_lists_what_was_skipped(root: Path, tmp_path: Path):
    skipped = open_data(root, DataOptions(on_bad_sample="skip")).skipped
    run = RunFolder.create(tmp_path / "run")
    run.write_skipped(skipped)
    with (run.folder / "skipped.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["03", "07"]
    assert rows[1]["mask"] == str(root / "masks" / "07.png")
    assert "is 32 x 30, its image 07.png is 32 x 32 (height x width)" in rows[1]["reason"]


def test_without_bad_samples_there_is_no_list(tmp_path: Path):
    run = RunFolder.create(tmp_path / "run")
    run.write_skipped(())
    assert not (run.folder / "skipped.csv").exists()
    assert as_csv(()) == "id,image,mask,code,reason\n"


def test_an_image_without_a_mask_is_left_out_where_skipping_is_asked_for(root: Path):
    (root / "masks" / "07.png").unlink()
    with pytest.raises(DataError, match=r"1 of 40 images in .* have no mask: 07"):
        open_data(root)
    data = open_data(root, DataOptions(on_bad_sample="skip"))
    assert [each.id for each in data.skipped] == ["03", "07"]
    assert "2 bad samples are skipped: 03 and 1 more." in data.notes
    _, line = csv.DictReader(as_csv(data.skipped).splitlines())
    assert (line["code"], line["mask"]) == ("SK-D002", "")
    assert line["reason"].endswith("07.png has no mask.")


def test_masks_of_other_names_are_a_matter_of_naming_and_skip_nothing(root: Path):
    (root / "masks" / "07.png").rename(root / "masks" / "07_mask.png")
    with pytest.raises(DataError, match=r"1 of 40 images in .* have no mask: 07"):
        open_data(root, DataOptions(on_bad_sample="skip"))
