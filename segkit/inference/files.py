"""Predicting a set of image files into a folder, from where an earlier command stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segkit.data.files.images import read_image
from segkit.data.files.reading import recorded_reading
from segkit.data.files.spacing import read_spacing
from segkit.data.intensity import Intensity
from segkit.errors import DataError, StorageError, UsageError
from segkit.inference.certainty import Answer, answer
from segkit.inference.journal import FILE, Journal, fingerprint
from segkit.inference.objects import background_label
from segkit.inference.onnx_network import chosen, load_network
from segkit.inference.output import REPORT, Failed, Output, Predicted
from segkit.inference.output_tables import Lines, write_tables
from segkit.inference.prediction import Prediction
from segkit.inference.prediction_report import Report
from segkit.inference.prediction_settings import PredictionSettings
from segkit.inference.predictor import Predictor
from segkit.inference.reading import Given, as_trained, asked_intensity
from segkit.inference.separated import Found, find, separates
from segkit.inference.shards import Shard, failures, merge
from segkit.inference.slides.into_folder import predict_large, refuse_what_cannot_be_joined
from segkit.inference.slides.opening import marked
from segkit.inference.slides.tiff import refuse_level
from segkit.inference.sources import Source, find_sources
from segkit.inference.tiling import Tiling
from segkit.model.streams import streams_of
from segkit.reporting.pictures import palette_for
from segkit.storage import replace_text, storage_errors


def predict_to_folder(
    asked: PredictionSettings,
    images: Sequence[str | Path],
    output: Output,
    progress: Callable[[int, int], None] = lambda done, images: None,
    on_region: Callable[[str, int, int], None] = lambda name, done, regions: None,
) -> Report:
    """Loads a model and writes what it says of files, folders and patterns.

    progress   called with (images done, images)
    on_region  of images that are read by region, called with (name, regions done, regions)
    Raises UsageError, ModelFileError (no model), DataError SK-D001 (no image), and what
    `predict_files` and `merge_shards` raise.
    """
    intensity = asked_intensity(asked.intensity)
    sources = find_sources(images)
    shard = Shard.read(asked.shard) if asked.shard else None
    if shard and asked.merge:
        raise UsageError("SK-C007", "--shard predicts, and --merge adds up.", "Give one of them.")
    if shard:
        shard.refuse_other_number(output.folder)
        sources = tuple(source for source in sources if shard.takes(source))
        output = replace(output, resume=not output.overwrite)
    sources = marked(sources, asked.level)
    certain = asked.ways.several or output.needs_probabilities
    if asked.tile and certain and not all(source.by_region for source in sources):
        raise UsageError(
            "SK-C007",
            "--tta, --mc-dropout, --probabilities and --uncertainty need whole images, and --tile "
            "cuts them.",
            "Leave out --tile, or the others; slides, which are read by region, go with both.",
        )
    device, precision = chosen(asked.model, asked.device, asked.precision)
    batch = asked.batch or streams_of(device)
    tiling = Tiling(asked.tile, asked.overlap, batch) if asked.tile else None
    network = load_network(asked.model, device)
    asked.ways.refuse_no_dropout(network)
    predictor = Predictor(network, device, precision, tiling)
    asked = replace(asked, precision=precision)
    if asked.merge:
        return merge_shards(predictor, sources, output, asked)
    return predict_files(
        predictor,
        sources,
        output,
        asked=asked,
        intensity=intensity,
        batch=batch,
        progress=progress,
        on_region=on_region,
    )


def predict_files(
    predictor: Predictor,
    sources: Sequence[Source],
    output: Output,
    *,
    asked: PredictionSettings,
    intensity: Intensity | None = None,
    batch: int = 1,
    progress: Callable[[int, int], None] = lambda done, images: None,
    on_region: Callable[[str, int, int], None] = lambda name, done, regions: None,
) -> Report:
    """Predicts every source and writes the results at the image's own size, tables and report.

    intensity  which stored values are black and white; None: as recorded with the model
    batch      images of one size, or regions of a large image, to compute together
    progress   called with (images done, images) after each one, predicted, failed or done before

    An image that cannot be read, or whose values the model does not know (SK-D034), is put into
    report.failed, and the others go on. Raises UsageError SK-C012 before anything is written,
    StorageError where the disk refuses.
    """
    output, background, report, conditions = _begun(predictor, sources, output, asked)
    shard = Shard.read(asked.shard) if asked.shard else None
    kept = shard.journal if shard else FILE
    with Journal.opened(output.folder, conditions, resume=output.resume, file=kept) as journal:
        # Not before: another process may be writing the same images, and is refused above.
        output.remove_half_written(sources)
        waiting = [source for source in sources if not journal.holds(source, output)]
        finished = len(sources) - len(waiting)

        def on_image() -> None:
            nonlocal finished
            finished += 1
            progress(finished, len(sources))

        told = replace(asked, background=str(background))
        whole = [source for source in waiting if not source.by_region]
        together = 1 if predictor.tiling else batch
        answers = _predicted(predictor, whole, output, told, intensity, together, report, on_image)
        for source, prediction in answers:
            journal.add(source, *output.write(source, prediction))
            on_image()
        predict_large(
            predictor,
            [source for source in waiting if source.by_region],
            output,
            asked.by_region(batch, intensity),
            journal,
            conditions,
            report.failed,
            on_image,
            background,
            on_region,
        )
        if shard:
            report.images = [Predicted(**line["image"]) for line in journal.lines(sources)]
            shard.end(output.folder, report.failed)
        else:
            _write_report(report, output, background, partial(journal.lines, sources))
    return report


def merge_shards(
    predictor: Predictor, sources: Sequence[Source], output: Output, asked: PredictionSettings
) -> Report:
    """Tables and report over all shards, as if one command had predicted all sources.

    What is not done is put into report.failed. Raises UsageError SK-C012 where there is no shard,
    or one with other settings, StorageError SK-S003 where one is still at work.
    """
    output = replace(output, resume=True)
    output, background, report, conditions = _begun(predictor, sources, output, asked)
    count = merge(output.folder, conditions)
    with Journal.opened(output.folder, conditions, resume=True) as journal:
        missing = [source for source in sources if not journal.holds(source, output)]
        left_out = set(missing)
        report.failed = failures(output.folder, missing, count)
        done = [source for source in sources if source not in left_out]
        _write_report(report, output, background, partial(journal.lines, done))
    return report


def _begun(
    predictor: Predictor, sources: Sequence[Source], output: Output, asked: PredictionSettings
) -> tuple[Output, int, Report, dict[str, object]]:
    """What is written, the background's label, an empty report, and what results depend on."""
    record = predictor.model.record
    background = background_label(asked.background, record.label_names, record.background)
    # Who had it learn to tell objects apart wants to see them.
    output = replace(
        output,
        objects=output.objects or bool(record.separation),
        least_area=output.least_area or (None if record.separation else 1),
        mutual_information=output.uncertainty and asked.ways.contradict(predictor.model),
    )
    refuse_what_cannot_be_joined(sources, output, separates(predictor), asked.overlap)
    output.refuse_clashes(sources)
    report = Report(asked.model, record, str(predictor.device), predictor.precision)
    conditions = {"model": fingerprint(predictor.model), **asked.shaping, **output.kept}
    if output.needs_probabilities and record.temperature != 1:
        conditions["temperature"] = record.temperature
    return output, background, report, conditions


