"""From stored values to labels: what the masks of a data set mean, decided over all of them.

A single mask can mislead (0 and 255 may be two classes, or a class and a border); all masks
together mostly tell. Where they do not, nothing is guessed: the error shows the values and the
lines that help.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from segkit.data.files.masks import RGB, MaskFacts, pack
from segkit.data.masks.class_values import about_last, count_classes, is_band
from segkit.data.masks.colours import default_palette
from segkit.data.masks.encoding_faults import (
    no_colour_map,
    undeclared,
    unknown_colours,
)
from segkit.data.masks.label_rule import Labelling, LabelRule, as_colours, as_greys
from segkit.data.masks.levels import WHITES
from segkit.data.masks.plausibility import absent_classes, mapped_in_vain, questions_of_classes
from segkit.data.masks.smear_faults import jpeg_masks, smeared
from segkit.data.masks.smears import find_smear
from segkit.data.options import DataOptions
from segkit.data.setting_values import IGNORED
from segkit.data.settings import DataSettings
from segkit.errors import DataError

BINARY = ("background", "foreground")


@dataclass(frozen=True, kw_only=True)
class Wishes(DataOptions):
    """What the user says: by options, and in data.yaml as `settings`; options come first."""

    settings: DataSettings = field(default_factory=DataSettings)

    def with_settings(self, settings: DataSettings) -> Wishes:
        settings = replace(
            settings,
            binarize=self.binarize or settings.binarize,
            label_mapping=self.label_mapping or settings.label_mapping,
            resize_masks=self.resize_masks or settings.resize_masks,
            max_pixels=self.max_pixels or settings.max_pixels,
        )
        return replace(self, settings=settings)


def find_labels(masks: Sequence[MaskFacts], wishes: Wishes) -> Labelling:
    """Decides what the values mean; raises DataError SK-D007, D008 or D012, with the repair."""
    settings = wishes.settings
    if settings.binarize is not None:
        note = f"Masks: values from {settings.binarize} on are foreground (binarize)."
        rule = LabelRule(threshold=settings.binarize)
        return _labelling(rule, masks, wishes, BINARY, None, [note])
    jpegs = [facts for facts in masks if facts.format in ("JPEG", "MPO")]
    if any(set(facts.counts) - {0, 255} for facts in jpegs):
        raise jpeg_masks(jpegs, settings)
    greys = _palettes_differ(masks) and _all_grey(masks)
    by_colour = not greys and _means_colour(masks, settings)
    if greys or by_colour:
        masks = [as_greys(facts) if greys else as_colours(facts) for facts in masks]
    # One who writes what each value means may mean what was smeared, too.
    smear = None if settings.label_mapping else find_smear(masks)
    if smear is not None:
        raise smeared(smear, settings)
    if by_colour:
        return _from_colours(masks, wishes)
    found = _from_values(masks, wishes)
    return _by_grey(found) if greys else found


def _means_colour(masks: Sequence[MaskFacts], settings: DataSettings) -> bool:
    """Whether the colour is the class, and not the index."""
    return (
        any(facts.colour for facts in masks)
        or _palettes_differ(masks)
        or _drawn_in(masks, settings)
    )


def _from_colours(masks: Sequence[MaskFacts], wishes: Wishes) -> Labelling:
    settings = wishes.settings
    if not settings.palette:
        raise no_colour_map(masks, settings)
    names = settings.names or tuple(name for name in settings.palette if name != IGNORED)
    ignore = _asked_ignore(wishes)
    if IGNORED in settings.palette and ignore is None:
        ignore = 255
    table = {pack(settings.palette[n]): i for i, n in enumerate(names) if n in settings.palette}
    if IGNORED in settings.palette and ignore is not None:
        table[pack(settings.palette[IGNORED])] = ignore
    strange = {value for facts in masks for value in facts.counts if value not in table}
    if strange:
        raise unknown_colours(masks, strange, settings)
    note = f"Masks: colours, {len(names)} classes by the palette in {settings.file}."
    return _labelling(LabelRule(table, colour=True), masks, wishes, names, ignore, [note])


def _by_grey(found: Labelling) -> Labelling:
    """For index files whose palettes are greys in any order, as some GIF writers make them."""
    table = {pack((value, value, value)): label for value, label in found.rule.table.items()}
    return replace(found, rule=replace(found.rule, table=table, colour=True))


def _all_grey(masks: Sequence[MaskFacts]) -> bool:
    """Whether every mask is an index file with a palette of greys."""
    return all(
        facts.palette and all(len(set(colour)) == 1 for colour in facts.palette.values())
        for facts in masks
    )


def _from_values(masks: Sequence[MaskFacts], wishes: Wishes) -> Labelling:
    counts: Counter[int] = Counter()
    for facts in masks:
        counts.update(facts.counts)
    instances = wishes.instances or wishes.settings.instances
    if instances:
        return _objects(masks, wishes, counts)
    if wishes.settings.label_mapping:
        return _mapped(masks, wishes, counts)
    wanted = _declared(wishes)
    white = max(counts) if max(counts) in WHITES else None
    if set(counts) == {0, white} and wanted in (None, 2) and not _is_asked(wishes):
        return _binary(masks, wishes, counts)
    ignore, notes = _ignored(wishes, counts)
    values = sorted(set(counts) - {ignore})
    names: tuple[str, ...] = ()
    if wanted is None:
        asked = _is_asked(wishes)
        wanted, names = count_classes(masks, values, ignore, wishes.settings, asked=asked)
    strange = {value for value in values if not 0 <= value < wanted}
    if strange:
        void = len(strange) == 1 and is_band(masks, *strange)
        model = wishes.of_model
        raise undeclared(masks, strange, wanted, ignore, wishes.settings, by_model=model, void=void)
    if values:
        notes.insert(0, f"Masks: labels {values[0]} to {values[-1]}, {wanted} classes.")
    if wishes.settings.soft:
        notes.append("Fractions count as label 1 from 0.5 on (soft: true).")
    if not names and ignore is None and _declared(wishes) is None and wanted > 2:
        notes += about_last(masks, wanted - 1)
    table = {value: value for value in counts}
    found = _labelling(LabelRule(table), masks, wishes, names or _named(wanted), ignore, notes)
    if _declared(wishes) and not wishes.of_model:
        return replace(found, questions=absent_classes(wanted, values, found.classes))
    if names or wishes.of_model:
        return found
    questions = questions_of_classes(masks, wanted, ignore, wishes.settings)
    return replace(found, questions=questions)


def _declared(wishes: Wishes) -> int | None:
    """How many classes the user says there are; None where nothing says it."""
    return wishes.num_classes or len(wishes.settings.names) or wishes.settings.nc


def _is_asked(wishes: Wishes) -> bool:
    return isinstance(wishes.ignore_index, int) or wishes.settings.ignore_index is not None


def _asked_ignore(wishes: Wishes) -> int | None:
    if wishes.ignore_index == "auto":
        return wishes.settings.ignore_index
    return wishes.ignore_index


def _ignored(wishes: Wishes, counts: Mapping[int, int]) -> tuple[int | None, list[str]]:
    """The ignored label, and a note with its share where it was found rather than asked for."""
    if wishes.ignore_index is None or _is_asked(wishes):
        return _asked_ignore(wishes), []
    # Where it is all there is beside one value, it is rather what is looked for.
    if 255 in counts and len(counts) > (1 if _declared(wishes) is None else 2):
        share = counts[255] / sum(counts.values())
        return 255, [f"Value 255 ({share:.1%} of the pixels) is ignored."]
    return None, []


def _binary(masks: Sequence[MaskFacts], wishes: Wishes, counts: Mapping[int, int]) -> Labelling:
    names = wishes.settings.names or BINARY
    white = max(counts)
    share = counts[white] / sum(counts.values())
    note = (
        f"Masks: 0 and {white}, read as 2 classes: 0 is {names[0]}, {white} is {names[1]} "
        f"({share:.1%} of the pixels)."
    )
    return _labelling(LabelRule({0: 0, white: 1}), masks, wishes, names, None, [note])


def _objects(masks: Sequence[MaskFacts], wishes: Wishes, counts: Mapping[int, int]) -> Labelling:
    ignore = _asked_ignore(wishes)
    table = {} if ignore is None else {ignore: ignore}
    objects = sum(sum(value > 0 and value != ignore for value in facts.counts) for facts in masks)
    boundary = (wishes.instances or wishes.settings.instances) == "boundary"
    names = wishes.settings.names or ((*BINARY, "boundary") if boundary else BINARY)
    note = (
        f"Masks: object numbers, read as {len(names)} classes; {objects:,} objects in "
        f"{len(masks)} masks."
    )
    rule = LabelRule(table, objects=True, boundary=boundary)
    return _labelling(rule, masks, wishes, names, ignore, [note])


def _mapped(masks: Sequence[MaskFacts], wishes: Wishes, counts: Mapping[int, int]) -> Labelling:
    settings = wishes.settings
    ignore = _asked_ignore(wishes)
    if ignore is None and None in settings.label_mapping.values():
        ignore = 255
    table: dict[int, int] = {}
    for value in counts:
        table[value] = value
        for (first, last), label in settings.label_mapping.items():
            if first <= value <= last:
                table[value] = ignore if label is None and ignore is not None else int(label or 0)
    labels = set(table.values()) - {ignore}
    given = [label for label in settings.label_mapping.values() if label is not None]
    wanted = _declared(wishes) or max([*given, *labels], default=0) + 1
    strange = {
        value for value, label in table.items() if label != ignore and not 0 <= label < wanted
    }
    if strange:
        raise undeclared(masks, strange, wanted, ignore, settings)
    by = str(settings.file) if settings.file and not wishes.label_mapping else "--label-mapping"
    note = f"Masks: {len(counts)} values mapped to {wanted} classes by {by}."
    names = settings.names or _named(wanted)
    found = _labelling(LabelRule(table), masks, wishes, names, ignore, [note])
    return replace(found, questions=mapped_in_vain(settings.label_mapping, counts, by))


def _labelling(
    rule: LabelRule,
    masks: Sequence[MaskFacts],
    wishes: Wishes,
    names: Sequence[str],
    ignore: int | None,
    notes: Sequence[str],
) -> Labelling:
    classes = tuple(wishes.settings.names or names)
    if wishes.num_classes not in (None, len(classes)):
        named = "named" if wishes.settings.names else "found in the masks"
        leave_out = "" if wishes.of_model else "Leave out --num-classes. Or d"
        raise DataError(
            "SK-D012",
            f"{len(classes)} classes are {named} ({', '.join(classes[:8])}), "
            f"and {wishes.num_classes} are wanted.",
            f"{leave_out or 'D'}eclare what each value means: --label-mapping "
            f"'{{VALUE: LABEL, …}}', or label_mapping in {wishes.settings.to_write}.",
        )
    palette = _palette(rule, masks, wishes.settings, classes)
    return Labelling(rule, classes, palette, ignore, tuple(notes))


def _palette(
    rule: LabelRule, masks: Sequence[MaskFacts], settings: DataSettings, classes: Sequence[str]
) -> tuple[RGB, ...]:
    """The colours given in data.yaml, else those of the mask files, else the default ones."""
    default = default_palette(len(classes))
    from_files: dict[int, RGB] = {}
    for facts in masks if not rule.colour else ():
        for value, colour in facts.palette.items():
            if value in rule.table:
                from_files.setdefault(rule.table[value], colour)
    return tuple(
        settings.palette.get(name) or from_files.get(label) or default[label]
        for label, name in enumerate(classes)
    )


def _named(count: int) -> tuple[str, ...]:
    return BINARY if count == 2 else tuple(f"class {label}" for label in range(count))


def _palettes_differ(masks: Sequence[MaskFacts]) -> bool:
    """Whether one index has two colours in two files: then the colour is the class."""
    seen: dict[int, RGB] = {}
    return any(
        seen.setdefault(value, colour) != colour
        for facts in masks
        for value, colour in facts.palette.items()
    )


def _drawn_in(masks: Sequence[MaskFacts], settings: DataSettings) -> bool:
    """Whether every mask is an index PNG whose colours are those declared: they say more."""
    declared = set(settings.palette.values())
    return bool(declared) and all(
        facts.palette and set(facts.palette.values()) <= declared for facts in masks
    )
