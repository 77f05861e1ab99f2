"""One file over HTTP: continued where it was broken off, never more than it may have."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit.data.fetching.archive import storage_error
from segkit.errors import EnvironmentFault, StorageError

ATTEMPTS = 5
PAUSE_SECONDS = 1.0
ANSWER_SECONDS = 30.0
CHUNK = 1 << 18

Progress = Callable[[int, int | None], None]


class BrokenOff(Exception):
    """The connection ended before the file did; what has come is kept."""


def fetch(
    url: str, part: Path, *, largest: int, by_parts: bool, progress: Progress | None = None
) -> None:
    """Completes the file `part` from a URL; raises EnvironmentFault SK-D025, StorageError.

    largest   bytes that it may have
    by_parts  what was fetched earlier may be continued even where the server does not say whether
              its file is still the same: a checksum will tell
    progress  called with (bytes here, bytes in all or None)

    A connection that breaks is taken up again, five times without a byte in between.
    """
    attempts = ATTEMPTS
    while True:
        before = _size(part)
        try:
            _Transfer(url, part, largest, by_parts, progress).run()
            return
        except urllib.error.HTTPError as error:
            error.close()
            raise _failed(url, part, f"the server answers {error.code} {error.reason}") from error
        except (urllib.error.URLError, http.client.HTTPException, BrokenOff, OSError) as error:
            attempts = ATTEMPTS if _size(part) > before else attempts - 1
            cause = getattr(error, "reason", error)
            if isinstance(cause, ValueError) or attempts < 1:
                raise _failed(url, part, f"{type(error).__name__}: {cause}") from error
            time.sleep(PAUSE_SECONDS * (ATTEMPTS - attempts))


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _failed(url: str, part: Path, cause: str) -> EnvironmentFault:
    have = _size(part)
    kept = f" {have:,} bytes of it are kept." if have else ""
    return EnvironmentFault(
        "SK-D025",
        f"{url} could not be downloaded ({cause}).",
        f"The same command again goes on from there.{kept}"
        if have
        else "Try again later; or fetch it by other means and give its folder with --from.",
    )


@dataclass
class _Transfer:
    """One connection."""

    url: str
    part: Path
    largest: int
    by_parts: bool
    progress: Progress | None

    def run(self) -> None:
        have = self._usable()
        headers = {"Accept-Encoding": "identity", "User-Agent": "segkit"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if self._validator():
                headers["If-Range"] = self._validator()
        request = urllib.request.Request(self.url, headers=headers)
        try:
            response = _opener().open(request, timeout=ANSWER_SECONDS)
        except urllib.error.HTTPError as error:
            if error.code != 416 or not have:
                raise
            error.close()
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return
            self.part.unlink()
            raise BrokenOff("the part that is here does not fit the server's file") from error
        with response:
            self._receive(response, have)

    def _usable(self) -> int:
        have = _size(self.part)
        if have and not self._validator() and not self.by_parts:
            return 0
        return have

    @property
    def _note(self) -> Path:
        return self.part.with_name(self.part.name + ".json")

    def _validator(self) -> str:
        """What the server called the file's version when the part was begun; "" where nothing."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads(self._note.read_text(encoding="utf-8"))
            return str(note["validator"]) if note["url"] == self.url else ""
        return ""

    def _receive(self, response: Any, have: int) -> None:
        continued = response.status == 206
        total = _total(response, have) if continued else _length(response)
        if continued and total is None:
            self.part.unlink(missing_ok=True)
            raise BrokenOff("the server sent another part than the one asked for")
        start = have if continued else 0
        self._refuse_too_large(total or 0)
        self._refuse_without_space((total or start) - start)
        if not continued:
            note = {"url": self.url, "validator": _version(response)}
            self._note.write_text(json.dumps(note), encoding="utf-8")
        with self.part.open("ab" if continued else "wb") as file:
            while chunk := response.read(CHUNK):
                start += len(chunk)
                self._refuse_too_large(start)
                _write(file, chunk, self.part)
                if self.progress is not None:
                    self.progress(start, total)
        if total is not None and start < total:
            raise BrokenOff(f"the connection ended after {start:,} of {total:,} bytes")

    def _refuse_too_large(self, size: int) -> None:
        if size > self.largest:
            raise EnvironmentFault(
                "SK-D025",
                f"{self.url} has {size:,} bytes or more; it may have {self.largest:,}.",
                "It is not what was published: tell its owners.",
            )

    def _refuse_without_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if needed > free:
            raise StorageError(
                "SK-S001",
                f"{self.part.parent} has {free:,} bytes free, and {needed:,} are needed.",
                "Free space, or choose another place with --out.",
            )


def _write(file: Any, chunk: bytes, part: Path) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise storage_error(error, part.parent) from error


def _length(response: Any) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _total(response: Any, have: int) -> int | None:
    """Bytes of the whole file, where the answer continues what is here; else None."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    return int(found[2]) if found and int(found[1]) == have else None


def _version(response: Any) -> str:
    """A name of the file's version that If-Range takes: a strong ETag, else the time of change."""
    tag = str(response.headers.get("ETag") or "")
    return tag if tag.startswith('"') else str(response.headers.get("Last-Modified") or "")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https, and none from https back to http."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        allowed = ("https:",) if req.full_url.startswith("https:") else ("https:", "http:")
        if not newurl.startswith(allowed):
            raise urllib.error.URLError(ValueError(f"it leads to {newurl}"))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Knows http and https alone: urllib's own would open files and FTP too."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _SafeRedirects(),
    ):
        opener.add_handler(handler)
    return opener