def _write_report(report: Report, output: Output, background: int, lines: Lines) -> None:
    """Tables and predictions.json over all images that are done, and those that failed."""
    report.images = [Predicted(**line["image"]) for line in lines()]
    write_tables(output, report.failed, report.record.label_names, background, lines)
    with storage_errors(output.folder):
        replace_text(output.folder / REPORT, json.dumps(report.as_json(), indent=2) + "\n")


def _predicted(
    predictor: Predictor,
    sources: Sequence[Source],
    output: Output,
    asked: PredictionSettings,
    intensity: Intensity | None,
    batch: int,
    report: Report,
    on_failure: Callable[[], None],
) -> Iterator[tuple[Source, Prediction]]:
    """What the model says of each source that can be read; the others go into the report."""
    record = predictor.model.record
    given, classes = as_trained(record, intensity), tuple(record.label_names)
    background = int(asked.background or record.background)
    reading = recorded_reading(record.training, asked.max_pixels)
    palette = palette_for(record.label_count, record.palette)

    def read(source: Source) -> Given:
        if asked.level:
            refuse_level(source.path, asked.level, ())
        return given(read_image(source.path, reading=reading), str(source.path))

    certain = asked.ways.several or output.needs_probabilities
    for group in _alike(_readable(sources, read, report, on_failure), 1 if certain else batch):
        images = [image for _, image in group]
        said: list[Answer] = []
        if certain:
            said = [answer(predictor, each, asked.ways) for each in images]
        found = _found(predictor, images, said)
        for place, ((source, image), each) in enumerate(zip(group, found, strict=True)):
            yield (
                source,
                Prediction(
                    each.label_HW,
                    classes,
                    palette,
                    image,
                    said[place].probability_KHW if said else None,
                    read_spacing(source.path),
                    background,
                    each.numbers(predictor, background, output.least_area),
                    said[place].mutual_HW if said else None,
                ),
            )


def _found(predictor: Predictor, images: Sequence[Given], said: Sequence[Answer]) -> list[Found]:
    """Labels of images of one size, and the maps of a model that separates objects.

    said   answers that hold the labels already; none where none were asked for
    """
    scale = images[0].full_scale
    known: list[NDArray[np.integer] | None] = [None] * len(images)
    if said:
        known = [each.label_HW for each in said]
    elif not predictor.model.record.separation:
        known = [*predictor.label_maps([each.pixels for each in images], scale)]
    return [
        find(predictor, image.pixels, scale, label_HW=label_HW)
        for image, label_HW in zip(images, known, strict=True)
    ]


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
            report.failed.append(Failed.of(source, error))
            on_image()
        else:
            yield source, image


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
