"""Configurations, images, annotations and archives that were made to harm."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from canary import COMMAND
from files_of_weights import arrays, endless, named, pipe
from PIL import Image

Maker = Callable[[Path], Path]

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(8)
)


def yaml_texts() -> dict[str, bytes]:
    """Texts that are given both as a configuration and as a data.yaml."""
    return {
        "a Python object": f'encoder: !!python/object/apply:os.system ["{COMMAND}"]\n'.encode(),
        "a Python name": b"encoder: !!python/name:os.system\n",
        "a Python module": b"names: !!python/module:this\n",
        "aliases": BOMB.encode(),
        "merged keys": b"x: &x {lr: 1}\n<<: *x\n",
        "brackets without end": b"names: " + b"[" * 50_000,
        "deep mappings": "".join(f"{' ' * n}a:\n" for n in range(2_000)).encode(),
        "a number of 20,000 digits": b"nc: " + b"9" * 20_000 + b"\n",
        "a day that there is not": b"path: 2026-13-45\n",
        "no UTF-8": b"names: [\xff\xfe]\n",
        "a zero byte": b"names: [a\x00b]\n",
        "a list for a key": b"? [a, b]\n: 1\n",
        "a target": b"encoder:\n  _target_: os.system\n  command: ls\n",
        "an expression": b"encoder: ${oc.env:HOME}\n",
        "code for a component": b"encoder: densenet121(__import__('os').system('ls'))\n",
        "escapes in a key": b'"\\e]0;owned\\a[red]": 1\n',
        "escapes in a value": b'augmentation: "\\e[31m[red]"\nnames: ["\\e[31mcat"]\n',
        "a place elsewhere": b"path: ../../../../../../etc\ntrain: passwd\n",
        "five megabytes": b"names: [" + b"a," * 2_500_000 + b"a]\n",
    }


def png(width: int, height: int, depth: int = 8, colour: int = 2, extra: bytes = b"") -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    written = [
        struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + written[0] + extra + written[1] + written[2]


def chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def tiff(pages: int, *, loop: bool = False, side: int = 1) -> bytes:
    """A TIFF of so many pages of side x side pixels, all with one strip of a byte."""
    tags = [
        (256, side),
        (257, side),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, side),
        (279, 1),
    ]
    size, start = 2 + 12 * len(tags) + 4, 10
    written = b"II*\0" + struct.pack("<I", start) + b"\0\0"
    for page in range(pages):
        following = 0 if page == pages - 1 else start + size * (page + 1)
        following = start if loop and page == pages - 1 else following
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        written += struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    return written


def drawn(kind: str, side: int, **options: Any) -> Callable[[Path], Path]:
    """A real picture of one colour, packed small."""

    def make(folder: Path) -> Path:
        file = folder / f"large.{kind.lower()}"
        Image.new(options.pop("mode", "L"), (side, side)).save(file, kind, **options)
        return file

    return make


def linked(name: str, to: str) -> Maker:
    def make(folder: Path) -> Path:
        (folder / name).symlink_to(to)
        return folder / name

    return make


def a_folder(folder: Path) -> Path:
    (folder / "folder.png").mkdir()
    return folder / "folder.png"


def npy(shape: str) -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    text = header.ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def small_png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


IMAGES: dict[str, Maker] = {
    "PNG of 60,000 x 60,000": named("a.png", png(60_000, 60_000)),
    "PNG of 13,000 x 13,000, four channels of 16 bits": named("b.png", png(13_000, 13_000, 16, 6)),
    "PNG of no width": named("c.png", png(0, 10)),
    "PNG of 2^31 x 2^31": named("d.png", png(2**31 - 1, 2**31 - 1)),
    "PNG with a swelling profile": named(
        "e.png", png(16, 16, extra=chunk(b"iCCP", b"x\0\0" + zlib.compress(b"\0" * 80_000_000)))
    ),
    "PNG with swelling texts": named(
        "f.png", png(16, 16, extra=chunk(b"zTXt", b"x\0\0" + zlib.compress(b"\0" * 80_000_000)) * 9)
    ),
    "PNG with swelling pixels": named(
        "g.png",
        png(16, 16).replace(b"IDAT", b"JDAT", 1)
        + chunk(b"IDAT", zlib.compress(b"\0" * 80_000_000)),
    ),
    "PostScript called PNG": named(
        "h.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(ls) (r) file\n"
    ),
    "SVG called PNG": named("i.png", b'<svg xmlns="x"><script>alert(1)</script></svg>'),
    "TIFF of 2,000 pages": named("j.tif", tiff(2_000)),
    "TIFF whose pages go in a circle": named("k.tif", tiff(3, loop=True)),
    "TIFF of 100,000 x 100,000": named("l.tif", tiff(1, side=100_000)),
    "TIFF cut in its directory": named("m.tif", tiff(1)[:40]),
    "TIFF that points nowhere": named("n.tif", b"II*\0\xff\xff\xff\xff"),
    "WebP of one colour": drawn("WEBP", 16_383, lossless=True, method=0),
    "BMP of 2^30 x 2^30": named(
        "o.bmp",
        b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2**30, 2**30, 1, 24, 0, 0, 0, 0, 0, 0),
    ),
    "PPM of 10^9 x 10^9": named("p.ppm", b"P6\n1000000000 1000000000\n255\n"),
    "JPEG of 65,500 x 65,500": named(
        "q.jpg",
        b"\xff\xd8\xff\xc0\x00\x11\x08"
        + struct.pack(">HH", 65_500, 65_500)
        + b"\x03\x01\x11\0\x02\x11\1\x03\x11\1\xff\xd9",
    ),
    "JPEG 2000 of 2^30 x 2^30": named(
        "r.jp2",
        b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 \0\0\0\0jp2 \0\0\0\x2djp2h\0\0\0\x16ihdr"
        + struct.pack(">IIHBBBB", 2**30, 2**30, 3, 7, 7, 0, 0)
        + b"\0\0\0\x0fcolr\1\0\0\0\0\0\x10",
    ),
    "GIF of 65,535 x 65,535": named("s.gif", b"GIF89a\xff\xff\xff\xff\x80\0\0" + b"\0" * 6 + b";"),
    "an array of objects": arrays("t.npy"),
    "an array of 2^60 numbers": named("u.npy", npy(f"({2**30}, {2**30})")),
    "an array with code for a shape": named("v.npy", npy("__import__('os')")),
    "a pipe called PNG": pipe("w.png"),
    "zeros without end": endless("x.png"),
    "a link to a device": linked("y.png", "/dev/null"),
    "a link to passwords": linked("z.png", "/etc/passwd"),
    "a link to itself": linked("za.png", "za.png"),
    "a folder called PNG": a_folder,
    "a name with escapes": named("\x1b]0;owned\x07[red]zb.png", b"nothing"),
    "a name with a line break": named("zc\nError: all is well.png", b"nothing"),
    "a name of markup": named("<script>alert(1)<-script>.png", b"nothing"),
    "a name like a formula": named("=cmd()|'-C calc'!A1.png", b"nothing"),
}


def coco(**changes: Any) -> bytes:
    image = {"id": 1, "file_name": "a.png", "width": 16, "height": 16}
    shape = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "segmentation": [[0, 0, 9, 0, 9, 9]],
        "iscrowd": 0,
    }
    content = {"images": [image], "annotations": [shape], "categories": [{"id": 1, "name": "x"}]}
    for key, value in changes.items():
        content[key] = [content[key][0] | value] if isinstance(value, dict) else value
    return json.dumps(content).encode()


ANNOTATIONS: dict[str, tuple[str, bytes]] = {
    "COCO: an image elsewhere": (
        "_annotations.coco.json",
        coco(images={"file_name": "../../../../etc/passwd"}),
    ),
    "COCO: an image of 10^6 x 10^6": (
        "_annotations.coco.json",
        coco(images={"width": 10**6, "height": 10**6}),
    ),
    "COCO: runs beyond the image": (
        "_annotations.coco.json",
        coco(annotations={"segmentation": {"size": [10**6, 10**6], "counts": [10**12]}}),
    ),
    "COCO: runs that are a text": (
        "_annotations.coco.json",
        coco(annotations={"segmentation": {"size": [16, 16], "counts": "~" * 1000}}),
    ),
    "COCO: no numbers": (
        "_annotations.coco.json",
        coco(annotations={"segmentation": [["a", "b"]]}),
    ),
    "COCO: lists for objects": ("_annotations.coco.json", coco(annotations=[[]], categories=[3])),
    "COCO: ids that are lists": (
        "_annotations.coco.json",
        coco(images={"id": [1]}, annotations={"image_id": {}}),
    ),
    "COCO: a name with escapes": (
        "_annotations.coco.json",
        coco(categories={"name": "\x1b[31m[red]<script>"}),
    ),
    "LabelMe: brackets without end": (
        "a.json",
        b'{"imagePath": "a.png", "shapes": ' + b"[" * 100_000,
    ),
    "LabelMe: an image elsewhere": (
        "a.json",
        b'{"imagePath": "/etc/passwd", "shapes": [{"label": "x", "points": [[0, 0], [9, 9]], '
        b'"shape_type": "rectangle"}]}',
    ),
    "LabelMe: shapes without labels": ("a.json", b'{"imagePath": "a.png", "shapes": [{}]}'),
    "LabelMe: shapes that are none": ("a.json", b'{"imagePath": "a.png", "shapes": 7}'),
    "LabelMe: points beyond all": (
        "a.json",
        b'{"imagePath": "a.png", "shapes": [{"label": "x", "points": [[1e308, -1e308], [NaN, 1]], '
        b'"shape_type": "polygon"}]}',
    ),
    "nnU-Net: no labels": ("dataset.json", b'{"labels": [1], "channel_names": 3}'),
    "nnU-Net: labels that are lists": ("dataset.json", b'{"labels": {"a": [1], "b": {}}}'),
}


def tar(*members: tuple[str, bytes, str], mode: str = "w") -> bytes:
    """(name, type of tarfile, link or content) of each member."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind == tarfile.REGTYPE:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content.encode()))
            else:
                member.linkname = content
                archive.addfile(member)
    return file.getvalue()


