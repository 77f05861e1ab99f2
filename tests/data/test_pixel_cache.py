"""The cache of decoded pixels: same numbers, no file opened twice, bounded, and safe to damage."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.data.files.array_file import read_at
from segkit.data.files.pixel_cache import PixelCache, open_cache, size
from segkit.data.loader import TrainingLoader
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.errors import UsageError
from segkit.interfaces import Dataset
from segkit.storage import TEMPORARY

SIDE = 48
MakeSet = Callable[..., Path]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight JPEG photographs, one of them turned by EXIF, with index masks."""
    rng = np.random.default_rng(0)
    for number in range(8):
        shape = (SIDE, SIDE + 16)
        for part, suffix in (("images", "jpg"), ("masks", "png")):
            path = tmp_path / "photos" / part / f"{number}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if part == "masks":
                labels_HW = rng.integers(0, 3, shape[::-1] if number == 3 else shape, np.uint8)
                Image.fromarray(labels_HW).save(path)
                continue
            exif = Image.Exif()
            exif[274] = 6 if number == 3 else 1
            Image.fromarray(rng.integers(0, 256, (*shape, 3), np.uint8)).save(path, exif=exif)
    return tmp_path / "photos"


def kept(own_cache: Path) -> list[Path]:
    return [path for path in (own_cache / "pixels").rglob("*") if path.is_file()]


def samples(dataset: Dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(dataset[i].image, dataset[i].mask) for i in range(len(dataset))]


def same(one: Dataset, other: Dataset) -> bool:
    pairs = zip(samples(one), samples(other), strict=True)
    return all(
        np.array_equal(a, b) and a.dtype == b.dtype
        for left, right in pairs
        for a, b in zip(left, right, strict=True)
    )


def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was decoded")

    monkeypatch.setattr("segkit.data.files.images.decode", refuse)
    monkeypatch.setattr("segkit.data.files.masks.decode", refuse)


def test_the_second_epoch_decodes_no_file_and_gives_the_same_batches(
    photos: Path, monkeypatch: pytest.MonkeyPatch
):
    def batches(cache: str) -> list[torch.Tensor]:
        data = open_data(photos, DataOptions(cache=cache))
        loader = TrainingLoader(data.split("train"), size=32, batch=2, seed=1)
        first = [batch.image_BCHW for batch in loader.epoch(0)]
        if cache == "on":
            no_decoding(monkeypatch)
        return first + [batch.image_BCHW for batch in loader.epoch(1)]

    without, with_cache = batches("off"), batches("on")
    assert all(torch.equal(a, b) for a, b in zip(without, with_cache, strict=True))


def test_without_the_cache_the_second_epoch_does_decode(
    photos: Path, monkeypatch: pytest.MonkeyPatch
):
    dataset = open_data(photos).split("all")
    samples(dataset)
    no_decoding(monkeypatch)
    with pytest.raises(AssertionError, match="a file was decoded"):
        samples(dataset)


def test_kept_pixels_are_those_of_the_files_also_for_another_process(photos: Path):
    plain = open_data(photos).split("all")
    assert same(plain, open_data(photos, DataOptions(cache="auto")).split("all"))
    assert same(plain, open_data(photos, DataOptions(cache="auto")).split("all"))
    loader = TrainingLoader(
        open_data(photos, DataOptions(cache="auto")).split("all"),
        size=32,
        batch=4,
        seed=0,
        workers=2,
    )
    plainly = TrainingLoader(plain, size=32, batch=4, seed=0)
    for one, other in zip(loader.epoch(0), plainly.epoch(0), strict=True):
        assert torch.equal(one.image_BCHW, other.image_BCHW)


def test_colour_masks_and_channels_have_sets_of_their_own(make_set: MakeSet, own_cache: Path):
    colours = np.zeros((SIDE, SIDE, 3), np.uint8)
    colours[:, 20:] = (255, 0, 0)
    yaml = "palette: {ground: [0, 0, 0], car: [255, 0, 0]}\n"
    root = make_set({"a": colours, "b": colours}, yaml=yaml)
    for channels in (1, 3):
        plain, cached = (
            open_data(root, DataOptions(in_channels=channels, cache=mode)).split("all")
            for mode in ("off", "on")
        )
        assert same(plain, cached)
        assert same(plain, cached)
    assert len(list((own_cache / "pixels").iterdir())) == 2


