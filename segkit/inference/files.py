"""Predicting a set of image files into a folder: masks, overlays, and predictions.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from segkit.data.files.images import read_image
from segkit.data.files.reading import MAX_PIXELS, recorded_reading
from segkit.data.intensity import Intensity
from segkit.device import choose_device, choose_precision
from segkit.errors import DataError, SegkitError, StorageError, UsageError
from segkit.inference.prediction import Prediction
from segkit.inference.predictor import Predictor
from segkit.inference.reading import Given, as_trained, asked_intensity
from segkit.inference.sources import Source, find_sources
from segkit.inference.tiling import Tiling
from segkit.model.folder import load_model
from segkit.model.network import ModelRecord
from segkit.model.streams import streams_of
from segkit.reporting.pictures import palette_for
from segkit.storage import replace_text, storage_errors
from segkit.version import __version__

REPORT = "predictions.json"


@dataclass(frozen=True)
class Predicted:
    """One image's result.

    file           the image, as it was found
    mask, overlay  files written, relative to the output folder; overlay None where none was wanted
    shares         of its pixels, by class name
    """

    file: str
    height: int
    width: int
    mask: str
    overlay: str | None
    shares: Mapping[str, float]


@dataclass(frozen=True)
class Failed:
    """One image that could not be predicted, and why."""

    file: str
    code: str
    what: str
    fix: str


@dataclass
class Report:
    """What predictions.json holds."""

    model: str
    record: ModelRecord
    device: str
    precision: str
    images: list[Predicted] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Everything, in plain types."""
        record = self.record
        parts = {
            part: getattr(record, part).expression for part in ("encoder", "decoder", "upsampler")
        }
        return {
            "segkit": __version__,
            "model": {"path": self.model, **parts},
            "device": self.device,
            "precision": self.precision,
            "classes": list(record.label_names),
            "palette": [list(colour) for colour in palette_for(record.label_count, record.palette)],
            "images": [asdict(each) for each in self.images],
            "failed": [asdict(each) for each in self.failed],
        }


@dataclass(frozen=True)
class Output:
    """Where results go.

    folder     gets masks/, overlays/ and predictions.json
    overlays   whether to write pictures of the image with the classes laid over it
    overwrite  whether files that are there already may be replaced
    """

    folder: Path
    overlays: bool = True
    overwrite: bool = False

    def mask(self, source: Source) -> Path:
        return self.folder / "masks" / f"{source.name}.png"

    def overlay(self, source: Source) -> Path:
        return self.folder / "overlays" / f"{source.name}.png"

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
        images = {source.path.resolve() for source in sources}
        there = [path for path in self._all(sources) if path.exists()]
        replaced = [path for path in there if path.resolve() in images]
        if replaced:
            raise UsageError(
                "SK-C012",
                f"{replaced[0]} is one of the images: its mask would replace it.",
                "Give another folder with --out.",
            )
        if there and not self.overwrite:
            raise UsageError(
                "SK-C012",
                f"{self.folder} holds {len(there)} of the files to be written already, such as "
                f"{there[0].relative_to(self.folder)}.",
                "Give another folder with --out, or allow it with --overwrite.",
            )

    def _all(self, sources: Sequence[Source]) -> Iterator[Path]:
        yield self.folder / REPORT
        for source in sources:
            yield self.mask(source)
            if self.overlays:
                yield self.overlay(source)


@dataclass(frozen=True)
class PredictionSettings:
    """What to predict with, and how.

    model      a run folder, a model folder or a hub id
    device     auto, cpu, cuda, cuda:N or mps
    precision  auto, fp32, bf16 or fp16
    batch      images of one size, or tiles, at a time; None: on a CPU one for each core, else 1
    tile       side of the tiles that larger images are cut into, pixels; None: images whole
    overlap    share of a tile that neighbours have in common
    intensity  "per-image" or "fixed(BLACK, WHITE)"; None: as recorded with the model
    max_pixels  the largest image allowed, pixels
    """

    model: str
    device: str = "auto"
    precision: str = "auto"
    batch: int | None = None
    tile: int | None = None
    overlap: float = 0.25
    intensity: str | None = None
    max_pixels: int = MAX_PIXELS


