"""What a prediction leaves in its folder: names of files, what may be replaced, and the writing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from os.path import realpath
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from segkit.errors import SegkitError, UsageError
from segkit.inference.objects import Box, Object, numbered_map
from segkit.inference.outlines import coco_annotation, geojson, traced
from segkit.inference.prediction import Prediction
from segkit.inference.sources import Source
from segkit.storage import TEMPORARY, new_file, storage_errors

REPORT = "predictions.json"


@dataclass(frozen=True)
class Predicted:
    """One image's result.

    file           the image, as it was found
    mask, overlay  files written, relative to the output folder; overlay None where none was wanted
    shares         of its pixels, by class name
    pixel_size     (height, width) of a pixel in `unit`, where the file tells it
    doubt          mean and p95 (95th percentile) of its pixels' entropy, 0 to 1, where asked for
    mutual_information  the same of how far several answers contradict each other
    """

    file: str
    height: int
    width: int
    mask: str
    overlay: str | None
    shares: Mapping[str, float]
    pixel_size: Sequence[float] | None = None
    unit: str = ""
    doubt: Mapping[str, float] | None = None
    mutual_information: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Failed:
    """One image that could not be predicted, and why."""

    file: str
    code: str
    what: str
    fix: str

    @classmethod
    def of(cls, source: Source, error: SegkitError) -> Failed:
        return cls(str(source.path), error.code, error.what, error.fix)


@dataclass(frozen=True)
class Output:
    """Where results go, and which.

    folder         gets masks/, predictions.json, summary.csv, and what is asked for here
    overlays       pictures of the image with the classes laid over it, in overlays/
    overwrite      files that are there already may be replaced
    resume         what an earlier command has done in the folder is left as it is
    objects        objects.csv and objects/, TIFF of the objects' numbers: of every class but the
                   background, connected pixels or what the model separates
    least_area     smaller objects are left out, pixels; None: as the model's training measured, or
                   none
    geojson, coco  the objects' outlines, in geojson/ and coco.json
    probabilities  of every class, in probabilities/ as float32 TIFF with a page a class
    uncertainty    entropy in uncertainty/ as grey PNG: black is certain, white all classes alike
    mutual_information  the same in mutual-information/, of 16 bits; where there are several answers
    """

    folder: Path
    overlays: bool = True
    overwrite: bool = False
    resume: bool = False
    objects: bool = False
    least_area: int | None = None
    geojson: bool = False
    coco: bool = False
    probabilities: bool = False
    uncertainty: bool = False
    mutual_information: bool = False

    @property
    def needs_probabilities(self) -> bool:
        return self.probabilities or self.uncertainty

    @property
    def counts_objects(self) -> bool:
        return self.objects or self.geojson or self.coco

    @property
    def kept(self) -> dict[str, object]:
        """The choices that every image of one folder has to share."""
        names = ("overlays", "objects", "least_area", "geojson", "coco")
        return {name: getattr(self, name) for name in (*names, "probabilities", "uncertainty")}

    def mask(self, source: Source) -> Path:
        return self.files_of(source)["masks"]

    def files_of(self, source: Source) -> dict[str, Path]:
        """All that is written for one image, by the folder it goes to.

        A large image's maps are files of its mask's kind, and its annotations wait in a file of
        their own for coco.json.
        """
        large = source.mask_suffix if source.by_region else ""
        found = {"masks": self.folder / "masks" / f"{source.name}{source.mask_suffix}"}
        for wanted, kind, suffix in (
            (self.overlays, "overlays", ".png"),
            (self.objects, "objects", ".tif"),
            (self.geojson, "geojson", ".geojson"),
            (self.coco and source.by_region, "coco", ".jsonl"),
            (self.probabilities, "probabilities", large or ".tif"),
            (self.uncertainty, "uncertainty", large or ".png"),
            (self.mutual_information, "mutual-information", large or ".png"),
        ):
            if wanted:
                found[kind] = self.folder / kind / f"{source.name}{suffix}"
        return found

    def relative(self, source: Source, kind: str) -> str | None:
        """A file of one image as tables name it; None where it is not written."""
        file = self.files_of(source).get(kind)
        return file.relative_to(self.folder).as_posix() if file else None

    def refuse_clashes(self, sources: Sequence[Source]) -> None:
        """Raises UsageError SK-C012 where results would replace an image, or, unasked, a file."""
        if self.folder.is_file():
            raise UsageError(
                "SK-C012", f"--out {self.folder} is a file.", "Give the name of a folder."
            )
        if (self.folder / "masks").is_dir() and (self.folder / "images").is_dir():
            raise UsageError(
                "SK-C012",
                f"{self.folder} is a data set: predictions would lie among its masks.",
                "Give another folder with --out.",
            )
        # Unlike Path.resolve, realpath has an answer for links that go in a circle.
        images = {realpath(source.path) for source in sources}
        written = [path for source in sources for path in self.files_of(source).values()]
        there = [path for path in (self.folder / REPORT, *written) if path.exists()]
        replaced = [path for path in there if realpath(path) in images]
        if replaced:
            raise UsageError(
                "SK-C012",
                f"{replaced[0]} is one of the images: its mask would replace it.",
                "Give another folder with --out.",
            )
        if there and not (self.overwrite or self.resume):
            raise UsageError(
                "SK-C012",
                f"{self.folder} holds {len(there)} of the files to be written already, such as "
                f"{there[0].relative_to(self.folder)}.",
                "Go on where an earlier command stopped with --resume, replace all with "
                "--overwrite, or give another folder with --out.",
            )

    def remove_half_written(self, sources: Sequence[Source]) -> None:
        """What a kill has left of files that were being written, of these images."""
        mine = {str(file) for source in sources for file in self.files_of(source).values()}
        with storage_errors(self.folder):
            for left in [*self.folder.rglob(f"*{TEMPORARY}*")]:
                if str(left).rpartition(TEMPORARY)[0] not in mine:
                    continue
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink(missing_ok=True)

    def write(
        self, source: Source, prediction: Prediction
    ) -> tuple[Predicted, list[list[object]], list[dict[str, Any]]]:
        """Writes the files of one image; returns its result, rows of objects, COCO annotations."""
        prediction.write_mask(self.mask(source))
        if self.overlays:
            prediction.write_overlay(self.files_of(source)["overlays"])
        if self.probabilities and prediction.probabilities is not None:
            self._write(source, "probabilities", lambda p: _tiff(p, prediction.probabilities))
        if self.uncertainty and prediction.uncertainty is not None:
            grey_HW = np.rint(255 * prediction.uncertainty).astype(np.uint8)
            self._write(source, "uncertainty", lambda p: Image.fromarray(grey_HW).save(p))
        if self.mutual_information and prediction.mutual_information is not None:
            deep_HW = np.rint(65535 * prediction.mutual_information).astype(np.uint16)
            self._write(source, "mutual-information", lambda p: Image.fromarray(deep_HW).save(p))
        size = prediction.labels.shape
        objects = prediction.objects_from(self.least_area or 1) if self.counts_objects else ()
        if self.objects:
            number_HW = numbered_map(objects, size)
            self._write(source, "objects", lambda p: _number_tiff(p, number_HW))
        if self.geojson:
            text = json.dumps(geojson(objects, prediction.palette))
            self._write(source, "geojson", lambda p: p.write_text(text, "utf-8"))
        drawn: list[dict[str, Any]] = []
        if self.coco:
            both = zip(objects, traced(objects), strict=True)
            drawn = [coco_annotation(each, outline, *size) for each, outline in both]
        return self._result(source, prediction), [object_row(each) for each in objects], drawn

    def _write(self, source: Source, kind: str, write: Callable[[Path], object]) -> None:
        file = self.files_of(source)[kind]
        with storage_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            with new_file(file, durable=False) as work:
                write(work)

    def _result(self, source: Source, prediction: Prediction) -> Predicted:
        height, width = prediction.labels.shape
        spacing = prediction.spacing
        return Predicted(
            file=str(source.path),
            height=height,
            width=width,
            mask=self.mask(source).relative_to(self.folder).as_posix(),
            overlay=self.relative(source, "overlays"),
            shares=prediction.shares,
            pixel_size=[spacing.y, spacing.x] if spacing else None,
            unit=spacing.unit if spacing else "",
            doubt=_mean_and_high(prediction.uncertainty if self.uncertainty else None),
            mutual_information=_mean_and_high(
                prediction.mutual_information if self.mutual_information else None
            ),
        )


def _mean_and_high(value_HW: NDArray[np.float32] | None) -> dict[str, float] | None:
    """Over an image's pixels."""
    if value_HW is None:
        return None
    highest = round(float(np.percentile(value_HW, 95)), 6)
    return {"mean": round(float(value_HW.mean()), 6), "p95": highest}