def test_a_file_changed_in_mid_run_is_read_anew_and_its_old_entry_goes(
    photos: Path, own_cache: Path
):
    dataset = open_data(photos, DataOptions(cache="on")).split("all")
    samples(dataset)
    before = {path.name for path in kept(own_cache)}
    changed = np.full((SIDE, SIDE + 16, 3), 7, np.uint8)
    Image.fromarray(changed).save(photos / "images" / "0.jpg")
    assert np.array_equal(dataset[0].image, changed)
    samples(open_data(photos, DataOptions(cache="on")).split("all"))
    after = {path.name for path in kept(own_cache)}
    assert len(after) == len(before) and len(after - before) == 1


def test_a_file_that_looks_changed_but_holds_the_same_is_found_by_its_content(
    photos: Path, monkeypatch: pytest.MonkeyPatch
):
    samples(open_data(photos, DataOptions(cache="on")).split("all"))
    for path in photos.rglob("*.*"):
        os.utime(path, (1, 1))
    dataset = open_data(photos, DataOptions(cache="on")).split("all")
    no_decoding(monkeypatch)
    assert len(samples(dataset)) == 8


def cut(content: bytes) -> bytes:
    return content[:-5]


def flip(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 4]) + content[-8:]


@pytest.mark.parametrize(
    "damage", [cut, flip, lambda _: b"", lambda _: b"{}", lambda c: b"\xff" * len(c)]
)
def test_a_damaged_entry_is_decoded_and_written_anew(
    photos: Path, own_cache: Path, damage: Callable[[bytes], bytes]
):
    samples(open_data(photos, DataOptions(cache="on")).split("all"))
    whole = {path: path.read_bytes() for path in kept(own_cache)}
    for path, content in whole.items():
        path.write_bytes(damage(content))
    assert same(
        open_data(photos).split("all"), open_data(photos, DataOptions(cache="on")).split("all")
    )
    assert {path: path.read_bytes() for path in kept(own_cache)} == whole


def test_sets_unused_for_longest_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEGKIT_CACHE_GB", "0.00003")
    for age, name in enumerate(("new", "middle", "old")):
        folder = tmp_path / "pixels" / name
        folder.mkdir(parents=True)
        (folder / "entry").write_bytes(bytes(10_000))
        os.utime(folder, (1e9 - age, 1e9 - age))
    cache, note = open_cache(tmp_path / "pixels" / "mine", [], 15_000, "auto")
    assert cache is not None and note.endswith(": 15 kB.")
    assert {path.name for path in (tmp_path / "pixels").iterdir()} == {"mine", "new"}


