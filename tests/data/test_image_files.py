"""Images: every mode and depth becomes what it should, and every bad file is named."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from segkit.data.files.decoding import check_png
from segkit.data.files.images import fit_channels, read_image, turned
from segkit.data.files.reading import Reading
from segkit.errors import DataError

NOISE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def saved(path: Path, array: np.ndarray, **options: object) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_applies_it(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    path = saved(tmp_path / "a.png", NOISE, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(read_image(path), expected)
    assert np.array_equal(read_image(path, upright=False), NOISE)
    assert np.array_equal(turned(NOISE, orientation), expected)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_gives_the_channels_asked_for(tmp_path, mode, channels):
    suffix = "tif" if mode == "CMYK" else "png"
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(NOISE).convert(mode).save(path)
    image_HWC = read_image(path, channels)
    assert image_HWC.shape == (24, 40, channels)
    assert image_HWC.dtype == np.uint8


def test_a_colour_image_keeps_its_pixels_and_a_palette_is_resolved(tmp_path):
    flat = (NOISE // 64) * 64
    paletted = Image.fromarray(flat).convert("P", palette=Image.Palette.ADAPTIVE, colors=64)
    paletted.save(tmp_path / "p.png")
    assert np.array_equal(read_image(saved(tmp_path / "a.png", NOISE)), NOISE)
    expected = np.asarray(paletted.convert("RGB"))
    assert np.array_equal(read_image(tmp_path / "p.png"), expected)


def test_grey_from_colour_agrees_with_pillow_to_one_level(tmp_path):
    grey = read_image(saved(tmp_path / "a.png", NOISE), 1)[:, :, 0].astype(int)
    pillow = np.asarray(Image.fromarray(NOISE).convert("L")).astype(int)
    assert np.abs(grey - pillow).max() <= 1


def test_sixteen_bits_are_never_clipped_to_eight(tmp_path):
    deep = np.arange(24 * 40, dtype=np.uint16).reshape(24, 40) * 60
    for path in (tmp_path / "a.png", tmp_path / "a.tif"):
        Image.fromarray(deep).save(path)
        assert np.array_equal(read_image(path)[:, :, 0], deep)
    assert read_image(tmp_path / "a.png", 3).dtype == np.uint16


def test_sixteen_bit_colour_and_many_channels_are_read_whole_from_tiff(tmp_path):
    for channels in (3, 4, 6):
        deep = np.random.default_rng(1).integers(0, 65536, (9, 11, channels), dtype=np.uint16)
        path = tmp_path / f"{channels}.tif"
        photometric = "rgb" if channels == 3 else "minisblack"
        tifffile.imwrite(path, deep, photometric=photometric, planarconfig="contig")
        assert np.array_equal(read_image(path), deep)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bit_colour_png_keeps_the_bits_that_pillow_drops(tmp_path, channels):
    deep = np.random.default_rng(1).integers(0, 65536, (9, 11, channels), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(deep))
    assert np.array_equal(read_image(tmp_path / "a.png"), deep)
    with pytest.raises(DataError, match=r"9 x 11 \(height x width\), 99 pixels; 50 are allowed"):
        read_image(tmp_path / "a.png", reading=Reading(max_pixels=50))


def test_a_tiff_with_separate_planes_is_turned_channels_last(tmp_path):
    planes = np.random.default_rng(2).integers(0, 256, (3, 9, 11), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    assert np.array_equal(read_image(tmp_path / "a.tif"), planes.transpose(1, 2, 0))


def test_float_tiff_keeps_its_values_and_says_where_they_are_not_finite(tmp_path):
    values = np.linspace(0, 1, 24 * 40, dtype=np.float32).reshape(24, 40)
    tifffile.imwrite(tmp_path / "a.tif", values)
    assert np.array_equal(read_image(tmp_path / "a.tif")[:, :, 0], values)
    values[3, 4:6] = np.nan
    tifffile.imwrite(tmp_path / "nan.tif", values)
    with pytest.raises(DataError, match=r"SK-D016: .*nan\.tif holds 2 pixels that are NaN"):
        read_image(tmp_path / "nan.tif")


def test_white_is_zero_tiff_is_turned_the_right_way_round(tmp_path):
    grey = NOISE[:, :, 0]
    tifffile.imwrite(tmp_path / "a.tif", 255 - grey, photometric="miniswhite")
    assert np.array_equal(read_image(tmp_path / "a.tif")[:, :, 0], grey)


def test_a_stack_is_never_read_as_its_first_page(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", NOISE[None, :, :, 0].repeat(3, 0), photometric="minisblack"
    )
    with pytest.raises(DataError, match=r"SK-D015: .*a\.tif holds 3 pages") as error:
        read_image(tmp_path / "a.tif")
    assert "none is chosen silently" in error.value.fix


def cut(content: bytes) -> bytes:
    return content[: len(content) * 6 // 10]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("a.jpg", b"", "SK-D004", "is empty (0 bytes)"),
        ("a.jpg", b"<!DOCTYPE html><html>not found", "SK-D006", "looks like HTML"),
        ("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "SK-D006", "PostScript"),
        ("a.png", b"%PDF-1.7 ...", "SK-D006", "PDF"),
        ("a.png", b"<svg xmlns='x'/>", "SK-D006", "SVG"),
        ("a.png", b"version https://git-lfs.github.com/spec/v1\n", "SK-D006", "Git LFS"),
        ("a.png", b"hello, this is a note", "SK-D006", "is a text file"),
        ("a.png", b"\x00\x01\x02\x03" * 9, "SK-D004", "is damaged, or in a format"),
    ],
)
def test_what_is_no_image_is_named_for_what_it_is(tmp_path, name, content, code, said):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_image(path)
    assert error.value.code == code
    assert said in error.value.what
    assert name in error.value.what
    assert error.value.fix


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
def test_a_file_cut_short_is_named(tmp_path, suffix):
    path = saved(tmp_path / f"whole.{suffix}", NOISE)
    short = tmp_path / f"short.{suffix}"
    short.write_bytes(cut(path.read_bytes()))
    with pytest.raises(DataError, match=rf"short\.{suffix} is (cut short|damaged)") as error:
        read_image(short)
    assert error.value.code == "SK-D004"
    assert "again" in error.value.fix


def test_a_png_with_a_flipped_bit_is_found_by_its_checksum(tmp_path):
    path = saved(tmp_path / "a.png", NOISE)
    path.write_bytes(flipped(path.read_bytes()))
    with pytest.raises(DataError, match=r"a\.png is damaged .*checksum of its IDAT"):
        read_image(path)


def test_the_checksum_walk_agrees_with_a_hand_made_png():
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    whole = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13)) + chunk(b"IEND", b"")
    check_png(whole)
    with pytest.raises(EOFError):
        check_png(whole[:-1])


def test_a_wrong_suffix_does_not_matter(tmp_path):
    Image.fromarray(NOISE).save(tmp_path / "a.jpg", format="PNG")
    assert np.array_equal(read_image(tmp_path / "a.jpg"), NOISE)


def test_gif_is_refused_as_image(tmp_path):
    path = saved(tmp_path / "a.gif", NOISE[:, :, 0])
    with pytest.raises(DataError, match=r"SK-D006.*GIF"):
        read_image(path)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    content = bytearray(saved(tmp_path / "a.png", NOISE).read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match="SK-D014") as error:
        read_image(tmp_path / "a.png")
    assert "--max-pixels" in error.value.fix


def test_the_pixel_limit_can_be_lowered_and_tells_the_size(tmp_path):
    path = saved(tmp_path / "a.png", NOISE)
    with pytest.raises(
        DataError, match=r"is 24 x 40 \(height x width\), 960 pixels; 900 are allowed"
    ):
        read_image(path, reading=Reading(max_pixels=900))


def test_a_link_to_nothing_is_said(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"a\.png is a link to nothing"):
        read_image(tmp_path / "a.png")


def test_channels_that_cannot_be_fitted_are_refused_with_the_line_that_helps():
    with pytest.raises(DataError, match="six has 6 channels, and 3 are wanted") as error:
        fit_channels(np.zeros((4, 4, 6), np.uint8), 3, "six")
    assert "--declare 'in_channels: 6', or `in_channels: 6` in their data.yaml." in error.value.fix
