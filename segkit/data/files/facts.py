"""What each image and mask file is: decoded once, remembered outside the data folder.

Every file is decoded fully, since a header says nothing of a picture cut short. The facts of larger
sets are kept in the user's cache folder, by size and time of change: the next start reads no
unchanged file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from segkit.data.files.decoding import decode
from segkit.data.files.images import as_image
from segkit.data.files.masks import MaskFacts, scan_mask
from segkit.data.files.reading import PLAIN, Reading
from segkit.data.files.transitions import Transitions
from segkit.data.findings import Finding, from_error
from segkit.errors import SegkitError
from segkit.storage import replace_text

THREADS = 4
# Raise it where facts change their meaning: older caches are then forgotten.
CACHE_VERSION = 9
# Fewer files are looked at again in less than a second.
WORTH_KEEPING = 100
# Side of the thumbnails.
THUMBNAIL = 16

Facts = TypeVar("Facts", "ImageFacts", MaskFacts)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ImageFacts:
    """One image file, decoded.

    height, width    as stored
    channels         as `read_image` gives them
    dtype            "uint8", "uint16" or "float32"
    mode, format     as the file says: "RGBA", "PNG"
    orientation      EXIF, 1 where there is none
    lowest, highest  of all values
    transparent      it has an alpha channel that varies
    digest           of the pixels: equal pictures have equal ones
    thumbnail        16 x 16 greys, 0 to 255 of its own range, in hexadecimal
    """

    path: Path
    height: int
    width: int
    channels: int
    dtype: str
    mode: str
    format: str
    orientation: int
    lowest: float
    highest: float
    transparent: bool
    digest: str
    thumbnail: str


def look_at_image(path: Path, reading: Reading = PLAIN) -> ImageFacts:
    """Decodes one image; raises DataError SK-D004, D006, D014, D015 or D016."""
    decoded = decode(path, reading=reading)
    image_HWC = as_image(path, decoded, reading)
    height, width, channels = image_HWC.shape
    alpha = decoded.pixels[:, :, -1] if decoded.mode in ("LA", "RGBA") else None
    digest = hashlib.blake2b(f"{image_HWC.shape} {image_HWC.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image_HWC).data)
    return ImageFacts(
        path=path,
        height=height,
        width=width,
        channels=channels,
        dtype=str(image_HWC.dtype),
        mode=decoded.mode,
        format=decoded.format,
        orientation=decoded.orientation,
        lowest=float(image_HWC.min()),
        highest=float(image_HWC.max()),
        transparent=alpha is not None and int(alpha.min()) != int(alpha.max()),
        digest=digest.hexdigest(),
        thumbnail=_thumbnail(image_HWC),
    )


def _thumbnail(image_HWC: np.ndarray) -> str:
    # Every few pixels do: what is compared are pictures a moment apart, not details.
    down, right = (max(1, side // (4 * THUMBNAIL)) for side in image_HWC.shape[:2])
    grey_HW = image_HWC[::down, ::right, :3].astype(np.float32).mean(axis=2)
    small_HW = cv2.resize(grey_HW, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    low, high = float(small_HW.min()), float(small_HW.max())
    greys = (small_HW - low) * (255 / max(high - low, 1e-12))
    return np.rint(greys).astype(np.uint8).tobytes().hex()


@dataclass
class FactCache:
    """Facts by file, kept in a JSON file between runs.

    file      where
    entries   {path: [bytes, time of change in ns, facts]}
    """

    file: Path
    entries: dict[str, list[Any]] = field(default_factory=dict)
    changed: bool = False

    @classmethod
    def of(cls, root: Path, reading: Reading = PLAIN) -> FactCache:
        """The cache of one data folder read in one way; empty where there is none yet."""
        whose = f"{root.resolve()} {replace(reading, max_pixels=0)}"
        name = hashlib.blake2b(whose.encode(), digest_size=12).hexdigest()
        file = cache_folder() / f"{name}.json"
        # A cache that is missing, damaged or of another version is no cache.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(file.read_text(encoding="utf-8"))
            if content["version"] == CACHE_VERSION:
                return cls(file, dict(content["entries"]))
        return cls(file)

    def find(self, path: Path) -> dict[str, Any] | None:
        """The facts of the file, where it has not changed since."""
        entry = self.entries.get(str(path))
        return entry[2] if entry is not None and tuple(entry[:2]) == stamp(path) else None

    def keep(self, path: Path, facts: ImageFacts | MaskFacts, seen: tuple[int, int] | None) -> None:
        """Remembers facts; `seen` is the file's stamp from before it was read."""
        if seen is not None and seen == stamp(path):
            content = asdict(facts)
            del content["path"]
            self.entries[str(path)] = [*seen, content]
            self.changed = True

    def stamp_of(self, path: Path) -> tuple[int, int]:
        """Size and time of change when the file was read; (-1, -1) where it changed meanwhile."""
        entry = self.entries.get(str(path))
        return (entry[0], entry[1]) if entry is not None else (-1, -1)

    def save(self) -> None:
        """Writes the file, whole or not at all; where that fails, the next start looks again."""
        if not self.changed or len(self.entries) < WORTH_KEEPING:
            return
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            content = {"version": CACHE_VERSION, "entries": self.entries}
            replace_text(self.file, json.dumps(content), durable=False)


