"""Whether data are what they were, lie where they should, and are fairly split."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segkit.cli.main import main
from segkit.data.checks.edges import edge_agreement, edge_finding
from segkit.data.files.manifest import against_manifest, write_manifest
from segkit.data.opening.inspection import Inspection, inspect
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.errors import DataError

SIDE = 96


def look(root: Path) -> Inspection:
    return inspect(root, DataOptions())


def told(seen: Inspection, code: str) -> list[str]:
    return [finding.what for finding in seen.findings if finding.code == code]


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def discs(root: Path, shift: int = 0, count: int = 12) -> Path:
    """Bright discs on noise; the masks' discs lie `shift` pixels beside them."""
    rng = np.random.default_rng(2)
    for number in range(count):
        grey_HW = rng.normal(60, 12, (SIDE, SIDE))
        mask_HW = np.zeros((SIDE, SIDE), np.uint8)
        for _ in range(3):
            x, y = rng.integers(16, SIDE - 16, 2).tolist()
            disc_HW = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (x, y), 8, 1, -1)
            grey_HW += 90 * disc_HW
            mask_HW |= np.roll(disc_HW, (shift, shift), (0, 1))
        save(root / "images" / f"{number}.png", grey_HW.clip(0, 255).astype(np.uint8))
        save(root / "masks" / f"{number}.png", mask_HW)
    return root


def film(root: Path, val: range, *, moving: bool = True, count: int = 24) -> Path:
    """A scene that drifts by two pixels a frame, or as many pictures of their own."""
    rng = np.random.default_rng(4)
    scene_HW = cv2.GaussianBlur(rng.random((SIDE, SIDE + 2 * count)), (0, 0), 6)
    scene_HW = (255 * (scene_HW - scene_HW.min()) / np.ptp(scene_HW)).astype(np.uint8)
    for number in range(count):
        split = "val" if number in val else "train"
        frame_HW = scene_HW[:, 2 * number : 2 * number + SIDE]
        if not moving:
            blurred_HW = cv2.GaussianBlur(rng.random((SIDE, SIDE)), (0, 0), 6)
            frame_HW = (255 * (blurred_HW - blurred_HW.min()) / np.ptp(blurred_HW)).astype(np.uint8)
        save(root / "images" / split / f"cam_{number:04}.png", frame_HW)
        save(root / "masks" / split / f"cam_{number:04}.png", np.tri(SIDE, dtype=np.uint8))
    return root


def test_frames_from_between_training_frames_are_told(tmp_path: Path):
    seen = look(film(tmp_path / "set", range(10, 14)))
    (what,) = told(seen, "SK-D031")
    assert what.startswith("4 of 4 images in val are frames from between training frames")
    assert "cam_0010.png" in what
    assert not seen.has_errors
    assert any(what in note for note in open_data(tmp_path / "set").notes)


def test_the_end_of_a_recording_is_a_fair_split(tmp_path: Path):
    assert told(look(film(tmp_path / "set", range(20, 24))), "SK-D031") == []


def test_numbered_photographs_are_no_recording(tmp_path: Path):
    assert told(look(film(tmp_path / "set", range(10, 14), moving=False)), "SK-D031") == []


def test_masks_on_their_pictures_fit_there_alone(tmp_path: Path):
    right = edge_agreement(look(discs(tmp_path / "right")))
    assert right is not None
    assert edge_finding(right) == [] and right.anywhere < 0.02
    (finding,) = edge_finding(replace(right, anywhere=0.3))
    assert "they fit as well in 30% of them" in finding.what


def test_masks_moved_a_little_are_told_with_how_far_and_where_to(tmp_path: Path):
    moved = edge_agreement(look(discs(tmp_path / "moved", shift=5)))
    assert moved is not None and moved.is_shifted
    assert (moved.down, moved.right) == pytest.approx((5 / SIDE, 5 / SIDE), abs=0.012)
    (finding,) = edge_finding(moved)
    assert "of the height too low and" in finding.what and "too far right" in finding.what


def test_a_few_pairs_or_masks_without_edges_tell_nothing(tmp_path: Path):
    assert edge_agreement(look(discs(tmp_path / "few", count=4))) is None
    root = discs(tmp_path / "plain")
    for path in (root / "masks").iterdir():
        save(path, np.full((SIDE, SIDE), path.stem == "0", np.uint8))
    assert edge_agreement(look(root)) is None