OBJECT_COLUMNS = (
    *("object", "class", "label", "area_pixels", "area", "unit", "centre_x", "centre_y"),
    *("left", "top", "width", "height", "at_border"),
)


def object_row(each: Object) -> list[object]:
    """An object in the columns of objects.csv, without its image."""
    plain = {name: value for name, value in vars(each).items() if name != "mask_hw"}
    return row_of_object(**plain)


def row_of_object(
    *,
    number: int,
    name: str,
    label: int,
    area: int,
    size: float | None,
    unit: str,
    centre: tuple[float, float],
    box: Box,
    at_border: bool,
) -> list[object]:
    """The same of an object whose pixels are elsewhere; parameters as `Object` has them."""
    top, left, bottom, right = box
    size = None if size is None else float(f"{size:.7g}")
    row: list[object] = [number, name, label, area, size, unit]
    row += [round(centre[1], 2), round(centre[0], 2)]
    return [*row, left, top, right - left, bottom - top, int(at_border)]


def as_plain(result: Predicted) -> dict[str, Any]:
    """In plain types."""
    return asdict(result)


def _number_tiff(file: Path, number_HW: NDArray[np.unsignedinteger]) -> None:
    tifffile.imwrite(file, number_HW, photometric="minisblack", compression="zlib")


def _tiff(file: Path, probability_KHW: NDArray[np.float32] | None) -> None:
    tifffile.imwrite(
        file,
        probability_KHW,
        photometric="minisblack",
        compression="zlib",
        metadata={"axes": "CYX"},
    )
