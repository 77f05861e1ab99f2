"""Files to arrays: which formats are opened, full decoding, and a name in every error.

Pillow decodes with an allowlist of formats (without one it would run Ghostscript on a PostScript
file renamed .png); tifffile decodes TIFF deeper than 8 bits. OpenCV never reads: it expands
palettes.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from segkit.data.files.npy import is_npy, read_npy
from segkit.data.files.reading import MAX_PIXELS, PLAIN, Reading, too_large
from segkit.errors import DataError, StorageError
from segkit.storage import NoPlainFile, require_plain

# A camera's MPO file opens as JPEG.
IMAGE_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM", "JPEG2000")
MASK_FORMATS = ("PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG")
SUFFIXES = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".tif",
        ".tiff",
        ".bmp",
        ".webp",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".jp2",
        ".gif",
    ]
)
# Arrays, which are taken where a folder holds no pictures: others lie beside these as by-products.
ARRAY_SUFFIXES = frozenset([".npy"])
ORIENTATION_TAG = 274
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# Layouts of no use to a network as they are.
TO_RGB = ("CMYK", "YCbCr", "LAB", "HSV", "PA", "RGBX")

# Pillow's modes of more than a byte a band.
BAND_BYTES = {"I": 4, "F": 4}
# Whatever --max-pixels says, files of so many bytes are looked at.
SMALL_FILE = 1 << 24

# Our own limit speaks instead of Pillow's warning.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

# What a file that is no image begins with: failed downloads first of all.
TELLTALES: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype html", "looks like HTML, not an image: probably a failed download"),
    (b"<html", "looks like HTML, not an image: probably a failed download"),
    (b"<?xml", "looks like XML or SVG, not an image"),
    (b"<svg", "looks like SVG, a drawing and not an image"),
    (b"%!ps", "is PostScript, which segkit never opens"),
    (b"\xc5\xd0\xd3\xc6", "is PostScript (EPS), which segkit never opens"),
    (b"%pdf", "is a PDF document, not an image"),
    (b"pk\x03\x04", "is a ZIP archive, not an image"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the image itself"),
    (b"gif8", "is a GIF, which segkit reads for masks only"),
)


@dataclass(frozen=True)
class Decoded:
    """A decoded file, before any meaning is given to its numbers.

    pixels       (H, W) or (H, W, C), as stored: bool, uint8, uint16, int32, float32, ...; RGB where
                 the file holds CMYK, YCbCr, Lab or HSV
    mode         Pillow's name of the layout ("L", "P", "RGBA", "CMYK", ...); "" from tifffile
    format       "PNG", "JPEG", "TIFF", ...
    palette      (N, 3) uint8 colours where mode is "P", else None
    orientation  EXIF orientation, 1 where there is none (pixels are not turned yet)
    """

    pixels: np.ndarray
    mode: str
    format: str
    palette: np.ndarray | None = None
    orientation: int = 1


def decode(
    path: Path,
    *,
    formats: tuple[str, ...] = IMAGE_FORMATS,
    code: str = "SK-D004",
    reading: Reading = PLAIN,
) -> Decoded:
    """The whole file, decoded; raises DataError (`code`, SK-D006, D014, D015), naming the file."""
    content = _content(path, code, reading)
    try:
        if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") and "TIFF" in formats:
            deep = _decode_tiff(path, content, reading)
            if deep is not None:
                return deep
        if is_npy(content):
            return Decoded(read_npy(path, content, code, reading), "", "NPY")
        check_png(content)
        if is_deep_colour_png(content) and "PNG" in formats:
            return _decode_deep_png(path, content, reading)
        with _opened(path, content, formats, code, reading) as image:
            image.load()
            return _decoded(image)
    except DataError:
        raise
    # Decoders raise whatever comes to them on damaged files.
    except Exception as error:
        raise DataError(
            code,
            f"{path} {_damage(error)} ({type(error).__name__}: {error}).",
            "Copy or download the file again, or take it out of the data set.",
        ) from error


def check_png(content: bytes) -> None:
    """Raises EOFError where a PNG ends early, ValueError where a checksum is wrong."""
    if not content.startswith(PNG_SIGNATURE):
        return
    position, ended = len(PNG_SIGNATURE), False
    while position + 12 <= len(content) and not ended:
        (length,) = struct.unpack_from(">I", content, position)
        name = content[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(content):
            break
        (stored,) = struct.unpack_from(">I", content, end - 4)
        if zlib.crc32(content[position + 4 : end - 4]) != stored:
            raise ValueError(f"the checksum of its {name.decode('latin-1')} block is wrong")
        ended = name == b"IEND"
        position = end
    if not ended:
        raise EOFError(f"it stops after {len(content)} bytes, before its end mark")


def is_deep_colour_png(content: bytes) -> bool:
    """Whether it holds 16 bits in several channels, of which Pillow would drop the lower eight."""
    return content.startswith(PNG_SIGNATURE) and content[24] == 16 and content[25] in (2, 4, 6)


def _decode_deep_png(path: Path, content: bytes, reading: Reading) -> Decoded:
    width, height = struct.unpack_from(">II", content, 16)
    reading.check_pixels(path, height, width, {2: 6, 4: 4, 6: 8}[content[25]])
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        orientation = _orientation(image)
    pixels = imagecodecs.png_decode(content)
    return Decoded(pixels, {2: "RGB", 4: "LA", 6: "RGBA"}[content[25]], "PNG", None, orientation)


def _content(path: Path, code: str, reading: Reading) -> bytes:
    try:
        require_plain(path)
        if path.stat().st_size > max(reading.most_bytes, SMALL_FILE):
            raise too_large(path, f"has {path.stat().st_size:,} bytes", reading)
        content = path.read_bytes()
    except PermissionError as error:
        raise StorageError(
            "SK-D018", f"{path} may not be read ({error.strerror}).", "Change its permissions."
        ) from error
    except NoPlainFile as error:
        raise DataError(
            code, f"{path}: {error}.", "Take it out: only plain files are read."
        ) from error
    except OSError as error:
        broken = (
            "is a link to nothing" if path.is_symlink() and not path.exists() else "cannot be read"
        )
        raise DataError(
            code, f"{path} {broken} ({error.strerror}).", "Copy the file again, or take it out."
        ) from error
    if not content:
        raise DataError(code, f"{path} is empty (0 bytes).", "Copy or download the file again.")
    return content


def _opened(
    path: Path, source: bytes | Path, formats: tuple[str, ...], code: str, reading: Reading
) -> Image.Image:
    if reading.max_pixels > MAX_PIXELS:
        Image.MAX_IMAGE_PIXELS = None
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        image = Image.open(file, formats=list(formats))
    except UnidentifiedImageError as error:
        raise _unidentified(path, source, code, formats) from error
    except Image.DecompressionBombError as error:
        raise too_large(path, "is too large", reading) from error
    pixel_bytes = len(image.getbands()) * BAND_BYTES.get(image.mode.partition(";")[0], 1)
    reading.check_pixels(path, image.height, image.width, pixel_bytes)
    if image.format in ("TIFF", "GIF", "WEBP"):
        image.seek(_page(path, getattr(image, "n_frames", 1), reading))
    return image


def _unidentified(
    path: Path, source: bytes | Path, code: str, formats: tuple[str, ...]
) -> DataError:
    start = source[:512] if isinstance(source, bytes) else _content(path, code, PLAIN)[:512]
    begins = start.lstrip().lower()
    allowed = ", ".join(formats)
    for telltale, meaning in TELLTALES:
        if begins.startswith(telltale):
            return DataError(
                "SK-D006",
                f"{path} {meaning}.",
                f"Replace it by an image, or take it out. segkit opens {allowed}.",
            )
    if _is_text(start):
        return DataError(
            "SK-D006",
            f"{path} is a text file, not an image.",
            f"Replace it by an image, or take it out. segkit opens {allowed}.",
        )
    return DataError(
        code,
        f"{path} is damaged, or in a format that segkit does not open.",
        f"Copy the file again, or convert it: segkit opens {allowed}.",
    )


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)


def _damage(error: Exception) -> str:
    words = str(error).lower()
    if isinstance(error, EOFError) or "truncated" in words or "premature" in words:
        return "is cut short: its data end before the picture does"
    return "is damaged"


def _page(path: Path, pages: int, reading: Reading) -> int:
    """Which page to read, from 0; raises DataError SK-D015 where that is not clear."""
    wanted = reading.page
    if pages > 1 and wanted is None:
        raise _pages(path, pages, reading)
    if wanted is not None and wanted > pages:
        whose = f" in {reading.file}" if reading.file is not None else ""
        raise DataError(
            "SK-D015",
            f"{path} holds {pages} page{'s' * (pages > 1)}, and page {wanted} is wanted.",
            f"Correct `page: {wanted}`{whose}; pages count from 1.",
        )
    return (wanted or 1) - 1


def _pages(path: Path, pages: int, reading: Reading) -> DataError:
    fix = "Save the page you mean as a file of its own: none is chosen silently."
    way = reading.otherwise("page: 1")
    fix += f"\nOr choose one page for all files that hold several: {way}." if way else ""
    what = f"{path} holds {pages} pages, and segkit reads flat images."
    return DataError("SK-D015", what, fix)


def _decoded(image: Image.Image) -> Decoded:
    palette = None
    if image.mode == "P":
        colours = np.array(image.getpalette("RGB") or [], dtype=np.uint8)
        palette = colours.reshape(-1, 3)
    pixels = np.array(image.convert("RGB") if image.mode in TO_RGB else image)
    return Decoded(pixels, image.mode, image.format or "", palette, _orientation(image))


def _orientation(image: Image.Image) -> int:
    try:
        turned = int(image.getexif().get(ORIENTATION_TAG, 1))
    # Damaged EXIF blocks raise all sorts of things; the pixels are still good.
    except Exception:
        return 1
    return turned if 1 <= turned <= 8 else 1


def _simple_tiff(page: tifffile.TiffPage) -> bool:
    """Whether Pillow reads it better: palettes, 1-bit, CMYK, Lab and YCbCr."""
    photometric = tifffile.PHOTOMETRIC
    plain = (photometric.MINISBLACK, photometric.MINISWHITE, photometric.RGB)
    return page.photometric not in plain or page.bitspersample < 8


def _tiff_orientation(page: tifffile.TiffPage) -> int:
    tag = page.tags.get(ORIENTATION_TAG)
    return int(tag.value) if tag is not None and 1 <= int(tag.value) <= 8 else 1


def _tiff_page(tif: tifffile.TiffFile, number: int) -> tifffile.TiffPage:
    page = tif.pages.get(number, aspage=True)
    # Without aspage it may be a frame, which borrows its tags from the first page.
    if not isinstance(page, tifffile.TiffPage):
        raise TypeError(f"page {number} is a {type(page).__name__}")
    return page


def _decode_tiff(path: Path, content: bytes, reading: Reading) -> Decoded | None:
    with tifffile.TiffFile(io.BytesIO(content)) as tif:
        number = _page(path, len(tif.pages), reading)
        page = tif.pages.first if number == 0 else _tiff_page(tif, number)
        pixel_bytes = page.samplesperpixel * -(-page.bitspersample // 8)
        depth = max(1, page.imagedepth)
        reading.check_pixels(path, page.imagelength * depth, page.imagewidth, pixel_bytes)
        if _simple_tiff(page):
            return None
        pixels = page.asarray()
        if page.axes.startswith("S"):
            pixels = np.moveaxis(pixels, 0, -1)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and pixels.dtype.kind == "u":
            pixels = np.iinfo(pixels.dtype).max - pixels
        if pixels.ndim not in (2, 3):
            raise _pages(path, int(np.prod(pixels.shape[:-3])), reading)
        # 2 of ExtraSamples is plain alpha; 1 is premultiplied, which laying on white would darken.
        alpha = tuple(page.extrasamples) == (2,)
        mode = {2: "LA", 4: "RGBA"}.get(page.samplesperpixel, "") if alpha else ""
        return Decoded(pixels, mode, "TIFF", None, _tiff_orientation(page))
