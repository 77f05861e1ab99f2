"""Large images predicted into a folder beside the others: mask, overlay and line of the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from segkit.errors import DataError, StorageError, UsageError
from segkit.inference.journal import Journal, stamp
from segkit.inference.output import Failed, Output, Predicted
from segkit.inference.predictor import Predictor
from segkit.inference.slides.maps import MUTUAL, PROBABILITIES, UNCERTAINTY
from segkit.inference.slides.predicting import RegionSettings, Slide
from segkit.inference.slides.wanted import Wanted
from segkit.inference.sources import Source


def refuse_what_cannot_be_joined(
    sources: Sequence[Source], output: Output, separating: bool, overlap: float
) -> None:
    """Raises UsageError SK-C007 where objects of a large image are asked for that cannot be joined.

    separating   whether the model tells objects apart that touch
    overlap      share of a tile that neighbours have in common
    """
    large = [source for source in sources if source.by_region]
    if large and output.counts_objects and separating and not overlap:
        raise UsageError(
            "SK-C007",
            f"{large[0].path} is read by region, and without an overlap the objects that the model "
            "separates cannot be joined where regions meet.",
            "Give --overlap 0.25, or leave it out.",
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
    background: int,
    on_region: Callable[[str, int, int], None] = lambda name, done, regions: None,
) -> None:
    """Predicts every source that is read by region; what cannot be read goes into `failed`.

    background  the label of what is no object
    on_region   called with (name, regions done, regions)
    """
    for source in sources:
        slide = Slide(source.path, _wanted(output, source, background))
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
                overlay=output.relative(source, "overlays"),
                shares=found.shares,
                pixel_size=found.pixel_size,
                unit=found.unit,
                doubt=found.doubt.get(UNCERTAINTY),
                mutual_information=found.doubt.get(MUTUAL),
            )
            journal.add(source, result, found.objects, output.relative(source, "coco") or [])
            slide.finish()
        on_image()


def _wanted(output: Output, source: Source, background: int) -> Wanted:
    files = output.files_of(source)
    return Wanted(
        files["masks"],
        overlay=files.get("overlays"),
        objects=files.get("objects"),
        geojson=files.get("geojson"),
        coco=files.get("coco"),
        probabilities=files.get(PROBABILITIES),
        uncertainty=files.get(UNCERTAINTY),
        mutual_information=files.get(MUTUAL),
        background=background,
        least_area=output.least_area,
    )
