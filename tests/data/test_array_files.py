"""NumPy's .npy files as images and masks; formats that are named because they are not opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.data.files.decoding import decode
from segkit.data.files.reading import Reading
from segkit.data.opening.open import open_data
from segkit.errors import DataError, SegkitError
from segkit.inference.sources import find_sources

RNG = np.random.default_rng(0)
MASK = np.kron(np.arange(6).reshape(2, 3), np.ones((9, 11), int))


def array_set(root: Path, masks: list[np.ndarray], images: list[np.ndarray] | None = None) -> Path:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number, mask in enumerate(masks):
        picture = RNG.integers(0, 256, (*MASK.shape, 3), dtype=np.uint8)
        if images is None:
            Image.fromarray(picture).save(root / "images" / f"p{number}.png")
        else:
            np.save(root / "images" / f"p{number}.npy", images[number])
        np.save(root / "masks" / f"p{number}.npy", mask)
    return root


def refusal(root: Path) -> SegkitError:
    with pytest.raises(SegkitError) as caught:
        open_data(root)
    return caught.value


@pytest.mark.parametrize("seed", range(8))
def test_arrays_of_any_type_order_and_layout_are_read_as_numpy_reads_them(tmp_path, seed):
    rng = np.random.default_rng(seed)
    kind = np.dtype(str(rng.choice(["?", "u1", ">u2", "<i4", ">i8", "<f4", ">f8"])))
    height, width, channels = (int(n) for n in rng.integers((8, 8, 2), (40, 40, 5)))
    array_HWC = rng.integers(0, 2 if kind.kind == "b" else 100, (height, width, channels))
    array_HWC = array_HWC.astype(kind)
    if rng.random() < 0.5:
        array_HWC = np.asfortranarray(array_HWC)
    stored = array_HWC.transpose(2, 0, 1) if rng.random() < 0.5 else array_HWC
    np.save(tmp_path / "a.npy", stored[None] if rng.random() < 0.3 else stored)
    found = decode(tmp_path / "a.npy")
    assert (found.format, found.pixels.dtype) == ("NPY", kind.newbyteorder("="))
    assert np.array_equal(found.pixels, array_HWC)


def test_a_set_of_arrays_gives_its_labels_and_its_images(tmp_path):
    kinds = (np.uint8, np.int64, ">u2", np.float32)
    images = [RNG.random((3, *MASK.shape)).astype(np.float32) for _ in kinds]
    data = open_data(array_set(tmp_path / "set", [MASK.astype(kind) for kind in kinds], images))
    assert (len(data.classes), data.in_channels) == (6, 3)
    for number in range(len(kinds)):
        sample = data.split("all")[number]
        assert np.array_equal(sample.mask, MASK)
        assert np.array_equal(sample.image, images[number].transpose(1, 2, 0))
    assert len(find_sources([tmp_path / "set" / "images"])) == 4


def test_python_objects_are_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    (tmp_path / "a.npy").touch()
    np.save(tmp_path / "a.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"SK-D004: .*a.npy holds Python objects, which are never"):
        decode(tmp_path / "a.npy")
    assert not (tmp_path / "sprung").exists()


def test_a_header_is_believed_no_further_than_the_file_goes(tmp_path):
    np.save(tmp_path / "a.npy", MASK)
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"SK-D004: .*a.npy is cut short"):
        decode(tmp_path / "a.npy")
    vast = content.replace(b"(18, 33)", b"(9999999, 9999999)")
    (tmp_path / "a.npy").write_bytes(vast)
    with pytest.raises(DataError, match=r"SK-D014: .*9999999 x 9999999 \(height x width\)"):
        decode(tmp_path / "a.npy", reading=Reading(file=Path("data.yaml")))
    (tmp_path / "a.npy").write_bytes(content[:40])
    with pytest.raises(DataError, match=r"SK-D004: .*a.npy is"):
        decode(tmp_path / "a.npy")


def test_arrays_beside_pictures_are_by_products(tmp_path, make_set):
    root = make_set({"a": MASK.astype(np.uint8), "b": MASK.astype(np.uint8)})
    np.save(root / "images" / "a_seg.npy", np.array([{"flows": 1}], dtype=object))
    assert len(open_data(root).split("all")) == 2


@pytest.mark.parametrize("suffix", [".mat", ".npz", ".nii.gz", ".dcm"])
def test_a_format_that_is_not_opened_is_named_as_the_fault(tmp_path, suffix):
    root = array_set(tmp_path / "set", [MASK] * 3)
    for path in (root / "masks").iterdir():
        path.rename(path.with_suffix(suffix))
    error = refusal(root)
    first = root / "masks" / f"p0{suffix}"
    assert str(error.what).startswith("the masks of 3 of 3 images are 3 " + suffix)
    assert (error.code, f"does not open (such as {first})" in error.what) == ("SK-D006", True)
    assert error.fix.startswith("Save each under the same name as PNG, TIFF or .npy. ")
    if suffix == ".mat":
        assert "scipy.io.loadmat" in error.fix
        np.save(root / "masks" / "p0.npy", MASK)
        assert "the masks of 2 of 3 images are 2 .mat files" in refusal(root).what


def test_the_folder_that_is_missing_is_named(tmp_path):
    root = array_set(tmp_path / "set", [MASK] * 3)
    (root / "masks").rename(root / "truth")
    assert refusal(root).what == f"{root} holds images/, and masks/ is missing."
    assert refusal(root).fix == "truth/ holds as many pictures: if it is that, call it masks/."
    (root / "images").rename(tmp_path / "elsewhere")
    (root / "truth").rename(root / "masks")
    assert refusal(root).what == f"{root} holds masks/, and images/ is missing."
