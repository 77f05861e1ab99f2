"""Writing to disk so that a file is there whole or not at all, and naming what the disk refuses."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from segkit.errors import StorageError

FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
FIXES = {
    errno.EACCES: "Give a folder you may write to with --out.",
    errno.EPERM: "Give a folder you may write to with --out.",
    errno.EISDIR: "Move away the folder of that name, and give the command again.",
    errno.ENOTDIR: "Move away the file that stands in the way, and give the command again.",
}
TEMPORARY, RETIRED = ".tmp-", "-old"
SEAL = "sha256_of_this_file"
# Linux: linux/fs.h, RENAME_EXCHANGE; macOS: sys/stdio.h, RENAME_SWAP.
AT_CWD, EXCHANGE = -100, 2
LARGEST_JSON = 2**30
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


@contextmanager
def storage_errors(path: Path, needed: int = 0) -> Iterator[None]:
    """Turns what a disk refuses into StorageError: SK-S001 no room, SK-S002 may not be written.

    needed   bytes that are to be written, where that is known
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = _number(error)
        named = {errno.EFBIG: _too_large, errno.EROFS: _read_only, errno.ENOENT: _gone}
        if number in FULL:
            raise _full(path, needed) from error
        if number in named:
            raise named[number](path, needed) from error
        fix = FIXES.get(number or 0, "Look whether the disk is well, or take another with --out.")
        raise StorageError("SK-S002", f"{path} cannot be written ({error}).", fix) from error


def _number(error: Exception) -> int | None:
    """The system's number of an error; safetensors has it in its words alone."""
    number: int | None = getattr(error, "errno", None)
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if number is None and found else number


def _full(path: Path, needed: int) -> StorageError:
    free = shutil.disk_usage(_existing(path)).free
    wanted = f", {needed:,} are needed" if needed else ""
    return StorageError(
        "SK-S001",
        f"the disk that holds {path} is full ({free:,} bytes are free{wanted}).",
        "Make room on it, and give the command again.",
    )


def _too_large(path: Path, needed: int) -> StorageError:
    wanted = f", and {needed:,} bytes are to be written" if needed else ""
    return StorageError(
        "SK-S001",
        f"{path} would have a larger file than the system allows ({_largest_file()}{wanted}).",
        "Raise the limit in this shell, and give the command again: ulimit -f unlimited",
    )


def _largest_file() -> str:
    try:
        import resource
    except ImportError:  # Windows
        return "its disk's own limit"
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    unlimited = limit == resource.RLIM_INFINITY
    return "its disk's own limit" if unlimited else f"ulimit -f: {limit:,} bytes a file"


def _read_only(path: Path, needed: int) -> StorageError:
    return StorageError(
        "SK-S002",
        f"{path} cannot be written: its disk is mounted for reading only.",
        "Give a folder on another disk with --out, or mount this one for writing.",
    )


def _gone(path: Path, needed: int) -> StorageError:
    return StorageError(
        "SK-S002",
        f"{path} cannot be written: of the folders that lead there only {_existing(path)} is left.",
        "Where it was moved, put it back, and give the command again.",
    )


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder`, complete and on the disk, at the end.

    Where `folder` exists it is replaced; where the block fails, it stays as it was.
    """
    work = Path(tempfile.mkdtemp(prefix=f"{folder.name}{TEMPORARY}", dir=folder.parent))
    try:
        yield work
        for file in work.rglob("*"):
            flush(file)
        flush(work)
        work.chmod(0o755)
        if not folder.exists():
            work.rename(folder)
        elif not _exchange(work, folder):
            retired = work.with_name(f"{work.name}{RETIRED}")
            folder.rename(retired)
            work.rename(folder)
            shutil.rmtree(retired)
        flush(folder.parent)
    finally:
        # Left under this name is what was exchanged, or what could not be completed.
        shutil.rmtree(work, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Gives two paths each other's names at one instant; False where the system cannot."""
    library = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    names = os.fsencode(one), os.fsencode(other)
    sys.audit("os.rename", os.fspath(one), os.fspath(other))
    if linux := getattr(library, "renameat2", None):
        return bool(linux(AT_CWD, names[0], AT_CWD, names[1], EXCHANGE) == 0)
    if macos := getattr(library, "renamex_np", None):
        return bool(macos(*names, EXCHANGE) == 0)
    return False


def remove_folder(folder: Path) -> None:
    """Removes a folder; killed in the middle, it leaves nothing that looks like a whole one."""
    gone = folder.with_name(f"{folder.name}{TEMPORARY}gone")
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


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


def sealed(content: Mapping[str, Any]) -> str:
    """JSON that begins with the SHA-256 of its own text; raises ValueError for NaN."""
    text = json.dumps({SEAL: "", **content}, indent=2, allow_nan=False) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    head, _, tail = text.partition(f'"{SEAL}": ""')
    return f'{head}"{SEAL}": "{digest}"{tail}'


def is_sealed(file: Path, content: Mapping[str, Any]) -> bool:
    """Whether a file, read by `read_json`, is to the byte the text that `sealed` wrote."""
    unsealed = {key: value for key, value in content.items() if key != SEAL}
    return file.read_bytes() == sealed(unsealed).encode()


def checksum(file: Path) -> str:
    """SHA-256, in hexadecimal; raises OSError for what is no plain file."""
    require_plain(file)
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def sweep(folder: Path) -> None:
    """Removes what interrupted writes left; a folder that was being replaced gets its name back."""
    for left in sorted(folder.glob(f"*{TEMPORARY}*")):
        whole = folder / left.name.partition(TEMPORARY)[0]
        if left.name.endswith(RETIRED) and not whole.exists():
            left.rename(whole)
        elif left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.absolute().parents) if each.exists())
