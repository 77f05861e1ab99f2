"""Downloads from a server of our own: continued, checked, complete or not there."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from segkit.data.fetching import transfer
from segkit.data.fetching.download import RECORD, download, read_expected
from segkit.errors import (
    DataError,
    EnvironmentFault,
    PluginError,
    StorageError,
    UsageError,
)
from segkit.interfaces import Archive, PublishedData


def packed(**contents: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


NOISE = np.random.default_rng(0).bytes(300_000)
CONTENT = packed(noise=NOISE)


@dataclass
class Server:
    """What it serves and how badly.

    breaks   answers that end after so many bytes of their body, in turn
    ranges   whether it continues a file
    tag      of the file's version; "" gives none
    redirect where every address but /moved.tar leads
    asked    the Range and If-Range of every request
    """

    content: bytes = CONTENT
    breaks: list[int] = field(default_factory=list)
    ranges: bool = True
    tag: str = '"one"'
    redirect: str = ""
    address: str = ""
    asked: list[tuple[str | None, str | None]] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        self.asked.append((asked, request.headers.get("If-Range")))
        if request.path.startswith("/gone"):
            request.send_error(404)
            return
        if self.redirect and request.path != "/moved.tar":
            request.send_response(302)
            request.send_header("Location", self.redirect)
            request.end_headers()
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        if request.headers.get("If-Range") not in (None, self.tag):
            start = 0
        total = len(self.content)
        if start >= total:
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{total}")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if self.tag:
            request.send_header("ETag", self.tag)
        request.send_header("Content-Length", str(total - start))
        request.end_headers()
        body = self.content[start:]
        request.wfile.write(body[: self.breaks.pop(0)] if self.breaks else body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    served = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, *_: object) -> None: ...

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(transfer, "PAUSE_SECONDS", 0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        served.address = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield served
        listening.shutdown()
        thread.join()


SOUND = Archive("", sha256=hashlib.sha256(CONTENT).hexdigest())


def published(server: Server, archive: Archive = SOUND) -> PublishedData:
    archive = replace(archive, url=archive.url or f"{server.address}/set.tar")
    return PublishedData("http://home", "CC0", "Somebody 2020", (archive,), "Ask them.")


def broken_off(server: Server, out: Path, archive: Archive, after: int) -> None:
    """A download of which `after` bytes have come."""
    server.breaks = [after] + [0] * transfer.ATTEMPTS
    with pytest.raises(EnvironmentFault, match="SK-D025"):
        download("set", published(server, archive), out)
    server.breaks.clear()
    server.asked.clear()


def test_a_download_is_unpacked_checked_and_recorded(server, tmp_path):
    done = download("set", published(server), tmp_path / "set")
    assert (done.folder / "noise").read_bytes() == NOISE
    record = json.loads((done.folder / RECORD).read_text())
    assert record["licence"] == "CC0"
    assert record["archives"] == [
        {
            "url": f"{server.address}/set.tar",
            "bytes": len(CONTENT),
            "sha256": hashlib.sha256(CONTENT).hexdigest(),
            "md5": hashlib.md5(CONTENT).hexdigest(),
            "checked": "sha256",
        }
    ]
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["set"]


def test_a_connection_that_breaks_is_continued_from_where_it_was(server, tmp_path):
    server.breaks = [100_000, 50_000, 0, 20_000]
    done = download("set", published(server), tmp_path / "set")
    assert (done.folder / "noise").read_bytes() == NOISE
    starts = [asked for asked, _ in server.asked]
    assert starts == [None, *(f"bytes={n}-" for n in (100_000, 150_000, 150_000, 170_000))]


def test_the_command_given_again_goes_on_from_what_was_kept(server, tmp_path):
    out = tmp_path / "set"
    broken_off(server, out, SOUND, after=120_000)
    assert not out.exists()
    download("set", published(server), out)
    assert server.asked == [("bytes=120000-", '"one"')]
    assert (out / "noise").read_bytes() == NOISE


def test_a_break_says_how_much_is_kept(server, tmp_path):
    server.breaks = [120_000] + [0] * transfer.ATTEMPTS
    with pytest.raises(EnvironmentFault) as caught:
        download("set", published(server), tmp_path / "set")
    assert "ended after 120,000 of" in caught.value.what or "more expected" in caught.value.what
    assert caught.value.fix.endswith("goes on from there. 120,000 bytes of it are kept.")


def test_a_file_that_changed_meanwhile_is_fetched_anew(server, tmp_path):
    out = tmp_path / "set"
    plain = Archive("")
    broken_off(server, out, plain, after=120_000)
    server.content, server.tag = packed(other=NOISE[::-1]), '"two"'
    download("set", published(server, plain), out)
    assert (out / "other").read_bytes() == NOISE[::-1]


def test_a_server_that_cannot_continue_begins_anew(server, tmp_path):
    server.breaks, server.ranges = [100_000], False
    done = download("set", published(server), tmp_path / "set")
    assert (done.folder / "noise").read_bytes() == NOISE


def test_without_version_and_checksum_nothing_is_continued(server, tmp_path):
    server.tag = ""
    broken_off(server, tmp_path / "set", Archive(""), after=120_000)
    download("set", published(server, Archive("")), tmp_path / "set")
    assert server.asked == [(None, None)]


def test_a_part_that_is_whole_already_is_taken(server, tmp_path):
    out = tmp_path / "set"
    broken_off(server, out, SOUND, after=120_000)
    (tmp_path / "set.part" / "set.tar.partial").write_bytes(CONTENT)
    download("set", published(server), out)
    assert (out / "noise").read_bytes() == NOISE


def test_an_archive_that_came_whole_before_is_not_fetched_again(server, tmp_path):
    (tmp_path / "set.part" / "unpacked").mkdir(parents=True)
    (tmp_path / "set.part" / "unpacked" / "half").write_bytes(b"of an unpacking that was killed")
    (tmp_path / "set.part" / "set.tar").write_bytes(CONTENT)
    done = download("set", published(server), tmp_path / "set")
    assert server.asked == []
    assert sorted(path.name for path in done.folder.iterdir()) == ["noise", RECORD]


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    out = tmp_path / "set"
    broken_off(server, out, SOUND, after=120_000)
    (tmp_path / "set.part" / "set.tar.partial").write_bytes(CONTENT + b"more")
    download("set", published(server), out)
    assert (out / "noise").read_bytes() == NOISE


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_wrong_checksum_leaves_nothing_to_go_on_from(server, tmp_path, kind):
    due = hashlib.new(kind, b"published").hexdigest()
    with pytest.raises(EnvironmentFault) as caught:
        download("set", published(server, Archive("", **{kind: due})), tmp_path / "set")
    found = hashlib.new(kind, CONTENT).hexdigest()
    assert caught.value.what == (
        f"set.tar ({len(CONTENT):,} bytes) has the {kind.upper()} {found}, not {due}."
    )
    assert not (tmp_path / "set").exists()
    assert not list((tmp_path / "set.part").glob("*.partial"))


def test_an_md5_alone_is_held_to_and_said(server, tmp_path):
    archive = Archive("", md5=hashlib.md5(CONTENT).hexdigest())
    done = download("set", published(server, archive), tmp_path / "set")
    assert done.archives[0].checked == "md5"


def test_another_copys_record_is_held_to(server, tmp_path):
    plain = published(server, Archive(""))
    done = download("set", plain, tmp_path / "set")
    assert done.archives[0].checked == "none"
    expected = read_expected(done.folder / RECORD)
    download("set", plain, tmp_path / "again", expected=expected)
    server.content = packed(noise=NOISE[::-1])
    with pytest.raises(EnvironmentFault, match="SK-D026"):
        download("set", plain, tmp_path / "third", expected=expected)


def test_a_record_of_another_set_is_refused(server, tmp_path):
    with pytest.raises(UsageError) as caught:
        download("set", published(server), tmp_path / "set", expected={"other.zip": "00"})
    assert caught.value.what == "the record given with --expect holds no set.tar."
    assert server.asked == []


def test_archives_in_the_working_folder_stay_where_they_were_fetched_by_hand(tmp_path):
    (tmp_path / "set.part").mkdir()
    (tmp_path / "set.part" / "set.tar").write_bytes(CONTENT)
    set_ = PublishedData("http://home", "CC0", "x", (replace(SOUND, url="http://a/set.tar"),))
    download("set", set_, tmp_path / "set", source=tmp_path / "set.part")
    assert (tmp_path / "set.part" / "set.tar").read_bytes() == CONTENT


def test_a_file_that_is_no_record_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(UsageError, match=f"SK-C010: .*x.json is no {RECORD}"):
        read_expected(tmp_path / "x.json")


def test_more_than_was_published_is_refused_before_it_is_fetched(server, tmp_path):
    with pytest.raises(EnvironmentFault, match="it may have 1,000"):
        download("set", published(server, replace(SOUND, largest=1_000)), tmp_path / "set")
    assert not list((tmp_path / "set.part").glob("*.partial"))


def test_a_full_disk_is_seen_before_anything_is_fetched(server, tmp_path, monkeypatch):
    usage = transfer.shutil.disk_usage(tmp_path)._replace(free=1_000)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StorageError, match=r"SK-S001: .* has 1,000 bytes free"):
        download("set", published(server), tmp_path / "set")


def test_a_missing_file_is_said_at_once_and_how_to_do_without(server, tmp_path):
    archive = replace(SOUND, url=f"{server.address}/gone.tar")
    with pytest.raises(EnvironmentFault, match=r"gone.tar could not .* answers 404") as caught:
        download("set", published(server, archive), tmp_path / "set")
    assert "--from" in caught.value.fix
    assert len(server.asked) == 1


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:text/plain,x"])
def test_a_redirect_to_anything_but_http_is_refused(server, tmp_path, place):
    server.redirect = place
    with pytest.raises(EnvironmentFault, match="SK-D025"):
        download("set", published(server), tmp_path / "set")
    assert len(server.asked) == 1


def test_a_redirect_within_http_is_followed(server, tmp_path):
    server.redirect = f"{server.address}/moved.tar"
    assert download("set", published(server), tmp_path / "set").files == 1


def test_a_redirect_from_https_back_to_http_is_refused():
    request = urllib.request.Request("https://a/set.tar")
    with pytest.raises(urllib.error.URLError, match=r"it leads to http://a/set\.tar"):
        transfer._SafeRedirects().redirect_request(
            request, None, 302, "Found", {}, "http://a/set.tar"
        )


def test_a_hostile_archive_leaves_nothing_behind(server, tmp_path):
    server.content = packed(**{"good": b"1", "../bad": b"2"})
    with pytest.raises(DataError, match="SK-D027"):
        download("set", published(server, Archive("")), tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


def test_a_folder_that_exists_is_left_alone(server, tmp_path):
    (tmp_path / "set").mkdir()
    with pytest.raises(UsageError, match=r"SK-C012: .*set exists already"):
        download("set", published(server), tmp_path / "set")
    assert server.asked == []


def test_two_downloads_to_one_place_do_not_meet(server, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "set.part").mkdir()
    with (tmp_path / "set.part" / ".lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="SK-S003: another process is downloading to"):
            download("set", published(server), tmp_path / "set")
    assert server.asked == []
    assert download("set", published(server), tmp_path / "set").files == 1


def test_what_else_lies_in_the_working_folder_is_left_alone(server, tmp_path):
    (tmp_path / "set.part").mkdir()
    (tmp_path / "set.part" / "mine.txt").write_text("kept")
    download("set", published(server), tmp_path / "set")
    assert [path.name for path in (tmp_path / "set.part").iterdir()] == ["mine.txt"]


def test_archives_fetched_by_hand_need_no_socket(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("it opened a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    (tmp_path / "fetched").mkdir()
    (tmp_path / "fetched" / "set.tar").write_bytes(CONTENT)
    set_ = PublishedData("http://home", "CC0", "x", (replace(SOUND, url="http://a/set.tar"),))
    done = download("set", set_, tmp_path / "set", source=tmp_path / "fetched")
    assert (done.folder / "noise").read_bytes() == NOISE
    assert (tmp_path / "fetched" / "set.tar").is_file()


def test_an_archive_that_was_to_be_fetched_by_hand_and_is_not_there_is_named(tmp_path):
    set_ = PublishedData("http://home", "CC0", "x", (replace(SOUND, url="http://a/set.tar"),))
    with pytest.raises(UsageError) as caught:
        download("set", set_, tmp_path / "set", source=tmp_path)
    assert caught.value.what == f"{tmp_path} holds no set.tar."
    assert caught.value.fix == "Fetch http://a/set.tar first."
    assert not (tmp_path / "set.part").exists()


def test_what_may_not_be_passed_on_is_answered_with_the_way_to_it(tmp_path):
    by_hand = PublishedData(
        "http://home", "after registration", "x", (), "Register at http://home."
    )
    with pytest.raises(DataError) as caught:
        download("set", by_hand, tmp_path / "set")
    assert caught.value.what == "set is not for download (after registration)."
    assert caught.value.fix == "Register at http://home."


@pytest.mark.parametrize(
    "archive",
    [
        Archive("file:///etc/passwd"),
        Archive("http://a/.."),
        Archive("http://a/b%\\c"),
        Archive("http://a/b.tar", into="../x"),
        Archive("http://a/b.tar", into="/x"),
    ],
)
def test_a_plugin_that_would_write_elsewhere_is_refused(tmp_path, archive):
    set_ = PublishedData("http://home", "CC0", "x", (archive,))
    with pytest.raises(PluginError, match="SK-P003"):
        download("set", set_, tmp_path / "set")
