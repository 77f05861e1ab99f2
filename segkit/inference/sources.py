"""Which image files the user means, and a distinct name for each one's results."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os.path import commonpath, normpath
from pathlib import Path

from segkit.data.files.decoding import ARRAY_SUFFIXES, SUFFIXES
from segkit.data.files.not_opened import OTHERS, counted, way_out
from segkit.data.files.pairing import pictures_among
from segkit.errors import DataError
from segkit.inference.slides.ome_zarr import SUFFIX as ZARR
from segkit.inference.slides.ome_zarr import images_in, is_zarr


@dataclass(frozen=True)
class Source:
    """An image file, and the relative path, without suffix, under which its results are written.

    mask_suffix   of its mask: .png, or .tif or .zarr where the image is read by region
    """

    path: Path
    name: str
    mask_suffix: str = ".png"

    @property
    def by_region(self) -> bool:
        return self.mask_suffix != ".png"


def find_sources(given: Iterable[str | Path]) -> tuple[Source, ...]:
    """The images of files, folders (with all folders below) and glob patterns, each once.

    Results keep the folders below a given folder, and so much of the path as tells equal names
    apart. Raises DataError SK-D001 where one of the arguments means no image.
    """
    found: dict[Path, tuple[Path, Path]] = {}
    for argument in given:
        for path, base in _images_of(str(argument)):
            found.setdefault(_without_dots(path), (path, _without_dots(base)))
    paths = list(found)
    names = [path.relative_to(base) for path, (_, base) in found.items()]
    if _clashing(names):
        # Two inputs hold the same names: their folders are told apart by what lies above them.
        shared = commonpath([path.parent for path in paths])
        names = [path.relative_to(shared) for path in paths]
    stems = [name.with_suffix("") for name in names]
    if twins := _clashing(stems):
        # x.jpg beside x.png: these keep their suffix, or all do where that clashes in its turn.
        stems = [
            name if _folded(stem) in twins else stem
            for name, stem in zip(names, stems, strict=True)
        ]
        stems = names if _clashing(stems) else stems
    as_given = (path for path, _ in found.values())
    return tuple(Source(p, stem.as_posix()) for p, stem in zip(as_given, stems, strict=True))


def _images_of(argument: str) -> list[tuple[Path, Path]]:
    """(image, the folder its name is relative to) of one argument."""
    path = Path(argument).expanduser()
    if is_zarr(path):
        return [(each, path.parent) for each in images_in(path)]
    if path.is_dir():
        if (path / "images").is_dir() and (path / "masks").is_dir():
            raise DataError(
                "SK-D001",
                f"{path} is a data set: its masks would be taken for images too.",
                f"Give {path / 'images'}.",
            )
        below = sorted(path.rglob("*"))
        stores = [each for each in below if each.suffix == ZARR and is_zarr(each)]
        others = [each for each in below if not _within(each, stores)]
        images = [(p, path) for p in pictures_among(others)]
        images += [(image, path) for store in stores for image in images_in(store)]
        unread = [each for each in others if each.suffix.lower() in OTHERS and each.is_file()]
        if unread and not images:
            raise DataError("SK-D001", f"{path} holds {counted(unread)}.", way_out(unread))
        if not images:
            a_run = (path / "model" / "model.json").is_file()
            fix = "It is a run: the run comes first, and images after it." if a_run else ""
            raise DataError(
                "SK-D001", f"the folder {path} holds no images.", fix or _known_suffixes()
            )
        return images
    # A file is taken whatever it is called: reading it will tell.
    if path.exists() or path.is_symlink():
        return [(path, path.parent)]
    # pathlib's own glob takes no pattern that starts at the root.
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207
    images = [(p, p.parent) for p in pictures_among(matches)]
    if not images:
        if not matches:
            raise DataError(
                "SK-D001",
                f"there is no file and no folder '{argument}', and nothing matches it.",
                "Check the path; it is relative to where you are.",
            )
        raise DataError(
            "SK-D001",
            f"none of the {len(matches)} files that match '{argument}' is an image.",
            _known_suffixes(),
        )
    return images


def _within(path: Path, folders: Sequence[Path]) -> bool:
    return bool(folders) and any(each in path.parents for each in folders)


def _without_dots(path: Path) -> Path:
    return Path(normpath(path.absolute()))


def _folded(name: Path) -> str:
    # File systems of Windows and macOS take A.png and a.png for one.
    return str(name).casefold()


def _clashing(names: Sequence[Path]) -> set[str]:
    count = Counter(_folded(name) for name in names)
    return {name for name, number in count.items() if number > 1}


def _known_suffixes() -> str:
    return f"Image files end in {', '.join(sorted(SUFFIXES | ARRAY_SUFFIXES))}."