def test_a_set_beyond_the_limit_is_decoded_every_time_or_refused(
    photos: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SEGKIT_CACHE_GB", "0.00001")
    data = open_data(photos, DataOptions(cache="auto"))
    assert "Every epoch decodes the files: the decoded pixels take 98.3 kB" in data.notes[-1]
    samples(data.split("all"))
    assert kept(own_cache) == []
    with pytest.raises(UsageError, match="may hold 10 kB") as caught:
        open_data(photos, DataOptions(cache="on"))
    assert "SEGKIT_CACHE_GB" in caught.value.fix


def test_a_limit_that_is_no_number_is_refused(photos: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEGKIT_CACHE_GB", "much")
    with pytest.raises(UsageError, match="SEGKIT_CACHE_GB is 'much'"):
        open_data(photos, DataOptions(cache="auto"))


def test_where_nothing_can_be_kept_training_goes_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SEGKIT_CACHE", str(tmp_path / "file"))
    data = open_data(photos, DataOptions(cache="auto"))
    assert data.notes[-1].startswith("Decoded pixels are not cached:")
    assert same(open_data(photos).split("all"), data.split("all"))


def test_a_set_removed_in_mid_run_is_written_anew(photos: Path, own_cache: Path):
    dataset = open_data(photos, DataOptions(cache="on")).split("all")
    held = dataset[0].image
    for path in kept(own_cache):
        path.unlink()
    assert held.shape == (SIDE, SIDE + 16, 3) and held.sum() > 0
    assert same(open_data(photos).split("all"), dataset)
    assert len(kept(own_cache)) == 16


def test_many_writers_of_one_entry_leave_one_whole_entry(tmp_path: Path):
    source = tmp_path / "a.bin"
    source.write_bytes(b"content")
    seen = (7, source.stat().st_mtime_ns)
    array = np.arange(200_000, dtype=np.int32).reshape(400, 500)
    caches = [PixelCache(tmp_path / "set") for _ in range(8)]
    found: list[bool] = []

    def use(cache: PixelCache) -> None:
        found.append(np.array_equal(cache.array("entry", {source: seen}, lambda: array), array))

    threads = [threading.Thread(target=use, args=(cache,)) for cache in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["entry"]


def test_what_a_killed_process_leaves_is_no_entry_and_is_swept_later(photos: Path, own_cache: Path):
    folder = open_data(photos, DataOptions(cache="on")).split("all").reader.cache.folder
    code = (
        "import os, sys, pathlib\n"
        "from segkit.data.opening.open import open_data\n"
        "from segkit.data.options import DataOptions\n"
        "pathlib.Path.replace = lambda *_: os._exit(9)\n"
        "open_data(pathlib.Path(sys.argv[1]), DataOptions(cache='on')).split('all')[0]\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(photos)], check=False)
    assert ended.returncode == 9
    (left,) = kept(own_cache)
    assert TEMPORARY in left.name and left.parent == folder
    os.utime(left, (1e9, 1e9))
    assert same(
        open_data(photos).split("all"), open_data(photos, DataOptions(cache="on")).split("all")
    )
    assert not left.exists()


def test_sizes_are_told_in_units_people_read():
    assert [size(n) for n in (0, 999, 1_230_000, 45.6e9)] == ["0 B", "999 B", "1.23 MB", "45.6 GB"]


def test_the_cache_writes_nothing_into_the_data_folder(photos: Path):
    def tree() -> dict[Path, tuple[int, bytes]]:
        files = (path for path in sorted(photos.rglob("*")) if path.is_file())
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    before = tree()
    folders = [photos, photos / "images", photos / "masks"]
    for folder in folders:
        folder.chmod(0o555)
    try:
        samples(open_data(photos, DataOptions(cache="on")).split("all"))
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert tree() == before


def test_a_crop_from_the_cache_reads_its_rows_and_no_more(
    photos: Path, monkeypatch: pytest.MonkeyPatch
):
    dataset = open_data(photos, DataOptions(cache="on")).split("all")
    whole = [dataset[index] for index in range(8)]
    samples(dataset)
    bytes_read: list[int] = []

    def watched(*given) -> int:
        bytes_read.append(read_at(*given))
        return bytes_read[-1]

    monkeypatch.setattr("segkit.data.files.array_file.read_at", watched)
    for index in (0, 5):
        stored = dataset.stored(index)
        part = slice(3, 13), slice(20, 30)
        assert stored.image.shape == whole[index].image.shape
        assert np.array_equal(stored.image[part], whole[index].image[part])
        assert np.array_equal(stored.labels(stored.mask[part]), whole[index].mask[part])
    width = whole[0].image.shape[1]
    assert bytes_read == [10 * width * 3, 10 * width] * 2


def test_a_system_without_positioned_reads_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "numbers"
    file.write_bytes(bytes(range(100)))
    found = []
    for positioned in (True, False):
        if not positioned:
            monkeypatch.delattr("os.preadv", raising=False)
        room = np.zeros(30, np.uint8)
        found.append((read_at(str(file), 80, room), room.tolist()))
    assert found[0] == found[1] == (20, [*range(80, 100), *[0] * 10])


def test_an_entry_cut_short_in_mid_run_is_read_from_the_files(photos: Path, own_cache: Path):
    dataset = open_data(photos, DataOptions(cache="on")).split("all")
    samples(dataset)
    samples(dataset)
    for path in kept(own_cache):
        path.write_bytes(path.read_bytes()[:300])
    plain, stored = open_data(photos).split("all")[2], dataset.stored(2)
    everything = slice(None), slice(None)
    assert np.array_equal(stored.image[everything], plain.image)
    assert np.array_equal(stored.labels(stored.mask[everything]), plain.mask)
