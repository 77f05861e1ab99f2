"""Finds an image by the name that an annotation gives it, anywhere below the data set's folder."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path, PurePosixPath

from segkit.data.files.pairing import list_files
from segkit.errors import DataError


class NamedImages:
    """The images below a folder, by the ends of their paths; nothing outside it is ever taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, name: str, file: Path, split: str = "") -> Path:
        """The image that `file` calls `name`; raises DataError SK-D002.

        First beside the file and where the name leads from there; then below the folder, where the
        most parts of the name fit. Names written on Windows, or on another machine, serve too.

        split   of several that fit, the one below a folder called so is meant
        """
        asked = PurePosixPath(name.replace("\\", "/"))
        beside = file.parent / asked
        if beside.is_file() and beside.resolve().is_relative_to(self.folder.resolve()):
            return beside
        found = self._fitting(asked)
        in_split = [path for path in found if split and split in path.parts]
        found = in_split if len(in_split) == 1 else found
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(
                "SK-D002",
                f"{file} names {name}, which {found[0]} and {found[1]} may be.",
                "Give the images names of their own, or write their folders into the file.",
            )
        if asked.is_absolute() or ".." in asked.parts:
            what = f"{file} names {name}, which leads out of the data set."
        else:
            what = f"{file} names {name}, which is not below {self.folder}."
        raise DataError(
            "SK-D002", what, f"Put the images beside the file, or anywhere below {self.folder}."
        )

    def _fitting(self, asked: PurePosixPath) -> list[Path]:
        """The images of that name with the longest end of their path as asked."""
        paths = self._by_name.get(asked.name, [])
        parts = [part for part in asked.parts if part not in ("..", asked.anchor)]

        def in_common(path: Path) -> int:
            ends = zip(reversed(path.parts), reversed(parts), strict=False)
            return next((i for i, (a, b) in enumerate(ends) if a != b), len(parts))

        most = max(map(in_common, paths), default=0)
        return [path for path in paths if in_common(path) == most]

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for paths in list_files(self.folder).values():
            for path in paths:
                found.setdefault(path.name, []).append(path)
        return found