def cache_folder() -> Path:
    """SEGKIT_CACHE, else the user's cache folder; never below the data."""
    given = os.environ.get("SEGKIT_CACHE")
    if given:
        return Path(given) / "data"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "segkit" / "data"


def stamp(path: Path) -> tuple[int, int] | None:
    """Size and time of change: a file with the same ones is taken to be the same."""
    try:
        status = os.stat(path)  # noqa: PTH116 - asked for every sample: pathlib takes twice as long
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def look_at_all(
    images: Sequence[Path],
    masks: Sequence[Path],
    cache: FactCache,
    progress: Progress | None = None,
    reading: Reading = PLAIN,
) -> tuple[dict[Path, ImageFacts], dict[Path, MaskFacts], list[Finding]]:
    """Every file's facts, on threads, and a finding for each file that cannot be read."""

    def image(path: Path) -> ImageFacts | SegkitError:
        return _known(path, cache, image_from) or _attempt(
            path, lambda p: look_at_image(p, reading), cache
        )

    def mask(path: Path) -> MaskFacts | SegkitError:
        return _known(path, cache, mask_from) or _attempt(
            path, lambda p: scan_mask(p, reading), cache
        )

    jobs: list[tuple[Path, Callable[[Path], Any]]] = [(path, image) for path in images]
    jobs += [(path, mask) for path in masks]
    found: list[Any] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for result in pool.map(lambda job: job[1](job[0]), jobs):
            found.append(result)
            if progress is not None:
                progress(len(found), len(jobs))
    cache.save()
    findings = [
        from_error(result, path)
        for (path, _), result in zip(jobs, found, strict=True)
        if isinstance(result, SegkitError)
    ]
    image_facts = {facts.path: facts for facts in found if isinstance(facts, ImageFacts)}
    mask_facts = {facts.path: facts for facts in found if isinstance(facts, MaskFacts)}
    return image_facts, mask_facts, findings


def _known(
    path: Path, cache: FactCache, restore: Callable[[Path, dict[str, Any]], Facts]
) -> Facts | None:
    content = cache.find(path)
    if content is None:
        return None
    # An entry that does not fit, from a file someone edited, is looked at anew.
    with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
        return restore(path, content)
    return None


def _attempt(path: Path, look: Callable[[Path], Facts], cache: FactCache) -> Facts | SegkitError:
    seen = stamp(path)
    try:
        facts = look(path)
    except SegkitError as error:
        return error
    cache.keep(path, facts, seen)
    return facts


def image_from(path: Path, content: dict[str, Any]) -> ImageFacts:
    """Facts as the cache holds them."""
    return ImageFacts(path=path, **content)


def mask_from(path: Path, content: dict[str, Any]) -> MaskFacts:
    """Facts as the cache holds them: JSON has made texts of the numbers that are keys."""
    counts = {int(value): int(pixels) for value, pixels in content["counts"].items()}
    palette = {int(v): (int(r), int(g), int(b)) for v, (r, g, b) in content["palette"].items()}
    crossings: dict[str, Any] = {
        name: {int(value): int(runs) for value, runs in found.items()}
        if isinstance(found, dict)
        else int(found)
        for name, found in content["transitions"].items()
    }
    found = {"counts": counts, "palette": palette, "transitions": Transitions(**crossings)}
    return MaskFacts(path=path, **content | found)
