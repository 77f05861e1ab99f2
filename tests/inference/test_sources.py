"""Which files a prediction means, and that no two results share a name."""

from pathlib import Path

import pytest

from segkit.errors import DataError
from segkit.inference.sources import find_sources


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in ["a/x.png", "b/x.png", "b/x.jpg", "b/deep/y.TIF", "b/notes.txt", "b/._z.png"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*given):
    return {source.path.as_posix(): source.name for source in find_sources(given)}


def test_a_folder_means_all_images_below_it_and_keeps_their_folders(tree):
    assert names("b") == {
        "b/deep/y.TIF": "deep/y",
        "b/x.jpg": "x.jpg",
        "b/x.png": "x.png",
    }


def test_a_pattern_means_its_matches(tree):
    assert names("*/x.png") == {"a/x.png": "a/x", "b/x.png": "b/x"}
    assert names(str(tree / "**/*.TIF")) == {f"{tree.as_posix()}/b/deep/y.TIF": "y"}


def test_equal_names_of_two_folders_are_told_apart_by_the_folders(tree):
    assert names("a/x.png", "b/x.png") == {"a/x.png": "a/x", "b/x.png": "b/x"}
    assert names("a", "b")["b/deep/y.TIF"] == "b/deep/y"


def test_an_image_named_twice_is_predicted_once(tree):
    assert names("a", "a/x.png", "./b/../a/x.png") == {"a/x.png": "x"}


def test_no_name_leads_out_of_the_output_folder(tree):
    found = names("a/../b/x.png", "a/x.png")
    assert all(".." not in Path(name).parts for name in found.values())
    assert len(set(found.values())) == 2


def test_names_that_clash_with_a_suffixed_twin_are_told_apart(tree):
    (tree / "b/x.png.png").touch()
    assert len(set(names("b").values())) == len(names("b"))


def test_a_name_in_two_cases_counts_as_a_clash(tree):
    (tree / "c").mkdir()
    (tree / "c/A.png").touch()
    (tree / "c/a.jpg").touch()
    assert set(names("c").values()) == {"A.png", "a.jpg"}


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("nowhere.png", "there is no file and no folder 'nowhere.png', and nothing matches it."),
        ("b/*.txt", "none of the 1 files that match 'b/*.txt' is an image."),
        ("empty", "the folder empty holds no images."),
    ],
)
def test_what_means_no_image_is_refused(tree, given, what):
    (tree / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        find_sources([given])
    assert (caught.value.code, caught.value.what) == ("SK-D001", what)


def test_images_of_a_format_that_is_not_opened_are_named_with_a_way_out(tree):
    (tree / "scans").mkdir()
    for name in ("a.nii.gz", "b.nii.gz"):
        (tree / "scans" / name).touch()
    with pytest.raises(DataError) as caught:
        find_sources(["scans"])
    assert "2 .nii.gz files, a format that segkit does not open" in caught.value.what
    assert "save each slice by itself" in caught.value.fix
