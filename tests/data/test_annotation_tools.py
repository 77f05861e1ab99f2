"""What annotation tools write: LabelMe's shapes, Label Studio's brushes, nnU-Net's channels."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segkit.cli.main import main
from segkit.data.conversion import convert
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.errors import DataError

HEIGHT, WIDTH = 24, 32


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape or (HEIGHT, WIDTH, 3), np.uint8)


def shape(label: str, points: list[list[float]], kind: str = "polygon") -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}}


def labelled(image: Path, *shapes: dict[str, Any], path: str | None = None) -> None:
    save(image, noise(1))
    content = {"version": "5.5.0", "imagePath": path or image.name, "imageData": None}
    text = json.dumps(content | {"shapes": list(shapes)})
    image.with_suffix(".json").write_text(text, encoding="utf-8")


def converted(source: Path, out: Path) -> dict[str, np.ndarray]:
    """{name: mask} of what the conversion wrote, with all splits."""
    convert(source, out, DataOptions())
    masks = sorted((out / "masks").rglob("*.png"))
    return {
        path.relative_to(out / "masks").with_suffix("").as_posix(): np.asarray(Image.open(path))
        for path in masks
    }


def test_labelme_rectangles_and_polygons_cover_the_pixels_inside(tmp_path: Path):
    labelled(
        tmp_path / "set" / "a.png",
        shape("road", [[4, 2], [20, 12]], "rectangle"),
        shape("car", [[6, 4], [10, 4], [10, 8], [6, 8]]),
        shape("_background_", [[0, 0], [3, 0], [3, 3]]),
    )
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[2:12, 4:20] = 2
    # Smaller, so on top; and first by alphabet.
    expected[4:8, 6:10] = 1
    found = converted(tmp_path / "set", tmp_path / "out")["a"]
    assert np.array_equal(found, expected)
    assert open_data(tmp_path / "out").classes == ("background", "car", "road")


def test_labelme_circles_have_their_radius(tmp_path: Path):
    labelled(tmp_path / "set" / "a.png", shape("cell", [[16, 12], [16, 4]], "circle"))
    mask_HW = converted(tmp_path / "set", tmp_path / "out")["a"]
    assert mask_HW.sum() == pytest.approx(np.pi * 8**2, rel=0.05)
    assert mask_HW[12, 16] == 1 and mask_HW[2, 16] == 0


def test_labelme_folders_of_splits_stay_splits_and_windows_paths_are_read(tmp_path: Path):
    square = shape("car", [[2, 2], [9, 2], [9, 9], [2, 9]])
    labelled(tmp_path / "set" / "train" / "a.png", square, path="..\\old\\a.png")
    labelled(tmp_path / "set" / "val" / "b.png", square)
    save(tmp_path / "set" / "val" / "not_yet_annotated.png", noise(2))
    assert set(converted(tmp_path / "set", tmp_path / "out")) == {"train/a", "val/b"}


def test_labelme_names_of_data_yaml_give_the_order(tmp_path: Path):
    labelled(tmp_path / "set" / "a.png", shape("car", [[2, 2], [9, 2], [9, 9], [2, 9]]))
    (tmp_path / "set" / "data.yaml").write_text("names: [background, tree, car]\n")
    assert converted(tmp_path / "set", tmp_path / "out")["a"].max() == 2


def test_labelme_labels_that_are_not_named_are_told_with_the_option_that_names_them(tmp_path: Path):
    labelled(tmp_path / "set" / "a.png", shape("van", [[2, 2], [9, 2], [9, 9], [2, 9]]))
    (tmp_path / "set" / "data.yaml").write_text("names: [background, tree, car]\n")
    with pytest.raises(
        DataError, match=r"a\.json says 'van', which is not among the 2 names"
    ) as told:
        converted(tmp_path / "set", tmp_path / "out")
    said = 'names: ["tree", "car", "van"]'
    where = f"--declare '{said}', or `{said}` in {tmp_path / 'set' / 'data.yaml'}."
    assert told.value.fix == f"If it is a class, name it: {where}"
    convert(tmp_path / "set", tmp_path / "out", DataOptions(declare=said))
    assert np.asarray(Image.open(tmp_path / "out" / "masks" / "a.png")).max() == 3


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (shape("car", [[1, 1], [5, 5]], "line"), "holds a line of 'car' that has no area"),
        (shape("car", [[1, 1], [5, 5]]), "holds a polygon of 'car' that has no area"),
    ],
)
def test_labelme_shapes_without_area_are_refused(tmp_path: Path, wrong: dict[str, Any], what: str):
    labelled(tmp_path / "set" / "a.png", wrong)
    with pytest.raises(DataError, match=what) as caught:
        converted(tmp_path / "set", tmp_path / "out")
    assert caught.value.fix == "Draw it as one of polygon, rectangle, circle, or delete it."
    assert not (tmp_path / "out").exists()


def test_a_labelme_file_without_its_image_is_named(tmp_path: Path):
    labelled(tmp_path / "set" / "a.png", shape("car", []))
    (tmp_path / "set" / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.json names a\.png, which is not below .*set\."):
        converted(tmp_path / "set", tmp_path / "out")


def brush(root: Path, task: int, label: str, mask_HW: np.ndarray, annotation: int = 1) -> Path:
    name = f"task-{task}-annotation-{annotation}-by-me@lab.org-tag-{label}-0.png"
    return save(root / name, (mask_HW * 255).astype(np.uint8))


def painted(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Two overlapping brushes on the image of task 7; returns the masks of car and tree-top."""
    car_HW, tree_HW = np.zeros((2, HEIGHT, WIDTH), bool)
    car_HW[4:16, 4:20] = True
    tree_HW[10:14, 10:28] = True
    brush(root, 7, "car", car_HW)
    brush(root, 7, "tree-top", tree_HW)
    save(root / "street.png", noise(3))
    return car_HW, tree_HW


