"""A manifest: the SHA-256 of every file of a data set, in the form that `sha256sum -c` reads.

A few flipped bits in a JPEG still decode; only a manifest from better days finds them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from segkit.data.files.facts import THREADS, Progress
from segkit.data.files.pairing import is_system_file
from segkit.data.findings import Finding
from segkit.errors import DataError, StorageError
from segkit.storage import replace_text

FIX = "Copy the file again from where the manifest was written, or write a new manifest."


def write_manifest(root: Path, file: Path, progress: Progress | None = None) -> int:
    """Writes the manifest of all files below `root`, whole or not at all; returns how many.

    Raises StorageError SK-D018 for a file that cannot be read, SK-S002 where it cannot be written.
    """
    names = _names(root)
    lines = [f"{hashed}  {name}\n" for name, hashed in _hashes(root, names, progress).items()]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_text(file, "".join(lines))
    except OSError as error:
        raise StorageError(
            "SK-S002", f"{file} cannot be written ({error.strerror}).", "Choose another place."
        ) from error
    return len(names)


def against_manifest(root: Path, file: Path, progress: Progress | None = None) -> list[Finding]:
    """A finding for each file that is changed, missing or not listed (SK-D029)."""
    listed = read_manifest(file)
    names = _names(root)
    hashes = _hashes(root, [name for name in names if name in listed], progress)
    changed = [name for name, hashed in hashes.items() if hashed != listed[name]]
    missing = [name for name in listed if name not in set(names)]
    unlisted = [name for name in names if name not in listed]
    told = (
        [(name, f"{root / name} has changed since {file} was written.") for name in changed]
        + [(name, f"{root / name} is missing, and {file} lists it.") for name in missing]
        + [(name, f"{root / name} is not listed in {file}.") for name in unlisted]
    )
    return [Finding("SK-D029", what, FIX, (root / name,)) for name, what in told]


def read_manifest(file: Path) -> dict[str, str]:
    """{name: SHA-256} of a manifest; raises DataError SK-D029."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            "SK-D029", f"{file} cannot be read as a manifest ({error}).", "Check the path."
        ) from error
    listed: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        hashed, _, name = line.partition("  ")
        if len(hashed) != 64 or not name or not set(hashed) <= set("0123456789abcdef"):
            raise DataError(
                "SK-D029",
                f"{file}:{number} is no line of a manifest.",
                "A line is a SHA-256, two spaces and a path; --write-manifest writes them.",
            )
        listed[name] = hashed
    return listed


def _names(root: Path) -> list[str]:
    """Files below the folder, sorted; what operating systems leave behind does not count."""
    below = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return sorted(
        path.as_posix()
        for path in below
        if not any(is_system_file(Path(part)) for part in path.parts)
    )


def _hashes(root: Path, names: Sequence[str], progress: Progress | None) -> dict[str, str]:
    hashes: dict[str, str] = {}
    with ThreadPoolExecutor(THREADS) as pool:
        for name, hashed in zip(
            names, pool.map(lambda name: _sha256(root / name), names), strict=True
        ):
            hashes[name] = hashed
            if progress is not None:
                progress(len(hashes), len(names))
    return hashes


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(
            "SK-D018", f"{path} may not be read ({error.strerror}).", "Change its permissions."
        ) from error
