"""One look at a whole data set: files, sizes, labels and splits, and all that is wrong with them.

Opening a data set and `segkit data check` both stand on it: the first refuses to go on where there
is an error, the second shows all that was found.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from segkit.data.files.facts import FactCache, ImageFacts, Progress, look_at_all
from segkit.data.files.masks import MaskFacts
from segkit.data.files.pairing import EXPECTED, Pair
from segkit.data.files.pixels import Pixels, find_pixels, joined
from segkit.data.files.reading import PLAIN, Reading, declaring
from segkit.data.findings import ERROR, WARNING, Finding, from_error, no_folder
from segkit.data.layouts.annotations import annotation_kind
from segkit.data.layouts.folders import find_layout
from segkit.data.layouts.layout import Declared, Layout
from segkit.data.layouts.neighbours import neighbours_across_splits
from segkit.data.masks.label_rule import Labelling
from segkit.data.masks.labels import Wishes, find_labels
from segkit.data.opening.faults import Judged, in_two_splits, of_one_value, unlearnable
from segkit.data.opening.fitting import Item, fitting
from segkit.data.options import PLAIN_OPTIONS, DataOptions
from segkit.data.settings import DataSettings, find_settings
from segkit.errors import DataError

Found = TypeVar("Found")

# Suffixes that say another format than these hold are passed over in silence: a wrong one is told.
SUFFIX_OF = {
    "JPEG": (".jpg", ".jpeg", ".jpe"),
    "MPO": (".jpg", ".jpeg", ".jpe"),
    "PNG": (".png",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
}


@dataclass(frozen=True)
class Inspection:
    """What a look at a data set found.

    images, masks   facts of every file that could be read
    items           the pairs that fit, by pair
    labelling       None where the masks' values could not be understood
    pixels          None where the images have no common channels or depth
    reading         how files are read where they leave a choice
    stamps          size and time of change of each file when it was read
    findings        errors and warnings, in the order in which they were found
    """

    settings: DataSettings
    layout: Layout
    images: Mapping[Path, ImageFacts]
    masks: Mapping[Path, MaskFacts]
    items: Mapping[Pair, Item]
    labelling: Labelling | None
    pixels: Pixels | None
    findings: tuple[Finding, ...]
    reading: Reading = field(default_factory=Reading)
    stamps: Mapping[Path, tuple[int, int]] = field(default_factory=dict)

    @property
    def has_errors(self) -> bool:
        return any(finding.level == ERROR for finding in self.findings)


def inspect(
    root: Path, options: DataOptions = PLAIN_OPTIONS, progress: Progress | None = None
) -> Inspection:
    """Decodes every file once (or remembers it, see `facts`) and collects all that is wrong.

    Raises DataError only where there is nothing to look at: SK-D001, D009 or D010.
    """
    if not root.exists():
        raise no_folder(root)
    settings, layout = _layout(root, options)
    settings = with_recorded(with_declared(settings, layout.declared), options.reading)
    wishes = Wishes(**vars(options)).with_settings(settings)
    settings, pairs = wishes.settings, layout.pairs
    reading = settings.reading()
    cache = FactCache.of(root, reading)
    images, masks, unreadable = look_at_all(
        [path for pair in pairs for path in pair.images],
        [pair.mask for pair in pairs],
        cache,
        progress,
        reading,
    )
    findings = [*layout.findings, *unreadable]
    readable = [p for p in pairs if set(p.images) <= images.keys() and p.mask in masks]
    items, misfits = fitting(readable, images, masks, settings)
    findings += misfits
    pixels, labelling = None, None
    if images:
        pixels = _tried(lambda: _pixels_of(images, pairs, wishes), findings)
    if masks:
        labelling = _tried(lambda: find_labels(list(masks.values()), wishes), findings)
        resized = sum(item.resized for item in items.values())
        if labelling is not None and resized:
            note = f"{resized} masks are brought to their images' size by nearest neighbour."
            labelling = replace(labelling, notes=(*labelling.notes, note))
    judged = _judged(layout, images, masks, labelling)
    findings += _leaks(layout, judged, settings)
    findings += neighbours_across_splits(layout, images)
    findings += _oddities(images.values(), reading)
    if labelling is not None:
        findings += labelling.questions
        findings += unlearnable(judged, labelling.classes, labelling.ignore_index)
        findings += _without_boundary(judged, labelling)
    return Inspection(
        settings,
        layout,
        images,
        masks,
        items,
        labelling,
        pixels,
        tuple(findings),
        reading,
        {path: cache.stamp_of(path) for path in (*images, *masks)},
    )


def _layout(root: Path, options: DataOptions) -> tuple[DataSettings, Layout]:
    """Where images and masks lie; annotations that are no masks yet are named, with the repair."""
    try:
        if root.suffix == ".json" and root.is_file():
            raise DataError("SK-D001", f"{root} is no data.yaml.", EXPECTED)
        settings = find_settings(root, options.declare)
        return settings, find_layout(root, settings, val_share=options.val_share, seed=options.seed)
    except DataError as error:
        source = root.parent if root.suffix in (".yaml", ".yml") else root
        kind = annotation_kind(source)
        if kind is None or (source / "masks").is_dir():
            raise
        out = f"{source.resolve().stem}-masks"
        raise DataError(
            "SK-D001",
            f"{source} holds annotations of {kind}, which are no masks yet.",
            f"segkit data convert {shlex.quote(str(source))} {shlex.quote(out)}",
        ) from error


def _tried(find: Callable[[], Found], findings: list[Finding]) -> Found | None:
    """What `find` finds; None where it raises a DataError, which joins the findings."""
    try:
        return find()
    except DataError as error:
        findings.append(from_error(error))
        return None


def _pixels_of(images: Mapping[Path, ImageFacts], pairs: Sequence[Pair], wishes: Wishes) -> Pixels:
    settings = wishes.settings
    channels = wishes.in_channels or settings.in_channels
    intensity = wishes.intensity or settings.intensity
    pixels = find_pixels(list(images.values()), channels, settings.reading(), intensity)
    return joined(pixels, [len(pair.images) for pair in pairs], list(images.values()))


def with_declared(settings: DataSettings, declared: Declared | None) -> DataSettings:
    """data.yaml's settings, completed by what the layout's own files say."""
    if declared is None:
        return settings
    ignore = declared.ignore_index if settings.ignore_index is None else settings.ignore_index
    return replace(
        settings,
        names=settings.names or declared.names,
        palette=settings.palette or declared.palette or {},
        ignore_index=ignore,
    )


def with_recorded(settings: DataSettings, reading: Reading | None) -> DataSettings:
    """data.yaml's settings, completed by how a model's own images were read.

    Raises DataError SK-D009 where data.yaml says otherwise.
    """
    if reading is None:
        return settings
    for name, used in reading.record().items():
        said, default = getattr(settings, name), getattr(PLAIN, name)
        if said not in (used, default):
            raise DataError(
                "SK-D009",
                f"{settings.file} says {name}: {said}, and the model was trained with "
                f"{name}: {'none' if used is None else used}.",
                "Score it on images that are read as its own were.",
            )
    return replace(settings, **reading.record())


def label_counts(facts: MaskFacts, labelling: Labelling) -> Counter[int]:
    """Pixels of each label in one mask, the ignored one included."""
    counts: Counter[int] = Counter()
    rule = labelling.rule
    for value, pixels in rule.values_of(facts).items():
        label = rule.label(value)
        outermost = facts.transitions.edges.get(value, 0) if rule.boundary and label == 1 else 0
        counts.update({label: pixels - outermost, 2: outermost} if outermost else {label: pixels})
    return +counts


def _leaks(layout: Layout, judged: Sequence[Judged], settings: DataSettings) -> list[Finding]:
    """Pictures that lie in two splits, by their pixels.

    An error where the split is the user's own; a drawn one only shows that the set repeats itself.
    """
    fix = "Scores would flatter: take one out."
    if settings.allow_leak or layout.drawn:
        return in_two_splits(judged, WARNING, fix)
    fix += f"\nOr allow it: {declaring('allow_leak: true', settings.to_write)}."
    return in_two_splits(judged, ERROR, fix)


def _oddities(images: Iterable[ImageFacts], reading: Reading) -> list[Finding]:
    """Files that are not quite what they seem; none of it stops a training."""
    findings: list[Finding] = []
    for facts in images:
        path = facts.path
        findings += of_one_value(str(path), facts.lowest, facts.highest, (path,))
        if path.suffix.lower() not in SUFFIX_OF.get(facts.format, (path.suffix.lower(),)):
            what = f"{path} is a {facts.format} file."
            findings.append(Finding("SK-D023", what, "", (path,), WARNING))
        if facts.transparent and reading.alpha == "drop":
            what = f"{path} is transparent in parts; alpha is dropped."
            fix = f"If it matters, lay on white or keep it: {reading.otherwise('alpha: white')}; "
            fix += "or `alpha: channel`."
            findings.append(Finding("SK-D023", what, fix, (path,), WARNING))
        if facts.mode in ("CMYK", "YCCK", "LAB"):
            what = f"{path} is {facts.mode}, converted to RGB."
            findings.append(Finding("SK-D023", what, "", (path,), WARNING))
    return findings


def _judged(
    layout: Layout,
    images: Mapping[Path, ImageFacts],
    masks: Mapping[Path, MaskFacts],
    labelling: Labelling | None,
) -> list[Judged]:
    """The samples whose image could be read; without counts where masks are not understood."""
    found = []
    for split, pairs in layout.splits.items():
        for pair in pairs:
            image, mask = images.get(pair.image), masks.get(pair.mask)
            if image is None:
                continue
            counts: Counter[int] = Counter()
            if mask is not None and labelling is not None:
                counts = label_counts(mask, labelling)
            found.append(
                Judged(
                    split,
                    str(pair.image),
                    str(pair.mask),
                    counts,
                    image.lowest,
                    image.highest,
                    image.digest,
                    (pair.image, pair.mask),
                )
            )
    return found


def _without_boundary(judged: Sequence[Judged], labelling: Labelling) -> list[Finding]:
    """SK-D022 where boundaries were asked for and there are none; mostly nothing."""
    if not labelling.rule.boundary or any(each.counts.get(2) for each in judged):
        return []
    what = (
        "--instances boundary yields no boundary pixel: no mask holds an object beside anything "
        "else."
    )
    fix = "Look at a mask: is each object's number there, and 0 around it?"
    return [Finding("SK-D022", what, fix, (), WARNING)]
