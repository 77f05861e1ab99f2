"""Reading the image and the mask of a pair: from their files, or from the cache of pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from segkit.data.files.facts import stamp
from segkit.data.files.images import read_image
from segkit.data.files.masks import MaskFacts
from segkit.data.files.pairing import Pair
from segkit.data.files.pixel_cache import PixelCache, Stamp, entry_name, open_cache, set_folder
from segkit.data.files.pixels import Pixels
from segkit.data.files.quick_decoding import quick_jpeg, quick_png
from segkit.data.files.reading import PLAIN, Reading
from segkit.data.intensity import RANGE, Intensity, percentiles
from segkit.data.masks.label_rule import Labelling
from segkit.data.opening.fitting import Item, stored_values
from segkit.data.opening.inspection import Inspection
from segkit.data.stored import Window

# Images that percentiles are measured on.
MEASURED = 64


@dataclass(frozen=True)
class ItemReader:
    """Reads from the files, every time anew.

    channels   of every image
    as_colour  masks are given as packed colours
    intensity  what becomes of the stored values
    plain      files that have been decoded once and are of the plainest kinds, with their stamps
               at that time: they are decoded the quick way
    """

    channels: int
    as_colour: bool = False
    reading: Reading = PLAIN
    intensity: Intensity = RANGE
    plain: Mapping[Path, Stamp] = field(default_factory=dict)

    def image(self, item: Item) -> np.ndarray:
        """(H, W, channels), black and white applied; raises DataError as `read_image` does."""
        return self.intensity.applied(self.stored_image(item))

    def stored_image(self, item: Item) -> np.ndarray:
        """(H, W, channels) as the files have it; raises DataError as `read_image` does."""
        quick = self._quickly(item.pair.image, quick_jpeg)
        if quick is not None:
            return quick
        channels = 1 if item.pair.more else self.channels
        parts = [
            read_image(path, channels, upright=item.image_upright, reading=self.reading)
            for path in item.pair.images
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def values(self, item: Item) -> np.ndarray:
        """(H, W) stored values of the mask; raises DataError as `read_values` does."""
        found = self._quickly(item.pair.mask, quick_png)
        return stored_values(item, self.reading, self.as_colour, found)

    def image_window(self, item: Item) -> Window:
        """As `image`, for one who needs a part only."""
        return self.image(item)

    def values_window(self, item: Item) -> Window:
        """As `values`, for one who needs a part only."""
        return self.values(item)

    def _quickly(
        self, path: Path, decode: Callable[[bytes], np.ndarray | None]
    ) -> np.ndarray | None:
        before = self.plain.get(path)
        if before is None or stamp(path) != before:
            return None
        try:
            return decode(path.read_bytes())
        # The careful way tells what is wrong with it.
        except OSError:
            return None


@dataclass(frozen=True)
class Entries:
    """The names of one pair's cache entries, and the files' stamps that they hold for."""

    image: str
    mask: str
    image_seen: Mapping[Path, Stamp]
    mask_seen: Mapping[Path, Stamp]


@dataclass(frozen=True)
class CachedReader(ItemReader):
    """Reads from the cache what is there, and puts there what is not."""

    cache: PixelCache | None = None
    entries: Mapping[Pair, Entries] | None = None

    def image(self, item: Item) -> np.ndarray:
        read = partial(super().image, item)
        if self.cache is None or self.entries is None:
            return read()
        cached = self.entries[item.pair]
        return self.cache.array(cached.image, cached.image_seen, read)

    def values(self, item: Item) -> np.ndarray:
        read = partial(super().values, item)
        if self.cache is None or self.entries is None:
            return read()
        cached = self.entries[item.pair]
        return self.cache.array(cached.mask, cached.mask_seen, read)

    def image_window(self, item: Item) -> Window:
        read = partial(super().image, item)
        if self.cache is None or self.entries is None:
            return read()
        cached = self.entries[item.pair]
        return self.cache.window(cached.image, cached.image_seen, read)

    def values_window(self, item: Item) -> Window:
        read = partial(super().values, item)
        if self.cache is None or self.entries is None:
            return read()
        cached = self.entries[item.pair]
        return self.cache.window(cached.mask, cached.mask_seen, read)


def plain_reader(seen: Inspection, labelling: Labelling, pixels: Pixels) -> ItemReader:
    """A reader that caches nothing; percentiles of the data are measured here."""
    colour = labelling.rule.colour
    jpegs = _plain_jpegs(seen) if pixels.channels == 3 else {}
    pngs = {} if colour else _plain_pngs(seen)
    reader = ItemReader(pixels.channels, colour, seen.reading, pixels.intensity, jpegs | pngs)
    if pixels.intensity.scaling != "percentile" or pixels.intensity.white is not None:
        return reader
    return replace(reader, intensity=_by_percentiles(seen, reader))


def _by_percentiles(seen: Inspection, reader: ItemReader) -> Intensity:
    """Black and white by the percentiles of up to 64 training images, spread over all."""
    pairs = seen.layout.splits.get("train", seen.layout.pairs)
    items = [seen.items[pair] for pair in pairs if pair in seen.items]
    chosen = items[:: -(-len(items) // MEASURED)]
    black, white = percentiles(reader.stored_image(item) for item in chosen)
    return replace(reader.intensity, black=black, white=white)


def _plain_jpegs(seen: Inspection) -> dict[Path, Stamp]:
    """Images that are one colour JPEG each and are not turned."""
    found = {}
    for item in seen.items.values():
        facts = seen.images[item.pair.image]
        if (facts.format, facts.mode, item.pair.more) != ("JPEG", "RGB", ()):
            continue
        if facts.orientation == 1 or not item.image_upright:
            found[facts.path] = seen.stamps[facts.path]
    return found


def _plain_pngs(seen: Inspection) -> dict[Path, Stamp]:
    """Masks that are PNGs of indices or greys and are not turned."""
    found = {}
    for item in seen.items.values():
        facts = seen.masks[item.pair.mask]
        if facts.format == "PNG" and not facts.colour and not item.mask_upright:
            found[facts.path] = seen.stamps[facts.path]
    return found


def cached_reader(
    root: Path, seen: Inspection, plain: ItemReader, mode: str
) -> tuple[ItemReader, str]:
    """A reader that caches what it decodes, where that fits (see `open_cache`), and a sentence."""
    how: tuple[object, ...] = (
        plain.channels,
        plain.as_colour,
        replace(plain.reading, max_pixels=0),
    )
    if plain.intensity.changes_pixels:
        how = (*how, plain.intensity)
    entries = {pair: _entries(seen, item) for pair, item in seen.items.items()}
    names = {name for each in entries.values() for name in (each.image, each.mask)}
    need = sum(_bytes(seen, item, plain) for item in seen.items.values())
    cache, note = open_cache(set_folder(root, *how), names, need, mode)
    if cache is None:
        return plain, note
    given = (plain.channels, plain.as_colour, plain.reading, plain.intensity, plain.plain)
    return CachedReader(*given, cache, entries), note


def _entries(seen: Inspection, item: Item) -> Entries:
    images, mask = [seen.images[path] for path in item.pair.images], seen.masks[item.pair.mask]
    larger = (item.height, item.width) if item.resized else ()
    turns = [image.orientation if item.image_upright else 1 for image in images]
    return Entries(
        entry_name("image", [image.digest for image in images], turns),
        entry_name("mask", mask.digest, mask.orientation if item.mask_upright else 1, *larger),
        {path: seen.stamps[path] for path in item.pair.images},
        {item.pair.mask: seen.stamps[item.pair.mask]},
    )


def _bytes(seen: Inspection, item: Item, plain: ItemReader) -> int:
    stored = np.dtype(seen.images[item.pair.image].dtype).itemsize
    depth = 4 if plain.intensity.changes_pixels else stored
    mask_depth = 4 if plain.as_colour else _depth(seen.masks[item.pair.mask])
    return item.height * item.width * (plain.channels * depth + mask_depth)


def _depth(mask: MaskFacts) -> int:
    """Bytes of a value, nearly: what matters is the size of the whole."""
    return 1 if max(mask.counts) < 256 else 2
