"""One prediction shared out among many processes: which images are whose, and the sum of all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

from segkit.errors import UsageError
from segkit.inference.journal import FILE, copy_lines
from segkit.inference.output import Failed
from segkit.inference.sources import Source
from segkit.storage import new_file, read_json, replace_text, storage_errors

FOLDER = "shards"


@dataclass(frozen=True)
class Shard:
    """A share of the images: number `number`, from 1, of `count`.

    Whose an image is goes by the name of its results, so that every process comes to the same
    answer, whatever its order, and also where images were added meanwhile.
    """

    number: int
    count: int

    @classmethod
    def read(cls, text: str) -> Shard:
        """From "3/8"; raises UsageError SK-C009."""
        number, _, count = text.partition("/")
        if number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count):
            return cls(int(number), int(count))
        raise UsageError(
            "SK-C009",
            f"--shard is {text!r}, and no share of the images.",
            "Write which of how many, from 1: --shard 1/8 to --shard 8/8.",
        )

    @property
    def journal(self) -> str:
        """Its file in the output folder."""
        return f"{FOLDER}/{self.number}-of-{self.count}.jsonl"

    def takes(self, source: Source) -> bool:
        return shard_of(source, self.count) == self.number

    def refuse_other_number(self, folder: Path) -> None:
        """Raises UsageError SK-C012 where the folder was begun in another number of shards."""
        others = sorted((folder / FOLDER).glob("*-of-*.jsonl"))
        wrong = [file for file in others if _count(file) != self.count]
        if wrong:
            raise UsageError(
                "SK-C012",
                f"{folder} was begun in {_count(wrong[0])} shards, and not in {self.count}: "
                "images would be predicted twice.",
                f"Write --shard I/{_count(wrong[0])}, or give another folder with --out.",
            )

    def end(self, folder: Path, failed: Sequence[Failed]) -> None:
        """Says that the shard has come to its end, and which images failed."""
        file = folder / self.journal.replace(".jsonl", ".json")
        with storage_errors(file):
            replace_text(file, json.dumps([asdict(each) for each in failed]) + "\n")


def shard_of(source: Source, count: int) -> int:
    """From 1 to count."""
    digest = blake2b(source.name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % count + 1


def merge(folder: Path, conditions: Mapping[str, object]) -> int:
    """Adds the shards' journals up to one, as a single command would have left it.

    Returns how many shards there are. Raises UsageError SK-C012 where there are none, or where one
    was begun with other settings, StorageError SK-S003 where one is at work.
    """
    journals = sorted((folder / FOLDER).glob("*-of-*.jsonl"))
    if not journals:
        raise UsageError(
            "SK-C012",
            f"{folder} holds no shards to merge.",
            "Predict them first: --shard 1/8 to --shard 8/8, with the same --out.",
        )
    with (
        storage_errors(folder / FILE),
        new_file(folder / FILE) as work,
        work.open("wb") as merged,
    ):
        merged.write(json.dumps(conditions, sort_keys=True).encode() + b"\n")
        for file in journals:
            copy_lines(file, conditions, merged)
    return _count(journals[0])


def failures(folder: Path, missing: Sequence[Source], count: int) -> list[Failed]:
    """Why images are not done: what their shard said of them, or that it did not come to them."""
    said: dict[str, Failed] = {}
    for file in (folder / FOLDER).glob("*-of-*.json"):
        said |= {each["file"]: Failed(**each) for each in read_json(file)}
    found = []
    for source in missing:
        shard = f"--shard {shard_of(source, count)}/{count}"
        left_out = Failed(
            str(source.path),
            "SK-S005",
            f"{source.path} was not predicted: its shard was stopped, or was never started.",
            f"Run it (again) with {shard}, then --merge.",
        )
        found.append(said.get(str(source.path), left_out))
    return found


def _count(journal: Path) -> int:
    count = journal.stem.rpartition("-")[2]
    return int(count) if count.isdecimal() else 0