def zipped(name: str, content: bytes, attributes: int = 0) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo(name)
        member.external_attr = attributes << 16
        member.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(member, content)
    return file.getvalue()


def header_bomb(times: int, each: int) -> bytes:
    """Extended headers of many records, packed to a few hundred bytes."""
    record = b"1000000 comment=" + b"x" * 9
    body = (record.ljust(40, b"x") + b"\n") * (each // 41)
    member = tarfile.TarInfo("pax")
    member.type, member.size = tarfile.XHDTYPE, len(body)
    block = member.tobuf(tarfile.USTAR_FORMAT) + body + b"\0" * (-len(body) % 512)
    return gzip.compress(block * times)


REGULAR, SYMBOLIC, HARD = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
ARCHIVES: dict[str, Callable[[], bytes]] = {
    "tar: above": lambda: tar(("../../outside", REGULAR, "x")),
    "tar: from the root": lambda: tar(("/tmp/hostile-outside", REGULAR, "x")),
    "tar: a link, then through it": lambda: tar(
        ("l", SYMBOLIC, "../.."), ("l/outside", REGULAR, "x")
    ),
    "tar: a hard link": lambda: tar(("l", HARD, "../../secret")),
    "tar: a device": lambda: tar(("d", tarfile.CHRTYPE, "")),
    "tar: a pipe": lambda: tar(("p", tarfile.FIFOTYPE, "")),
    "tar: one name twice": lambda: tar(("a", REGULAR, "x"), ("a", REGULAR, "y")),
    "tar: escapes in a name": lambda: tar(("\x1b[31m", REGULAR, "x")),
    "tgz: a bomb": lambda: gzip.compress(tar(("a", REGULAR, "\0" * 90_000_000))),
    "tgz: a large extended header": lambda: header_bomb(1, 100_000_000),
    "tgz: many extended headers": lambda: header_bomb(3_000, 41_000),
    "zip: above": lambda: zipped("../../outside", b"x"),
    "zip: from the root": lambda: zipped("/tmp/hostile-outside", b"x"),
    "zip: with a drive": lambda: zipped("C:\\outside", b"x"),
    "zip: a link": lambda: zipped("l", b"../../secret", 0o120777),
    "zip: a bomb": lambda: zipped("a", b"\0" * 90_000_000),
    "zip: cut short": lambda: zipped("a", os.urandom(5_000))[:3_000],
    "neither": lambda: b"nothing of the kind" * 100,
}
