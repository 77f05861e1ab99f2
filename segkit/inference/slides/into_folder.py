"""Large images predicted into a folder beside the others: mask, overlay and line of the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from segkit.errors import DataError, StorageError, UsageError
from segkit.inference.journal import Journal, stamp
from segkit.inference.output import Failed, Output, Predicted
from segkit.inference.predictor import Predictor
from segkit.inference.slides.predicting import RegionSettings, Slide
from segkit.inference.sources import Source


def refuse_what_needs_whole_images(
    sources: Sequence[Source], output: Output, separating: bool = False
) -> None:
    """Raises UsageError SK-C007 where objects or probabilities of a large image are asked for.

    separating   whether the model was trained to tell objects apart, and so counts them unasked
    """
    large = [source for source in sources if source.by_region]
    if not large:
        return
    if separating:
        raise UsageError(
            "SK-C007",
            f"{large[0].path} is read by region, and the model tells objects apart, which needs "
            "whole images.",
            "Cut the image into pieces of at most 64 million pixels, or use a model of classes.",
        )
    if output.counts_objects or output.needs_probabilities:
        raise UsageError(
            "SK-C007",
            f"{large[0].path} is read by region, and --objects, --geojson, --coco, --probabilities "
            "and --uncertainty need whole images.",
            "Leave them out for it; objects can be counted in the mask that is written.",
        )


def predict_large(
    predictor: Predictor,
    sources: Sequence[Source],
    output: Output,
    settings: RegionSettings,
    journal: Journal,
    conditions: Mapping[str, object],
    failed: list[Failed],
    on_image: Callable[[], None],
    on_region: Callable[[str, int, int], None] = lambda name, done, regions: None,
) -> None:
    """Predicts every source that is read by region; what cannot be read goes into `failed`.

    on_region   called with (name, regions done, regions)
    """
    for source in sources:
        overlay = output.overlay(source) if output.overlays else None
        slide = Slide(source.path, output.mask(source), overlay)
        if not output.resume:
            slide.finish()
        asked: dict[str, Any] = {**conditions, "stamp": stamp(source)}

        def on_done(done: int, regions: int, name: str = source.name) -> None:
            on_region(name, done, regions)

        try:
            found = slide.predict(predictor, settings, asked, on_done)
        except (DataError, StorageError) as error:
            if isinstance(error, StorageError) and error.code in ("SK-S001", "SK-S002"):
                raise
            failed.append(Failed.of(source, error))
        else:
            result = Predicted(
                file=str(source.path),
                height=found.size[0],
                width=found.size[1],
                mask=output.mask(source).relative_to(output.folder).as_posix(),
                overlay=overlay.relative_to(output.folder).as_posix() if overlay else None,
                shares=found.shares,
                pixel_size=found.pixel_size,
                unit=found.unit,
            )
            journal.add(source, result, [], [])
            slide.finish()
        on_image()
