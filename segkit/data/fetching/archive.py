"""Unpacking archives of strangers: no member leaves the folder, no archive swells without limit."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from segkit.errors import DataError, StorageError
from segkit.storage import FULL

LARGEST_WHOLE = 64_000_000_000
# Images and masks shrink little; text at most about a hundredfold.
LARGEST_RATIO = 200
ALWAYS_ALLOWED = 50_000_000
MOST_MEMBERS = 500_000
LONGEST_PART = 255
CHUNK = 1 << 20
# Long names and times take some hundred bytes a member.
MOST_HEADERS = 16_000_000

KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
}
# How a compressed file begins, and what opens it.
PACKED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RecursionError,
)


def unpack(archive: Path, into: Path, *, largest_whole: int = LARGEST_WHOLE) -> int:
    """Unpacks tar (also .gz, .bz2, .xz) or zip into a folder; returns how many files it wrote.

    largest_whole  bytes that all members may have together, counted as they are written

    Only plain files and folders are made, each once, with the rights that new files have here. A
    member called .., absolute, or with a drive, a backslash or a control character is refused; so
    are links, devices and encrypted members, and an archive that swells more than 200-fold (beyond
    50 MB) or has more than 500,000 members. Raises DataError SK-D027 at the first of these and
    where the archive is damaged, StorageError SK-S001 or SK-S002; what was written until then stays
    for the caller to remove.
    """
    try:
        swollen = max(ALWAYS_ALLOWED, LARGEST_RATIO * archive.stat().st_size)
        writer = _Writer(archive, into, min(largest_whole, swollen))
        with archive.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
        (_unpack_zip if is_zip else _unpack_tar)(archive, writer)
    except DAMAGE as error:
        raise _refused(archive, f"is damaged ({type(error).__name__}: {error})") from error
    except OSError as error:
        # gzip and bz2 report damage as an OSError of their own, without a number.
        if error.errno is None:
            raise _refused(archive, f"is damaged ({error})") from error
        raise storage_error(error, into) from error
    return writer.files


def storage_error(error: OSError, folder: Path) -> StorageError:
    """The disk's refusal to write below a folder, as an error of ours."""
    if error.errno in FULL:
        return StorageError("SK-S001", f"the disk that holds {folder} is full.", "Free space.")
    return StorageError(
        "SK-S002", f"{folder} cannot be written ({error.strerror}).", "Choose another place."
    )


def place_inside(name: str) -> PurePosixPath | None:
    """A member's path below the folder, or None where it would leave it or is no sound name."""
    path = PurePosixPath(name)
    unsound = (
        path.is_absolute()
        or ".." in path.parts
        or re.match(r"[A-Za-z]:", name)
        or "\\" in name
        or any(ord(letter) < 32 or ord(letter) == 127 for letter in name)
        or any(len(part.encode("utf-8", "surrogateescape")) > LONGEST_PART for part in path.parts)
    )
    return None if unsound else path


@dataclass
class _Writer:
    """Writes members below a folder until `left` bytes or the most members are used up."""

    archive: Path
    folder: Path
    left: int
    members: int = 0
    files: int = 0

    def target(self, name: str) -> Path:
        self.members += 1
        if self.members > MOST_MEMBERS:
            raise _refused(self.archive, f"has more than {MOST_MEMBERS:,} members")
        place = place_inside(name)
        if place is None:
            raise _refused(self.archive, f"holds {name!r}, which is no name below its folder")
        return self.folder / place

    def make_folder(self, name: str) -> None:
        self._make(self.target(name), name)

    def _make(self, folder: Path, name: str) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise _refused(self.archive, f"holds {name!r} as file and as folder") from error

    def write(self, name: str, content: IO[bytes]) -> None:
        target = self.target(name)
        self._make(target.parent, name)
        try:
            # Exclusive: what is there already is never opened.
            file = target.open("xb")
        except (FileExistsError, IsADirectoryError) as error:
            raise _refused(self.archive, f"holds {name!r} twice") from error
        with file:
            while chunk := content.read(CHUNK):
                self.left -= len(chunk)
                if self.left < 0:
                    raise _refused(self.archive, "swells to more than its limit, like a bomb")
                file.write(chunk)
        self.files += 1


class _Counted:
    """A stream of so many bytes at most: tarfile takes a member's headers into memory whole."""

    def __init__(self, archive: Path, stream: Any, left: int) -> None:
        self.archive, self.stream, self.left = archive, stream, left

    def read(self, size: int) -> bytes:
        content: bytes = self.stream.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise _refused(self.archive, "swells to more than its limit, like a bomb")
        return content


def _unpack_tar(archive: Path, writer: _Writer) -> None:
    with archive.open("rb") as file:
        start = file.read(6)
    plain = next((known for magic, known in PACKED.items() if start.startswith(magic)), Path.open)
    with plain(archive, "rb") as stream:
        # Each member has a header, and its content is filled up to whole blocks.
        counted = _Counted(archive, stream, 2 * writer.left + ALWAYS_ALLOWED)
        _unpack_stream(archive, counted, writer)


def _member_kind(archive: Path) -> type[tarfile.TarInfo]:
    """Members whose extended headers are refused beyond a limit: tarfile reads them whole."""
    read = 0

    class Member(tarfile.TarInfo):
        def _count(self) -> None:
            nonlocal read
            read += self.size
            if read > MOST_HEADERS:
                raise _refused(archive, f"has more than {MOST_HEADERS:,} bytes of headers")

        def _proc_pax(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
            self._count()
            found: tarfile.TarInfo = super()._proc_pax(tar)  # type: ignore[misc]
            return found

        def _proc_gnulong(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
            self._count()
            found: tarfile.TarInfo = super()._proc_gnulong(tar)  # type: ignore[misc]
            return found

    return Member


def _unpack_stream(archive: Path, stream: Any, writer: _Writer) -> None:
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_member_kind(archive)) as tar:
        for member in tar:
            if member.isdir():
                writer.make_folder(member.name)
                continue
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                kind = KINDS.get(member.type, "of an unknown kind")
                raise _refused(archive, f"holds {member.name!r}, which is {kind}")
            with content:
                writer.write(member.name, content)
    # A compressed file's checksum stands behind the tar's end, where tarfile does not look.
    while stream.read(CHUNK):
        pass


def _unpack_zip(archive: Path, writer: _Writer) -> None:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                what = "a symbolic link" if kind == stat.S_IFLNK else "neither file nor folder"
                raise _refused(archive, f"holds {member.filename!r}, which is {what}")
            if member.is_dir():
                writer.make_folder(member.filename)
                continue
            with _opened(archive, packed, member) as content:
                writer.write(member.filename, content)


def _opened(archive: Path, packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    try:
        return packed.open(member)
    # An encrypted member, and a way of packing that zipfile does not know.
    except (RuntimeError, NotImplementedError) as error:
        raise _refused(archive, f"cannot be unpacked ({error})") from error


def _refused(archive: Path, breach: str) -> DataError:
    return DataError(
        "SK-D027",
        f"{archive.name} {breach}.",
        "Nothing of it is kept. Download it again from its owners, or tell them.",
    )
