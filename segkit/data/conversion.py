"""Writing a data set in our own layout: images/ and masks/ by split, and a data.yaml."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
import yaml
from PIL import Image

from segkit.data.files.facts import Progress
from segkit.data.files.images import read_image
from segkit.data.files.masks import RGB
from segkit.data.layouts.annotations import read_annotations, size_of
from segkit.data.layouts.drawings import Drawing
from segkit.data.masks.colours import default_palette
from segkit.data.opening.folder import FolderDataset, data_of
from segkit.data.opening.inspection import inspect
from segkit.data.options import DataOptions
from segkit.errors import StorageError, UsageError
from segkit.interfaces import Dataset
from segkit.reporting.pictures import write_mask
from segkit.storage import new_folder

OVERLAP = "Where objects overlap, the smaller one lies on top."


@dataclass(frozen=True)
class Converted:
    """What was written: images by split, where, and the rule that was followed, if any."""

    out: Path
    kind: str
    splits: dict[str, int]
    note: str = ""


@dataclass(frozen=True)
class _Piece:
    """One image to write; `labels` gives its mask.

    joined   gives the image where its channels lie in several files
    """

    split: str
    id: str
    image: Path
    upright: bool
    labels: Callable[[], np.ndarray]
    joined: Callable[[], np.ndarray] | None = None


def convert(
    source: Path, out: Path, options: DataOptions, progress: Progress | None = None
) -> Converted:
    """Writes any data set that segkit reads, or annotations, as ours.

    Images are copied byte for byte unless their EXIF orientation is applied, or their channels lie
    in several files, which become one TIFF. The folder appears when all is written. Raises
    UsageError SK-C009 where `out` exists or lies in the data, DataError SK-D0xx, and StorageError
    SK-D024.
    """
    if out.exists():
        raise UsageError("SK-C009", f"{out} exists.", "Choose a folder that does not.")
    if out.resolve().is_relative_to(source.resolve()):
        raise UsageError("SK-C009", f"{out} lies in the data folder.", "Choose another place.")
    in_channels = None
    drawings = read_annotations(source, options.declare) if source.exists() else None
    if drawings is not None:
        pieces = list(_from_drawings(drawings.splits))
        classes, ignore = drawings.classes, None
        palette, kind = default_palette(len(classes)), drawings.kind
    else:
        seen = inspect(source, options)
        data = data_of(seen)
        pieces = list(_from_items(data.datasets, data.splits))
        classes, palette, ignore = data.classes, data.palette, data.ignore_index
        if any(piece.joined for piece in pieces):
            in_channels = data.in_channels
        kind = seen.layout.notes[0].removeprefix("Layout: ").rstrip(".")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with new_folder(out) as unfinished:
            _write(pieces, unfinished, palette, ignore, progress)
            _write_yaml(unfinished, pieces, classes, palette, ignore, in_channels)
    except OSError as error:
        raise StorageError(
            "SK-D024",
            f"{out} cannot be written ({error.strerror}).",
            "Free space, or choose another place.",
        ) from error
    counts = {split: sum(piece.split == split for piece in pieces) for split in _splits(pieces)}
    return Converted(out, kind, counts, OVERLAP if drawings is not None else "")


def _splits(pieces: Sequence[_Piece]) -> list[str]:
    return list(dict.fromkeys(piece.split for piece in pieces))


def _from_drawings(splits: Mapping[str, tuple[Drawing, ...]]) -> Iterator[_Piece]:
    for split, drawings in splits.items():
        for drawing in drawings:
            yield _Piece(split, drawing.id, drawing.image, False, _drawer(drawing))


def _drawer(drawing: Drawing) -> Callable[[], np.ndarray]:
    return lambda: drawing.draw(*size_of(drawing.image))


def _from_items(datasets: Mapping[str, Dataset], splits: Sequence[str]) -> Iterator[_Piece]:
    for split in splits:
        dataset = datasets[split]
        if not isinstance(dataset, FolderDataset):
            continue
        for index, item in enumerate(dataset.items):
            pair = item.pair
            labels = _reader(dataset, index)
            joined = partial(dataset.reader.stored_image, item) if pair.more else None
            yield _Piece(split, pair.id, pair.image, item.image_upright, labels, joined)


def _reader(dataset: FolderDataset, index: int) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        mask_HW = dataset[index].mask
        if mask_HW is None:
            raise ValueError("a folder's samples have masks")
        return mask_HW

    return read


def _write(
    pieces: Sequence[_Piece],
    folder: Path,
    palette: Sequence[RGB],
    ignore: int | None,
    progress: Progress | None,
) -> None:
    for number, piece in enumerate(pieces, 1):
        name = piece.id if piece.split == "all" else f"{piece.split}/{piece.id}"
        mask = folder / "masks" / f"{name}.png"
        image = folder / "images" / f"{name}{piece.image.suffix}"
        for path in (mask, image):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_mask(mask, piece.labels(), palette, ignore)
        if piece.joined is not None:
            # Samples of no meaning to TIFF, side by side: nothing is taken for a colour or alpha.
            tifffile.imwrite(
                image.with_suffix(".tif"),
                piece.joined(),
                photometric="minisblack",
                planarconfig="contig",
                compression="zlib",
            )
        elif piece.upright and _is_turned(piece.image):
            turned_HWC = read_image(piece.image)
            Image.fromarray(turned_HWC.squeeze()).save(image.with_suffix(".png"))
        else:
            shutil.copyfile(piece.image, image)
        if progress is not None:
            progress(number, len(pieces))


def _is_turned(path: Path) -> bool:
    with Image.open(path) as image:
        return int(image.getexif().get(274, 1)) != 1


def _write_yaml(
    folder: Path,
    pieces: Sequence[_Piece],
    classes: Sequence[str],
    palette: Sequence[RGB],
    ignore: int | None,
    in_channels: int | None,
) -> None:
    splits = [split for split in _splits(pieces) if split != "all"]
    content: dict[str, object] = {"path": "."}
    content |= {split: f"images/{split}" for split in splits}
    content["names"] = list(classes)
    if ignore is not None:
        content["ignore_index"] = ignore
    if in_channels is not None:
        content["in_channels"] = in_channels
    content["palette"] = [list(colour) for colour in palette]
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None)
    (folder / "data.yaml").write_text(text, encoding="utf-8")