def predict_to_folder(
    asked: PredictionSettings,
    images: Sequence[str | Path],
    output: Output,
    progress: Callable[[int, int], None] = lambda done, images: None,
) -> Report:
    """Loads a model and writes what it says of files, folders and patterns.

    progress   called with (images done, images)
    Raises UsageError, ModelFileError (no model), DataError SK-D001 (no image), and what
    `predict_files` raises.
    """
    intensity = asked_intensity(asked.intensity)
    sources = find_sources(images)
    device = choose_device(asked.device)
    batch = asked.batch or streams_of(device)
    tiling = Tiling(asked.tile, asked.overlap, batch) if asked.tile else None
    precision = choose_precision(asked.precision, device)
    return predict_files(
        Predictor(load_model(asked.model, device), device, precision, tiling),
        sources,
        output,
        model=asked.model,
        intensity=intensity,
        batch=1 if tiling else batch,
        max_pixels=asked.max_pixels,
        progress=progress,
    )


def predict_files(
    predictor: Predictor,
    sources: Sequence[Source],
    output: Output,
    *,
    model: str,
    intensity: Intensity | None = None,
    batch: int = 1,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[int, int], None] = lambda done, images: None,
) -> Report:
    """Predicts every source and writes the results at the image's own size, and the report.

    model      what the user calls it
    intensity  which stored values are black and white; None: as recorded with the model
    batch      images of one size to compute together
    max_pixels  the largest image allowed, pixels
    progress   called with (images done, images) after each one, predicted or failed

    An image that cannot be read, or whose values the model does not know (SK-D034), is put into
    report.failed, and the others go on. Raises UsageError SK-C012 before anything is written,
    StorageError where the disk refuses.
    """
    output.refuse_clashes(sources)
    report = Report(model, predictor.model.record, str(predictor.device), predictor.precision)

    def on_image() -> None:
        progress(len(report.images) + len(report.failed), len(sources))

    record = predictor.model.record
    given, classes = as_trained(record, intensity), tuple(record.label_names)
    reading = recorded_reading(record.training, max_pixels)
    palette = palette_for(record.label_count, record.palette)

    def read(source: Source) -> Given:
        return given(read_image(source.path, reading=reading), str(source.path))

    for group in _alike(_readable(sources, read, report, on_image), batch):
        images = [image for _, image in group]
        label_maps = predictor.label_maps([each.pixels for each in images], images[0].full_scale)
        for (source, image), label_HW in zip(group, label_maps, strict=True):
            prediction = Prediction(label_HW, classes, palette, image)
            report.images.append(_write(output, source, prediction))
            on_image()
    with storage_errors(output.folder):
        output.folder.mkdir(parents=True, exist_ok=True)
        replace_text(output.folder / REPORT, json.dumps(report.as_json(), indent=2) + "\n")
    return report


def _readable(
    sources: Sequence[Source],
    read: Callable[[Source], Given],
    report: Report,
    on_image: Callable[[], None],
) -> Iterator[tuple[Source, Given]]:
    for source in sources:
        try:
            image = read(source)
        except (DataError, StorageError) as error:
            report.failed.append(_failure(source, error))
            on_image()
        else:
            yield source, image


def _failure(source: Source, error: SegkitError) -> Failed:
    return Failed(str(source.path), error.code, error.what, error.fix)


def _alike(
    images: Iterable[tuple[Source, Given]], batch: int
) -> Iterator[list[tuple[Source, Given]]]:
    """Groups of neighbours of one shape, type and scale."""
    group: list[tuple[Source, Given]] = []
    for source, image in images:
        if len(group) == batch or (group and not group[0][1].is_alike(image)):
            yield group
            group = []
        group.append((source, image))
    if group:
        yield group


def _write(output: Output, source: Source, prediction: Prediction) -> Predicted:
    mask, picture = output.mask(source), None
    prediction.write_mask(mask)
    if output.overlays:
        picture = output.overlay(source)
        prediction.write_overlay(picture)
    height, width = prediction.labels.shape
    return Predicted(
        file=str(source.path),
        height=height,
        width=width,
        mask=mask.relative_to(output.folder).as_posix(),
        overlay=picture.relative_to(output.folder).as_posix() if picture else None,
        shares=prediction.shares,
    )
