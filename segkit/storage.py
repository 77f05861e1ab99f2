"""Writing to disk so that a file is there whole or not at all, and naming what the disk refuses."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from segkit.errors import StorageError

FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}
TEMPORARY = ".tmp-"
LARGEST_JSON = 2**30
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns what a disk refuses into StorageError: SK-S001 full, SK-S002 may not be written."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = getattr(error, "errno", None)
        if number in FULL or "No space left" in str(error):
            free = shutil.disk_usage(_existing(path)).free
            raise StorageError(
                "SK-S001",
                f"the disk that holds {path} is full ({free / 2**20:,.0f} MiB are free).",
                "Make room, then continue with --resume; what was complete before is still there.",
            ) from error
        raise StorageError(
            "SK-S002",
            f"{path} cannot be written ({error}).",
            "Give a folder you may write to with --out.",
        ) from error


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder`, complete and on the disk, at the end.

    Where `folder` exists it is replaced; where the block fails, it stays as it was.
    """
    work = Path(tempfile.mkdtemp(prefix=f"{folder.name}{TEMPORARY}", dir=folder.parent))
    try:
        yield work
        for file in work.iterdir():
            flush(file)
        flush(work)
        work.chmod(0o755)
        if folder.exists():
            retired = work.with_name(f"{work.name}-old")
            folder.rename(retired)
            work.rename(folder)
            shutil.rmtree(retired)
        else:
            work.rename(folder)
        flush(folder.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def new_file(file: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary file beside `file`, with its suffix, that takes its place when it is written.

    Where the block fails, `file` stays as it was.

    durable   False: what can be made again is not waited for until it is on the disk
    """
    handle, name = tempfile.mkstemp(
        prefix=f"{file.name}{TEMPORARY}", suffix=file.suffix, dir=file.parent
    )
    os.close(handle)
    work = Path(name)
    try:
        yield work
        if durable:
            flush(work)
        work.chmod(0o644)
        work.replace(file)
        if durable:
            flush(file.parent)
    finally:
        work.unlink(missing_ok=True)


def replace_text(file: Path, text: str, *, durable: bool = True) -> None:
    """Writes a small file in one step (see `new_file`)."""
    with new_file(file, durable=durable) as work:
        work.write_text(text, encoding="utf-8")


def flush(path: Path) -> None:
    """Has the system put a file or a folder's entries on the disk."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class NoPlainFile(OSError):
    """A pipe, a device, a socket or a folder where a file was expected."""


def require_plain(file: Path) -> None:
    """Raises NoPlainFile for a pipe, a device or a folder, which may never end or never answer."""
    kind = file.stat().st_mode
    if not stat.S_ISREG(kind):
        is_ = next((name for test, name in KINDS if test(kind)), "no plain file")
        raise NoPlainFile(f"it is {is_}, and no plain file")


def read_json(file: Path, most: int = LARGEST_JSON) -> Any:
    """The content of a JSON file of at most so many bytes; raises OSError or ValueError."""
    require_plain(file)
    if file.stat().st_size > most:
        raise ValueError(f"it has {file.stat().st_size:,} bytes, and at most {most:,} are read")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("its brackets are nested too deep") from error


def checksum(file: Path) -> str:
    """SHA-256, in hexadecimal; raises OSError for what is no plain file."""
    require_plain(file)
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def sweep(folder: Path) -> None:
    """Removes what an interrupted write left."""
    for left in folder.glob(f"*{TEMPORARY}*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.absolute().parents) if each.exists())
