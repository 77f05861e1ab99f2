"""`segkit data download`: a published data set, fetched, checked, unpacked, and then there."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from segkit.data.fetching.archive import place_inside, storage_error, unpack
from segkit.data.fetching.transfer import Progress, fetch
from segkit.errors import DataError, EnvironmentFault, PluginError, StorageError, UsageError
from segkit.interfaces import Archive, PublishedData
from segkit.storage import read_json

RECORD = "segkit-download.json"
PARTIAL = ".partial"
LOCK = ".lock"


@dataclass(frozen=True)
class Fetched:
    """One archive as it came.

    checked  which published checksum it was held to: "sha256", "md5" or, where none is published,
             "none"
    """

    url: str
    bytes: int
    sha256: str
    md5: str
    checked: str


@dataclass(frozen=True)
class Downloaded:
    """A data set that is there: where, its archives, and how many files they held."""

    folder: Path
    archives: tuple[Fetched, ...]
    files: int


def download(
    name: str,
    published: PublishedData,
    out: Path,
    *,
    source: Path | None = None,
    expected: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Downloaded:
    """Fetches a data set's archives and unpacks them to the folder `out`, which must not exist.

    source    folder with the archives, fetched by other means: then no socket is opened
    expected  SHA-256 by file name, beyond those published
    progress  called with (bytes here, bytes in all or None) of each archive

    Works in OUT.part beside it, which a broken download leaves there to go on from, and renames at
    the end. Raises DataError SK-D028 (no archives to be had) or SK-D027 (archive refused),
    UsageError SK-C012, EnvironmentFault SK-D025 or SK-D026, StorageError.
    """
    _refuse_before_anything(name, published, out, expected)
    # Archives fetched by other means are the user's, wherever they lie.
    own = () if source is not None else published.archives
    work = out.with_name(out.name + ".part")
    whole = work / "unpacked"
    try:
        work.mkdir(parents=True, exist_ok=True)
        with _locked(work):
            fetched = []
            for archive in published.archives:
                known = (expected or {}).get(archive.name)
                given = source is not None
                fetched.append(_fetched(archive, source or work, known, progress, given=given))
            shutil.rmtree(whole, ignore_errors=True)
            whole.mkdir()
            files = _unpack_all(published.archives, source or work, whole)
            _record(name, published, fetched, whole / RECORD)
            whole.rename(out)
            _clear(work, own)
    except (DataError, UsageError, EnvironmentFault) as error:
        # Only what did not come whole over the net leaves something to go on from.
        if source is not None or isinstance(error, DataError):
            _clear(work, own)
        raise
    except OSError as error:
        raise storage_error(error, work) from error
    return Downloaded(out, tuple(fetched), files)


def _refuse_before_anything(
    name: str, published: PublishedData, out: Path, expected: Mapping[str, str] | None
) -> None:
    if not published.archives:
        raise DataError(
            "SK-D028", f"{name} is not for download ({published.licence}).", published.by_hand
        )
    if out.exists():
        raise UsageError(
            "SK-C012", f"{out} exists already.", "Use it, or choose another place with --out."
        )
    for archive in published.archives:
        _refuse_unsound(name, archive)
        if expected is not None and archive.name not in expected:
            raise UsageError(
                "SK-C009",
                f"the record given with --expect holds no {archive.name}.",
                f"Give that of another copy of {name}.",
            )


def read_expected(file: Path) -> dict[str, str]:
    """SHA-256 by archive name, from the segkit-download.json of another copy; raises SK-C010."""
    try:
        archives = read_json(file)["archives"]
        return {Archive(str(each["url"])).name: str(each["sha256"]) for each in archives}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            "SK-C010",
            f"{file} is no {RECORD} ({type(error).__name__}: {error}).",
            "Give the one that lies in another copy of the data set.",
        ) from error


@contextmanager
def _locked(work: Path) -> Iterator[None]:
    """Keeps a second download out of the folder; the lock ends with the process."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (work / LOCK).open("a", encoding="utf-8") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(
                "SK-S003",
                f"another process is downloading to {work}.",
                "Wait for it, or choose another place with --out.",
            ) from error
        yield