def test_the_check_warns_of_masks_that_lie_beside_their_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    discs(tmp_path / "set", shift=5)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["data", "check", "set"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    assert "warning SK-D032" in text and "Look at the contact sheet" in text
    assert json.loads((tmp_path / "check-set" / "check.json").read_text())["edges"]["pairs"] == 12


@pytest.mark.integration
@pytest.mark.parametrize(
    "name", ["camvid", "isbi2012", "ctc_phc_u373", "drive", "dsb2018", "m2nist", "pets_cat_dog"]
)
def test_masks_of_real_sets_follow_their_pictures(real_data: Path, name: str):
    objects = "foreground" if name.startswith("ctc") else None
    agreement = edge_agreement(inspect(real_data / name, DataOptions(instances=objects)))
    assert agreement is not None and edge_finding(agreement) == []


def test_a_band_that_is_ignored_hides_no_border(tmp_path: Path):
    """As the trimaps of pets have it: the border lies in the middle of the band."""
    for shift, told in ((0, False), (5, True)):
        root = discs(tmp_path / str(shift), shift=shift, count=6)
        for path in (root / "masks").iterdir():
            mask_HW = np.array(Image.open(path))
            band = [turn(mask_HW, np.ones((5, 5))) for turn in (cv2.dilate, cv2.erode)]
            save(path, np.where(band[0] != band[1], 255, mask_HW).astype(np.uint8))
        agreement = edge_agreement(look(root))
        assert agreement is not None and agreement.is_shifted == told


def test_masks_that_are_not_understood_yet_have_no_outlines(tmp_path: Path):
    root = discs(tmp_path / "set", shift=5)
    for path in (root / "masks").iterdir():
        save(path, np.array(Image.open(path)) + 1)
    assert edge_agreement(look(root)) is None
    (finding,) = edge_finding(edge_agreement(inspect(root, DataOptions(binarize=2))))
    assert finding.code == "SK-D032"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "flatters"), [("camvid", True), ("isbi2012", False), ("m2nist", False)]
)
def test_real_recordings_are_told_from_other_numbered_files(
    real_data: Path, name: str, flatters: bool
):
    assert bool(told(look(real_data / name), "SK-D031")) == flatters


def test_a_manifest_finds_flipped_bits_that_still_decode(tmp_path: Path):
    root = discs(tmp_path / "set")
    photo = root / "images" / "0.png"
    Image.open(photo).save(root / "images" / "0.bmp")
    photo.unlink()
    assert write_manifest(root, tmp_path / "set.sha256") == 24
    assert against_manifest(root, tmp_path / "set.sha256") == []
    content = bytearray((root / "images" / "0.bmp").read_bytes())
    content[-100] ^= 1
    (root / "images" / "0.bmp").write_bytes(content)
    assert not look(root).has_errors
    (finding,) = against_manifest(root, tmp_path / "set.sha256")
    assert finding.code == "SK-D029"
    assert finding.what.startswith(f"{root / 'images' / '0.bmp'} has changed since ")


def test_a_manifest_finds_missing_and_unlisted_files(tmp_path: Path):
    root = discs(tmp_path / "set")
    write_manifest(root, tmp_path / "set.sha256")
    (root / "masks" / "3.png").rename(root / "masks" / "three.png")
    (root / "images" / ".DS_Store").write_text("")
    findings = against_manifest(root, tmp_path / "set.sha256")
    told = [finding.what.split("/")[-1] for finding in findings]
    assert told == ["set.sha256 lists it.", "set.sha256."]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_a_manifest_is_what_sha256sum_reads(tmp_path: Path):
    root = discs(tmp_path / "set")
    write_manifest(root, tmp_path / "set.sha256")
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", str(tmp_path / "set.sha256")],
        cwd=root,
        capture_output=True,
        check=False,
    )
    assert checked.returncode == 0 and checked.stdout.count(b": OK") == 24


@pytest.mark.parametrize("content", ["not a manifest\n", "0" * 64 + " a.png\n", "z" * 64 + "  a\n"])
def test_a_file_that_is_no_manifest_is_refused_with_its_line(tmp_path: Path, content: str):
    (tmp_path / "list").write_text(content)
    with pytest.raises(DataError, match=r"list:1 is no line of a manifest\."):
        against_manifest(discs(tmp_path / "set", count=2), tmp_path / "list")


def test_the_command_writes_and_compares_a_manifest_outside_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    discs(tmp_path / "set")
    monkeypatch.chdir(tmp_path)

    def status(*arguments: str) -> object:
        with pytest.raises(SystemExit) as end:
            main(["data", "check", "set", *arguments])
        return end.value.code

    assert status("--write-manifest", "set/set.sha256") == 2
    assert status("--write-manifest", "set.sha256") == 0
    assert status("--manifest", "set.sha256") == 0
    (tmp_path / "set" / "masks" / "0.png").touch()
    assert status("--manifest", "set.sha256") == 0
    save(tmp_path / "set" / "masks" / "0.png", np.tri(SIDE, dtype=np.uint8))
    capsys.readouterr()
    assert status("--manifest", "set.sha256") == 3
    assert "set/masks/0.png has changed since set.sha256 was written." in capsys.readouterr().out