def test_label_studio_brushes_are_merged_with_the_smaller_on_top(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    car_HW, tree_HW = painted(tmp_path / "set")
    tasks = [{"id": 7, "data": {"image": "/data/upload/1/0a1b2c3d-street.png"}}]
    (tmp_path / "set" / "tasks.json").write_text(json.dumps(tasks))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["data", "convert", "set", "out"])
    assert end.value.code == 0
    assert "Where objects overlap, the smaller one lies on top." in capsys.readouterr().out
    expected = np.where(tree_HW, 2, np.where(car_HW, 1, 0))
    assert np.array_equal(np.asarray(Image.open("out/masks/street.png")), expected)
    assert open_data(Path("out")).classes == ("background", "car", "tree-top")


def test_label_studio_tasks_are_found_by_number_where_there_is_no_json(tmp_path: Path):
    painted(tmp_path / "set")
    (tmp_path / "set" / "street.png").rename(tmp_path / "set" / "task-7.png")
    assert set(converted(tmp_path / "set", tmp_path / "out")) == {"task-7"}


def test_a_label_studio_task_without_image_is_named(tmp_path: Path):
    painted(tmp_path / "set")
    with pytest.raises(DataError, match="belongs to task 7, such as task-7-annotation") as caught:
        converted(tmp_path / "set", tmp_path / "out")
    assert "the tasks' JSON file" in caught.value.fix


def test_a_label_studio_task_annotated_twice_is_no_guess(tmp_path: Path):
    car_HW, _ = painted(tmp_path / "set")
    brush(tmp_path / "set", 7, "car", car_HW, annotation=2)
    with pytest.raises(DataError, match=r"task 7 in .* was annotated 2 times \(1, 2\)"):
        converted(tmp_path / "set", tmp_path / "out")


def test_a_label_studio_brush_of_another_size_is_refused(tmp_path: Path):
    painted(tmp_path / "set")
    save(tmp_path / "set" / "task-7.png", noise(1, 30, 30, 3))
    with pytest.raises(DataError, match="is 24 x 32, its image 30 x 30"):
        converted(tmp_path / "set", tmp_path / "out")


def test_labelme_and_label_studio_folders_are_named_with_the_line_that_converts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    labelled(tmp_path / "my set" / "imgs" / "a.png", shape("car", [[6, 4], [10, 4], [10, 8]]))
    json_file = tmp_path / "my set" / "imgs" / "a.json"
    text = json_file.read_text().replace('"a.png"', '"..\\\\imgs\\\\a.png"')
    (tmp_path / "my set" / "jsons").mkdir()
    (tmp_path / "my set" / "jsons" / "a.json").write_text(text)
    json_file.unlink()
    brush(tmp_path / "brushes", 7, "car", np.full((HEIGHT, WIDTH), 255, np.uint8))
    save(tmp_path / "brushes" / "task-7.png", noise(3))
    for folder, kind in (("my set", "LabelMe"), ("brushes", "Label Studio brush")):
        for command in (["data", "check", folder], ["train", "--data", folder, "--dry-run"]):
            with pytest.raises(SystemExit, match="3"):
                main(command)
            told = capsys.readouterr().err
            assert f"{folder} holds annotations of {kind}, which are no masks yet." in told
            line = next(each for each in told.splitlines() if "segkit data convert" in each)
        with pytest.raises(SystemExit, match="0"):
            main(shlex.split(line.partition("segkit ")[2]))
        assert f"1 image written to {folder}-masks." in capsys.readouterr().out
        assert open_data(Path(f"{folder}-masks")).classes == ("background", "car")
