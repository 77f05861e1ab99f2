"""Every kind of bad or odd input: exit status, the file's name in the text, the repair."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from segkit.cli.main import main

SIDE = 32
MASK = np.tri(SIDE, dtype=np.uint8)


def picture(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape or (SIDE, SIDE, 3), dtype=np.uint8)


def save(path: Path, array: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif" and array.dtype not in (np.uint8, bool):
        tifffile.imwrite(path, array)
    else:
        Image.fromarray(array).save(path, **options)


Break = Callable[[Path], None]


def bytes_of(name: str, content: bytes) -> Break:
    return lambda root: (root / name).write_bytes(content) and None


def shortened(name: str, share: float) -> Break:
    def apply(root: Path) -> None:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: int(len(content) * share)])

    return apply


def flipped(name: str) -> Break:
    def apply(root: Path) -> None:
        content = bytearray((root / name).read_bytes())
        content[len(content) // 2] ^= 255
        (root / name).write_bytes(content)

    return apply


def removed(name: str) -> Break:
    return lambda root: (root / name).unlink()


def image(array: np.ndarray, name: str = "images/a.png", **options: object) -> Break:
    def apply(root: Path) -> None:
        for other in (root / name).parent.glob(f"{Path(name).stem}.*"):
            other.unlink()
        save(root / name, array, **options)

    return apply


def mask(array: np.ndarray, name: str = "masks/a.png", **options: object) -> Break:
    return image(array, name, **options)


def all_masks(array: np.ndarray, suffix: str = "png") -> Break:
    def apply(root: Path) -> None:
        for name in "abc":
            mask(array, f"masks/{name}.{suffix}")(root)

    return apply


def all_images(array: np.ndarray, suffix: str = "png", **options: object) -> Break:
    def apply(root: Path) -> None:
        for number, name in enumerate("abc"):
            different = array.copy()
            different.flat[0] = number + 1
            image(different, f"images/{name}.{suffix}", **options)(root)

    return apply


def yaml(text: str) -> Break:
    return lambda root: (root / "data.yaml").write_text(text) and None


def both(*breaks: Break) -> Break:
    def apply(root: Path) -> None:
        for each in breaks:
            each(root)

    return apply


def oriented(orientation: int) -> dict[str, object]:
    exif = Image.Exif()
    exif[274] = orientation
    return {"exif": exif}


def bands(*values: int, dtype: type = np.uint8) -> np.ndarray:
    rows = np.repeat(np.array(values, dtype), -(-SIDE // len(values)))[:SIDE]
    return np.repeat(rows[:, None], SIDE, axis=1)


def bomb(root: Path) -> None:
    content = bytearray((root / "images/a.png").read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (root / "images/a.png").write_bytes(content)


def linked_to_nothing(root: Path) -> None:
    (root / "images/a.png").unlink()
    (root / "images/a.png").symlink_to(root / "gone.png")


def copied_between_splits(root: Path) -> None:
    (root / "images/b.png").write_bytes((root / "images/a.png").read_bytes())
    (root / "train.txt").write_text("a\nc\n")
    (root / "val.txt").write_text("b\n")


def cmyk(root: Path) -> None:
    (root / "images/a.png").unlink()
    Image.fromarray(picture(1)).convert("CMYK").save(root / "images/a.jpg")


def six_channels(root: Path) -> None:
    for number, name in enumerate("abc"):
        (root / f"images/{name}.png").unlink()
        tifffile.imwrite(
            root / f"images/{name}.tif",
            picture(number, SIDE, SIDE, 6),
            photometric="minisblack",
            planarconfig="contig",
        )


def renamed_masks(root: Path) -> None:
    for name in "abc":
        (root / f"masks/{name}.png").rename(root / f"masks/{name}_gt.png")


def prefixed_masks(root: Path) -> None:
    for name in "abc":
        (root / f"images/{name}.png").rename(root / f"images/img_{name}7.png")
        (root / f"masks/{name}.png").rename(root / f"masks/label_{name}7.png")


def swapped(root: Path) -> None:
    """Photographs where the masks belong."""
    grain = np.random.default_rng(0).normal(128, 40, (3, 96, 96, 3)).clip(0, 255).astype(np.uint8)
    for name, picture_HWC in zip("abc", grain, strict=True):
        image(np.tri(96, dtype=np.uint8) * ord(name), f"images/{name}.png")(root)
        mask(picture_HWC, f"masks/{name}.jpg", quality=95)(root)


def with_alpha(alpha: np.ndarray) -> np.ndarray:
    return np.dstack([picture(1), alpha])


SPOT = np.pad(np.zeros((28, 28), np.uint8), 2, constant_values=255)
ALPHA_FULL = np.full((SIDE, SIDE), 255, np.uint8)
COLOURS = np.array([[0, 0, 0], [200, 0, 0], [0, 200, 0]], np.uint8)[bands(0, 1, 2)]
BIG = Image.fromarray(MASK * 255).resize((64, 64), Image.Resampling.BICUBIC)
SMOOTH = np.array(BIG)[16:48, 16:48]
CELLS = np.zeros((SIDE, SIDE), np.uint16)
for _number in range(9):
    _row, _column = divmod(_number, 3)
    CELLS[_row * 10 + 2 : _row * 10 + 9, _column * 10 + 2 : _column * 10 + 9] = _number + 1
FLOATS = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
HOLES = FLOATS.copy()
HOLES[3, 3:7] = np.nan

# What is done to a good set of three pairs: name, change, exit status, what the text must say.
CASES: list[tuple[str, Break, int, tuple[str, ...]]] = [
    ("good", lambda root: None, 0, ("ready to train",)),
    ("empty-file", bytes_of("images/a.png", b""), 3, ("a.png is empty (0 bytes)", "again")),
    ("png-cut", shortened("images/a.png", 0.6), 3, ("images/a.png is cut short", "again")),
    ("png-cut-at-end", shortened("images/a.png", 0.99), 3, ("images/a.png is cut short",)),
    ("png-bit", flipped("images/a.png"), 3, ("images/a.png is damaged", "checksum")),
    (
        "jpeg-cut",
        both(image(picture(9), "images/a.jpg"), shortened("images/a.jpg", 0.6)),
        3,
        ("images/a.jpg is cut short",),
    ),
    ("mask-cut", shortened("masks/a.png", 0.6), 3, ("masks/a.png is cut short",)),
    ("mask-bit", flipped("masks/a.png"), 3, ("masks/a.png is damaged",)),
    ("html", bytes_of("images/a.png", b"<!DOCTYPE html>404"), 3, ("a.png looks like HTML",)),
    ("xml", bytes_of("images/a.png", b"<?xml version='1.0'?>"), 3, ("a.png looks like XML",)),
    ("text", bytes_of("images/a.png", b"see the readme"), 3, ("a.png is a text file",)),
    ("eps", bytes_of("images/a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n"), 3, ("a.png is PostScript",)),
    ("dos-eps", bytes_of("images/a.png", b"\xc5\xd0\xd3\xc6" + bytes(40)), 3, ("PostScript",)),
    ("pdf", bytes_of("images/a.png", b"%PDF-1.7\n"), 3, ("a.png is a PDF document",)),
    ("svg", bytes_of("images/a.png", b"<svg/>"), 3, ("a.png looks like SVG",)),
    ("zip", bytes_of("images/a.png", b"PK\x03\x04" + bytes(40)), 3, ("a.png is a ZIP archive",)),
    ("lfs", bytes_of("images/a.png", b"version https://git-lfs"), 3, ("Git LFS pointer",)),
    ("noise", bytes_of("images/a.png", b"\0\1\2\3" * 40), 3, ("a.png is damaged, or in a format",)),
    ("gif-image", image(picture(1, SIDE, SIDE), "images/a.gif"), 3, ("a.gif is a GIF",)),
    ("bomb", bomb, 3, ("images/a.png", "--max-pixels")),
    (
        "limit",
        yaml("max_pixels: 900"),
        3,
        ("a.png is 32 x 32 (height x width), 1,024 pixels; 900 are allowed",),
    ),
    ("wrong-suffix", image(picture(1), "images/a.jpg", format="PNG"), 0, ("a.jpg is a PNG file",)),
    ("exif-square", image(picture(1), **oriented(6)), 3, ("a.png carries EXIF", "exif: apply")),
    (
        "exif-answered",
        both(image(picture(1), **oriented(6)), yaml("exif: apply")),
        0,
        ("ready to train",),
    ),
    (
        "exif-fits",
        both(image(picture(1, 24, 32, 3), **oriented(6)), mask(np.tri(32, 24, dtype=np.uint8))),
        0,
        ("ready to train",),
    ),
    ("grey", image(picture(1, SIDE, SIDE)), 0, ("files: 1 with 1, 2 with 3",)),
    ("transparent", image(with_alpha(SPOT)), 0, ("a.png is transparent in parts",)),
    ("opaque", image(with_alpha(ALPHA_FULL)), 0, ("alpha is dropped in 1", "0 warnings")),
    ("cmyk", cmyk, 0, ("a.jpg is CMYK, converted to RGB",)),
    ("16-bit", all_images(np.full((SIDE, SIDE), 3000, np.uint16)), 0, ("4,095 counts as white",)),
    ("16-bit-tiff", all_images(CELLS * 7000, "tif"), 0, ("65,535 counts as white",)),
    ("float-tiff", all_images(FLOATS / 2, "tif"), 0, ("highest value 3", "ready to train")),
    (
        "nan",
        image(HOLES, "images/a.tif"),
        3,
        ("a.tif holds 4 pixels that are NaN", "`nan_fill: 0`"),
    ),
    ("mixed-depth", image(CELLS * 7000), 3, ("the images differ in depth", "Convert")),
    (
        "pages",
        image(picture(1, 5, SIDE, SIDE).astype(np.uint16), "images/a.tif"),
        3,
        ("a.tif holds 5 pages", "none is chosen silently"),
    ),
    (
        "six-channels",
        six_channels,
        3,
        ("the images have many channels: 3 with 6", "in_channels: 6"),
    ),
    (
        "tiny",
        both(image(picture(1, 4, 40, 3)), mask(np.zeros((4, 40), np.uint8))),
        3,
        ("a.png is 4 x 40 (height x width)", "Take it out"),
    ),
    ("constant", image(np.full((SIDE, SIDE, 3), 9, np.uint8)), 0, ("holds the value 9 all over",)),
    ("link", linked_to_nothing, 3, ("a.png is a link to nothing",)),
    ("folder-as-file", lambda root: (root / "images/d.png").mkdir(), 0, ("ready to train",)),
    ("system-files", bytes_of("images/Thumbs.db", b"x"), 0, ("ready to train",)),
    ("resource-fork", bytes_of("images/._a.png", b"x"), 0, ("ready to train",)),
    (
        "case-clash",
        both(image(picture(7), "images/A.png"), mask(MASK, "masks/A.png")),
        0,
        ("differ in case alone", "Rename one"),
    ),
    (
        "emoji",
        both(image(picture(7), "images/é 😀.png"), mask(MASK, "masks/é 😀.png")),
        0,
        ("4 images with masks",),
    ),
    ("no-mask", removed("masks/a.png"), 3, ("1 of 3 images in", "have no mask: a.")),
    ("no-image", removed("images/a.png"), 3, ("1 masks in", "have no image: a.")),
    ("suffix", renamed_masks, 3, ("`mask_suffix: _gt`",)),
    (
        "prefix",
        prefixed_masks,
        3,
        ("so do 3 in all", '(cd set/masks && for f in label*; do mv "$f" "img${f#label}"; done)'),
    ),
    (
        "no-masks",
        both(*(removed(f"masks/{name}.png") for name in "abc")),
        3,
        ("set/masks is empty: put the masks there, each under the name of its image",),
    ),
    ("swapped", swapped, 3, ("colours, as photographs do", "images and masks are swapped")),
    (
        "foreground-ignored",
        both(all_masks(MASK * 255), yaml("ignore_index: 255")),
        3,
        ("only the value 0 beside 255, which is ignored as asked (51.6%", "leave out --ignore-in"),
    ),
    (
        "nothing-to-ignore",
        both(all_masks(MASK * 255), yaml("ignore_index: 1")),
        3,
        ("No mask holds 1, which is ignored as asked: leave out --ignore-index 1",),
    ),
    ("twins", lambda root: save(root / "masks/a.tif", MASK), 3, ("exist twice under one name",)),
    ("size", mask(np.tri(16, dtype=np.uint8)), 3, ("masks/a.png is 16 x 16", "by 2 x 2")),
    (
        "label-beyond",
        both(all_masks(bands(0, 1, 2)), yaml("names: [a, b]")),
        3,
        ("hold label 2, which is none of the 2 classes (0 to 1)", "ignore_index: 2"),
    ),
    (
        "negative",
        all_masks(bands(-1, 0, 1, dtype=np.int16), "tif"),
        3,
        ("-1: ", "masks/a.tif", "label_mapping"),
    ),
    ("binary", all_masks(MASK * 255), 0, ("0 and 255, read as 2 classes",)),
    ("void", all_masks(bands(0, 1, 2, 255)), 0, ("Value 255 (25.0% of the pixels) is ignored",)),
    ("from-1", all_masks(bands(1, 2)), 3, ("start at 1", "label_mapping: {1: 0, 2: 1}")),
    (
        "trimap",
        all_masks(bands(1, 2, 3)),
        3,
        ("Oxford-IIIT Pet", "for them: --label-mapping '{1: 1, 2: 0, 3: ignore}'"),
    ),
    ("last-is-rare", all_masks(bands(*range(12), *range(11))), 0, ("12 classes",)),
    ("gaps", all_masks(bands(0, 50, 100)), 3, ("with gaps", "{0: 0, 50: 1, 100: 2}")),
    (
        "objects",
        both(all_masks(CELLS), mask(np.where(CELLS > 6, 0, CELLS))),
        3,
        ("look like object numbers", "--instances foreground"),
    ),
    ("colours", all_masks(COLOURS), 3, ("nothing says which colour", "palette:", "[200, 0, 0]")),
    (
        "strange-colour",
        both(all_masks(COLOURS), yaml("palette: {a: [0, 0, 0], b: [200, 0, 0]}")),
        3,
        ("(0, 200, 0): ", "Add each to `palette`"),
    ),
    ("grey-rgb", all_masks(np.repeat(MASK[:, :, None], 3, 2)), 0, ("labels 0 to 1",)),
    ("jpeg-mask", all_masks(MASK * 255, "jpg"), 3, ("masks are JPEG", "binarize: 128")),
    ("smooth", all_masks(SMOOTH), 3, ("it was smoothed or resized", "binarize: 128")),
    ("soft", all_masks(FLOATS, "tif"), 3, ("probabilities, not labels", "whole numbers")),
    ("one-bit", all_masks(MASK.astype(bool)), 0, ("read as 2 classes",)),
    ("mixed-marks", mask(MASK * 255), 3, ("by 255", "label_mapping: {255: 1}")),
    (
        "mask-alpha",
        mask(np.dstack([COLOURS, SPOT])),
        3,
        ("masks/a.png has an alpha channel that varies", "without alpha"),
    ),
    ("empty-mask", mask(np.zeros((SIDE, SIDE), np.uint8)), 0, ("ready to train",)),
    ("all-empty", all_masks(np.zeros((SIDE, SIDE), np.uint8)), 3, ("only the value 0", "names")),
    (
        "unlabelled",
        both(all_masks(bands(0, 1, 255)), mask(bands(255))),
        0,
        ("masks/a.png is ignored all over",),
    ),
    ("leak", copied_between_splits, 3, ("is the same picture as", "allow_leak: true")),
    (
        "list-wrong",
        both(bytes_of("train.txt", b"a\nb\n"), bytes_of("val.txt", b"z\n")),
        3,
        ("val.txt names 1 images that do not exist: z.",),
    ),
    (
        "list-empty",
        both(bytes_of("train.txt", b"a\nb\n"), bytes_of("val.txt", b"\n")),
        3,
        ("val.txt is empty",),
    ),
    ("yaml-key", yaml("nmaes: [a]"), 3, ("data.yaml has an unknown key 'nmaes'", "'names'")),
    ("yaml-code", yaml("a: !!python/object/apply:os.getcwd []"), 3, ("is no YAML that segkit",)),
    ("yaml-type", yaml("names: 7"), 3, ("names: 7", "list of the classes")),
]


@pytest.mark.parametrize(
    ("change", "status", "said"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_bad_input(tmp_path, monkeypatch, capsys, change, status, said):
    root = tmp_path / "set"
    for number, name in enumerate("abc"):
        save(root / "images" / f"{name}.png", picture(number))
        save(root / "masks" / f"{name}.png", MASK)
    change(root)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["data", "check", "set"])
    told = "".join(capsys.readouterr())
    assert end.value.code == status, told
    for text in said:
        assert text in told
    assert "Traceback" not in told


def test_sixty_kinds_are_covered():
    assert len(CASES) >= 60
    assert len({case[0] for case in CASES}) == len(CASES)


def test_a_file_that_may_not_be_read_ends_with_status_8(tmp_path, monkeypatch, capsys):
    for number, name in enumerate("abc"):
        save(tmp_path / "set" / "images" / f"{name}.png", picture(number))
        save(tmp_path / "set" / "masks" / f"{name}.png", MASK)
    real = Path.read_bytes

    def refused(path: Path) -> bytes:
        if path.name == "a.png" and path.parent.name == "images":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", refused)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["data", "stats", "set"])
    told = "".join(capsys.readouterr())
    assert end.value.code == 8
    assert "SK-D018: set/images/a.png may not be read (Permission denied)." in told