def _refuse_unsound(name: str, archive: Archive) -> None:
    """A plugin names files and folders: neither may lead out of ours."""
    plain = place_inside(archive.name) is not None and archive.name.strip(".")
    if not archive.url.startswith(("https://", "http://")) or not plain:
        raise PluginError("SK-P003", f"{name} publishes {archive.url!r}, which is no address.")
    if place_inside(archive.into) is None:
        raise PluginError("SK-P003", f"{name} unpacks into {archive.into!r}, outside its folder.")


def _fetched(
    archive: Archive, folder: Path, known: str | None, progress: Progress | None, *, given: bool
) -> Fetched:
    """The archive, whole and checked, in the folder."""
    file = folder / archive.name
    if given and not file.is_file():
        raise UsageError(
            "SK-C009", f"{folder} holds no {archive.name}.", f"Fetch {archive.url} first."
        )
    if given or file.is_file():
        return _checked(archive, file, known)
    part = file.with_name(file.name + PARTIAL)
    certain = bool(archive.sha256 or archive.md5 or known)
    fetch(archive.url, part, largest=archive.largest, by_parts=certain, progress=progress)
    try:
        fetched = _checked(archive, part, known)
    except EnvironmentFault:
        part.unlink()
        raise
    part.rename(file)
    return fetched


def _checked(archive: Archive, file: Path, known: str | None) -> Fetched:
    """Its checksums; raises EnvironmentFault SK-D026 where one is not as published or expected."""
    found = _checksums(file)
    due = {"sha256": archive.sha256, "md5": archive.md5}
    wanted = [(kind, digest) for kind, digest in due.items() if digest]
    wanted += [("sha256", known)] if known else []
    for kind, digest in wanted:
        if found[kind] != digest.lower():
            raise EnvironmentFault(
                "SK-D026",
                f"{archive.name} ({file.stat().st_size:,} bytes) has the {kind.upper()} "
                f"{found[kind]}, not {digest.lower()}.",
                "It was damaged on its way, or its owners have changed it. Try again; if it stays "
                f"so, compare with what {archive.url} offers.",
            )
    checked = wanted[0][0] if wanted else "none"
    return Fetched(archive.url, file.stat().st_size, found["sha256"], found["md5"], checked)


def _checksums(file: Path) -> dict[str, str]:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with file.open("rb") as content:
        while chunk := content.read(1 << 20):
            sha256.update(chunk)
            md5.update(chunk)
    return {"sha256": sha256.hexdigest(), "md5": md5.hexdigest()}


def _unpack_all(archives: tuple[Archive, ...], folder: Path, whole: Path) -> int:
    files = 0
    for archive in archives:
        into = whole / archive.into
        into.mkdir(parents=True, exist_ok=True)
        files += unpack(folder / archive.name, into, largest_whole=archive.largest_whole)
    return files


def _clear(work: Path, archives: tuple[Archive, ...]) -> None:
    """Removes what a download put into its working folder, and the folder if nothing else is."""
    shutil.rmtree(work / "unpacked", ignore_errors=True)
    for archive in archives:
        for suffix in ("", PARTIAL, PARTIAL + ".json"):
            (work / (archive.name + suffix)).unlink(missing_ok=True)
    (work / LOCK).unlink(missing_ok=True)
    with suppress(OSError):
        work.rmdir()


def _record(name: str, published: PublishedData, fetched: list[Fetched], file: Path) -> None:
    """Where the files come from, on what terms, and what came, beside them."""
    content = {
        "dataset": name,
        "homepage": published.homepage,
        "licence": published.licence,
        "citation": published.citation,
        "downloaded": datetime.now(UTC).isoformat(timespec="seconds"),
        "archives": [asdict(each) for each in fetched],
    }
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
