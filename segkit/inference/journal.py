"""What has been predicted so far, a line an image, to go on from after a stop."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from torch import nn

from segkit.errors import StorageError, UsageError
from segkit.inference.output import Output, Predicted, as_plain
from segkit.inference.sources import Source
from segkit.storage import storage_errors

FILE = "done.jsonl"


class Journal:
    """The lines of done.jsonl: the conditions first, then a line for each image when it is done.

    A line that was cut off by a kill counts as none. Of several lines of one image the last counts.
    """

    def __init__(self, file: Path, opened: TextIO, places: dict[str, int]) -> None:
        self.file, self._opened = file, opened
        # Where each image's last line begins, by its results' name.
        self._places = places

    @classmethod
    @contextmanager
    def opened(
        cls, folder: Path, conditions: Mapping[str, object], *, resume: bool, file: str = FILE
    ) -> Iterator[Journal]:
        """Of a folder, which is made.

        Raises UsageError SK-C012 where it was begun otherwise, StorageError SK-S003 where another
        process writes it.
        """
        place = folder / file
        with storage_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            opened = place.open("a+", encoding="utf-8", newline="\n")
        with opened:
            _lock(opened, place)
            places: dict[str, int] = {}
            with storage_errors(place):
                end = _read(place, conditions, places) if resume else 0
                opened.truncate(end)
                if not end:
                    opened.write(json.dumps(conditions, sort_keys=True) + "\n")
                    opened.flush()
            yield cls(place, opened, places)

    def holds(self, source: Source, output: Output) -> bool:
        """Whether this very file was predicted, and all that was written of it is there."""
        place = self._places.get(source.name)
        if place is None:
            return False
        line = self._line(place)
        same = line["stamp"] == stamp(source) and line["image"]["file"] == str(source.path)
        return same and all(file.exists() for file in output.files_of(source).values())

    def add(
        self,
        source: Source,
        result: Predicted,
        objects: Sequence[Sequence[object]],
        coco: Sequence[Mapping[str, Any]] | str,
    ) -> None:
        """Writes down an image that is done.

        coco   annotations, or the file below the folder that holds them, a line each
        """
        line = {
            "name": source.name,
            "stamp": stamp(source),
            "image": as_plain(result),
            "objects": objects,
            "coco": coco,
        }
        with storage_errors(self.file):
            self._opened.seek(0, 2)
            self._places[source.name] = self._opened.tell()
            self._opened.write(json.dumps(line) + "\n")
            self._opened.flush()

    def lines(self, sources: Sequence[Source]) -> Iterator[dict[str, Any]]:
        """The line of each source that is done, in their order."""
        for source in sources:
            if source.name in self._places:
                line = self._line(self._places[source.name])
                if line["image"]["file"] == str(source.path):
                    yield line

    def _line(self, place: int) -> dict[str, Any]:
        self._opened.seek(place)
        line: dict[str, Any] = json.loads(self._opened.readline())
        return line


def fingerprint(model: nn.Module) -> str:
    """Tells two models apart by their weights."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).float().numpy().tobytes())
    return digest.hexdigest()


def copy_lines(file: Path, conditions: Mapping[str, object], into: BinaryIO) -> None:
    """Copies the lines of a journal's images; raises as `Journal.opened` does."""
    with file.open("a+", encoding="utf-8") as opened:
        _lock(opened, file)
        end = _read(file, conditions, {})
    with file.open("rb") as lines:
        lines.readline()
        while (line := lines.readline()) and lines.tell() <= end:
            into.write(line)


def _lock(opened: TextIO, file: Path) -> None:
    """Keeps other processes out until the file is closed; raises StorageError SK-S003."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StorageError(
            "SK-S003",
            f"{file} is being written by another process.",
            "Wait for it, or stop it; the same images are not predicted twice.",
        ) from error
    except OSError:  # Some network file systems have no locks.
        return


def _read(file: Path, conditions: Mapping[str, object], places: dict[str, int]) -> int:
    """Fills `places`; returns where the last whole line ends."""
    end = 0
    with file.open("rb") as opened:
        for number, line in enumerate(opened):
            if not line.endswith(b"\n"):
                break
            try:
                said = json.loads(line)
            except ValueError:
                break
            if number == 0:
                _refuse_other(file.parent, said, json.loads(json.dumps(conditions)))
            else:
                places[said["name"]] = end
            end += len(line)
    return end


def _refuse_other(folder: Path, begun: Mapping[str, object], now: Mapping[str, object]) -> None:
    other = [name for name in sorted({*begun, *now}) if begun.get(name) != now.get(name)]
    if not other:
        return
    told = ", ".join(
        "another model" if name == "model" else f"{name} {begun.get(name)}, now {now.get(name)}"
        for name in other
    )
    raise UsageError(
        "SK-C012",
        f"{folder} was begun with other settings: {told}.",
        "Give the settings it was begun with, replace all with --overwrite, or give another folder "
        "with --out.",
    )


def stamp(source: Source) -> list[int]:
    """Size and time of change of the image; of a folder, of what it says of itself."""
    try:
        known = source.path.stat()
        for name in ("zarr.json", ".zattrs"):
            if (source.path / name).is_file():
                known = (source.path / name).stat()
    except OSError:
        return []
    return [known.st_size, known.st_mtime_ns]
