"""Formats that hold masks elsewhere and are not opened: named, with a way to one that is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

SLICES = "segkit reads flat images: save each slice by itself."
OTHERS = {
    ".mat": "In MATLAB: imwrite(uint8(labels), 'a.png'). In Python: "
    "numpy.save('a.npy', scipy.io.loadmat('a.mat')['labels']), with the variable's own name.",
    ".npz": "In Python: numpy.save('a.npy', numpy.load('a.npz')['labels']), with the array's own "
    "name.",
    ".nii": SLICES,
    ".gz": SLICES,
    ".nrrd": SLICES,
    ".mha": SLICES,
    ".dcm": "In Python: numpy.save('a.npy', pydicom.dcmread('a.dcm').pixel_array).",
    ".pt": "In Python: numpy.save('a.npy', torch.load('a.pt').numpy()).",
    ".h5": "",
    ".hdf5": "",
    ".pkl": "",
    ".svg": "",
    ".psd": "",
}


def counted(paths: Sequence[Path]) -> str:
    """How many of which format, and one of them."""
    kinds = Counter("".join(path.suffixes).lower() for path in paths)
    listed = ", ".join(f"{count} {kind} file{'s' * (count > 1)}" for kind, count in kinds.items())
    return f"{listed}, a format that segkit does not open (such as {paths[0]})"


def way_out(paths: Sequence[Path]) -> str:
    """How to save such files as ones that are read."""
    kinds = {path.suffix.lower() for path in paths}
    how = [OTHERS[suffix] for suffix in OTHERS if suffix in kinds]
    return " ".join(["Save each under the same name as PNG, TIFF or .npy.", *dict.fromkeys(how)])
