"""Archives of strangers: no member leaves the folder, and none is written that is no plain file."""

from __future__ import annotations

import io
import stat
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from segkit.data.fetching import archive as unpacking
from segkit.data.fetching.archive import unpack
from segkit.errors import DataError

Member = tuple[str, bytes] | tarfile.TarInfo


def make_tar(file: Path, *members: Member, mode: str = "w:gz") -> Path:
    with tarfile.open(file, mode) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file


def make_zip(file: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return file


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "outer" / "into"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_unpacked_as_it_was_packed(tmp_path, into, mode):
    file = make_tar(tmp_path / "a.tar", ("./x/a.txt", b"one"), ("x/y/b.txt", b""), mode=mode)
    assert unpack(file, into) == 2
    assert content_of(into) == {"x/a.txt": b"one", "x/y/b.txt": b""}


def test_a_zip_is_unpacked_as_it_was_packed(tmp_path, into):
    file = make_zip(tmp_path / "a.zip", ("x/", b""), ("x/a.txt", b"one"), ("ü 文.txt", b"two"))
    assert unpack(file, into) == 2
    assert content_of(into) == {"x/a.txt": b"one", "ü 文.txt": b"two"}


NAMES_OUTSIDE = ["../a", "x/../../a", "/tmp/segkit-a", "..", "C:/a", "c:a", "x\\..\\..\\a", "a\nb"]
TOO_LONG = "a" * 256


@pytest.mark.parametrize("name", [*NAMES_OUTSIDE, TOO_LONG])
@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path, into, name, make):
    file = make(tmp_path / "hostile", ("first", b"good"), (name, b"bad"))
    with pytest.raises(DataError, match=r"SK-D027: hostile holds .* no name below its folder"):
        unpack(file, into)
    assert content_of(tmp_path / "outer") == {"into/first": b"good"}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a named pipe"),
    ],
)
def test_links_devices_and_pipes_are_refused(tmp_path, into, kind, words):
    file = make_tar(tmp_path / "hostile.tar.gz", special("x", kind, "first"), ("x/a", b"bad"))
    with pytest.raises(DataError) as caught:
        unpack(file, into)
    assert caught.value.what == f"hostile.tar.gz holds 'x', which is {words}."
    assert list(into.iterdir()) == []


def test_a_link_that_a_later_member_would_write_through_is_never_made(tmp_path, into):
    outside = tmp_path / "outside"
    outside.mkdir()
    link = special("x", tarfile.SYMTYPE, str(outside))
    with pytest.raises(DataError, match="SK-D027"):
        unpack(make_tar(tmp_path / "a.tar", link, ("x/a", b"bad")), into)
    assert list(outside.iterdir()) == []


def test_a_link_that_was_there_before_is_not_written_through(tmp_path, into):
    precious = tmp_path / "precious"
    precious.write_bytes(b"kept")
    (into / "a").symlink_to(precious)
    with pytest.raises(DataError, match="holds 'a' twice"):
        unpack(make_tar(tmp_path / "a.tar", ("a", b"bad")), into)
    assert precious.read_bytes() == b"kept"


def test_a_link_in_a_zip_is_refused(tmp_path, into):
    file = make_zip(tmp_path / "a.zip", (zip_link("x"), b"/etc/passwd"))
    with pytest.raises(DataError, match=r"a\.zip holds 'x', which is a symbolic link"):
        unpack(file, into)
    assert list(into.iterdir()) == []


@pytest.mark.parametrize("make", [make_tar, make_zip])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_given_twice_is_refused(tmp_path, into, make):
    with pytest.raises(DataError, match="holds 'a' twice"):
        unpack(make(tmp_path / "x", ("a", b"one"), ("a", b"two")), into)


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_a_file_that_is_a_folder_too_is_refused(tmp_path, into, make):
    with pytest.raises(DataError, match="as file and as folder"):
        unpack(make(tmp_path / "x", ("a", b"one"), ("a/b", b"two")), into)


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_a_bomb_is_stopped_while_it_swells(tmp_path, into, make, monkeypatch):
    monkeypatch.setattr(unpacking, "ALWAYS_ALLOWED", 1_000_000)
    monkeypatch.setattr(unpacking, "CHUNK", 10_000)
    file = make(tmp_path / "bomb", ("zeros", bytes(20_000_000)))
    assert file.stat().st_size < 50_000
    with pytest.raises(DataError, match="bomb swells to more than its limit"):
        unpack(file, into)
    written = sum(len(content) for content in content_of(into).values())
    assert written <= max(1_000_000, 200 * file.stat().st_size)


def test_a_bomb_in_a_header_is_stopped_before_it_is_in_memory(tmp_path, into, monkeypatch):
    monkeypatch.setattr(unpacking, "ALWAYS_ALLOWED", 1_000_000)
    info = tarfile.TarInfo("a")
    info.pax_headers = {"comment": "0" * 50_000_000}
    file = make_tar(tmp_path / "bomb", info)
    tracemalloc.start()
    with pytest.raises(DataError, match="bomb has more than 16,000,000 bytes of headers"):
        unpack(file, into)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 45_000_000


def test_content_beyond_what_was_published_is_refused(tmp_path, into):
    file = make_tar(tmp_path / "a.tar", ("a", b"12345"), ("b", b"67890"))
    assert unpack(file, into, largest_whole=10) == 2
    with pytest.raises(DataError, match="swells to more than its limit"):
        unpack(file, into.parent / "again", largest_whole=9)


def test_an_archive_of_endlessly_many_members_is_refused(tmp_path, into, monkeypatch):
    monkeypatch.setattr(unpacking, "MOST_MEMBERS", 10)
    file = make_tar(tmp_path / "a.tar", *((f"{number}", b"") for number in range(11)))
    with pytest.raises(DataError, match=r"a.tar has more than 10 members\."):
        unpack(file, into)


def test_an_encrypted_zip_is_refused(tmp_path, into):
    file = make_zip(tmp_path / "a.zip", ("a", b"secret"))
    content = bytearray(file.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + place] |= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"a.zip cannot be unpacked \(.*encrypted"):
        unpack(file, into)


def no_archive(file: Path) -> None:
    file.write_bytes(b"<!doctype html><title>Sign in</title>" * 100)


def cut_tar_gz(file: Path) -> None:
    content = make_tar(file, ("a", bytes(range(256)) * 100)).read_bytes()
    file.write_bytes(content[: len(content) // 2])


def cut_zip(file: Path) -> None:
    content = make_zip(file, ("a", bytes(range(256)) * 100)).read_bytes()
    file.write_bytes(content[: len(content) // 2])


def flipped_gz(file: Path) -> None:
    content = bytearray(make_tar(file, ("a", bytes(range(256)) * 100)).read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)


def flipped_zip(file: Path) -> None:
    content = bytearray(make_zip(file, ("a", bytes(range(256)) * 100)).read_bytes())
    content[60] ^= 255
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [no_archive, cut_tar_gz, cut_zip, flipped_gz, flipped_zip])
def test_what_is_damaged_or_no_archive_is_named(tmp_path, into, damage: Callable[[Path], None]):
    file = tmp_path / "images.tar.gz"
    damage(file)
    with pytest.raises(DataError, match=r"SK-D027: images\.tar\.gz is damaged"):
        unpack(file, into)


def test_rights_beyond_those_of_new_files_are_not_taken_over(tmp_path, into):
    info = tarfile.TarInfo("run")
    info.mode = 0o6777
    unpack(make_tar(tmp_path / "a.tar", info), into)
    assert not (into / "run").stat().st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IXUSR)
