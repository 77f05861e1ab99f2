"""Weights, checkpoints and model folders that were made to harm."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from canary import Evil
from safetensors.torch import save_file
from torch import nn

Maker = Callable[[Path], Path]


def saved(content: Any, *, new: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=new)
    return file.getvalue()


def named(name: str, content: bytes) -> Maker:
    """A maker of one file."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


class EvilModule(nn.Module):
    """A whole network, with what runs when it is unpickled."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, 1, 1)
        self.hook = Evil()


def declares_five_gigabytes() -> bytes:
    """A saved tensor whose record claims 5 GB of storage, in a file of a kilobyte."""
    whole = saved({"weight": torch.zeros(1234)})
    rewritten = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(rewritten, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("data.pkl"):
                # BININT2 1234 becomes BININT 1,300,000,000.
                content = content.replace(
                    b"M" + struct.pack("<H", 1234), b"J" + struct.pack("<i", 1_300_000_000)
                )
            new.writestr(name, content)
    return rewritten.getvalue()


def torchscript(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "scripted.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil()))
        archive.writestr("archive/code/__torch__.py", "import os\nos.system('true')\n")
        archive.writestr("archive/constants.pkl", pickle.dumps(()))
        archive.writestr("archive/version", "3")
    return folder / "scripted.pt"


def exported_program(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "program.pt2", "w") as archive:
        archive.writestr("program/archive_format", "pt2")
        archive.writestr("program/data/weights/weight_0", pickle.dumps(Evil()))
        archive.writestr("program/models/model.json", '{"graph_module": "__import__(\'os\')"}')
        archive.writestr("program/data/aotinductor/model/run.so", b"\x7fELF")
    return folder / "program.pt2"


def old_tar(folder: Path) -> Path:
    with tarfile.open(folder / "old.pt", "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(Evil())
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return folder / "old.pt"


def distributed_checkpoint(folder: Path) -> Path:
    (folder / "dcp").mkdir()
    (folder / "dcp/.metadata").write_bytes(pickle.dumps(Evil()))
    (folder / "dcp/__0_0.distcp").write_bytes(saved(Evil()))
    return folder / "dcp"


def folder_of_bin(config: bytes, weights: bytes) -> Maker:
    def make(folder: Path) -> Path:
        (folder / "hub").mkdir()
        (folder / "hub/config.json").write_bytes(config)
        (folder / "hub/pytorch_model.bin").write_bytes(weights)
        return folder / "hub"

    return make


def piped_config(folder: Path) -> Path:
    made = folder_of_bin(b"", saved({"weight": torch.zeros(2)}))(folder)
    (made / "config.json").unlink()
    os.mkfifo(made / "config.json")
    return made


def pipe(name: str) -> Maker:
    def make(folder: Path) -> Path:
        os.mkfifo(folder / name)
        return folder / name

    return make


def endless(name: str) -> Maker:
    def make(folder: Path) -> Path:
        (folder / name).symlink_to("/dev/zero")
        return folder / name

    return make


def arrays(name: str) -> Maker:
    def make(folder: Path) -> Path:
        evil = np.array([Evil()], dtype=object)
        with (folder / name).open("wb") as file:
            if name.endswith("npz"):
                np.savez(file, weight=evil)
            else:
                np.save(file, evil, allow_pickle=True)
        return folder / name

    return make


def not_a_number(folder: Path) -> Path:
    save_file({"head.weight": torch.full((3,), float("nan"))}, folder / "nan.safetensors")
    return folder / "nan.safetensors"


WEIGHTS: dict[str, Maker] = {
    "a pickle in torch.save's archive": named("evil.pt", saved({"weight": Evil()})),
    "the same beside tensors": named(
        "evil.pth", saved({"state_dict": {"w": torch.zeros(2)}, "more": Evil()})
    ),
    "torch.save's older form": named("old.pth", saved({"weight": Evil()}, new=False)),
    "a bare pickle": named("bare.pth", pickle.dumps(Evil())),
    "a pickle of protocol 0": named("zero.pth", pickle.dumps(Evil(), protocol=0)),
    "a pickle called safetensors": named("evil.safetensors", saved({"weight": Evil()})),
    "a pickle called bin": named("evil.bin", pickle.dumps({"weight": Evil()})),
    "a Lightning checkpoint with an instantiator": named(
        "one.ckpt",
        saved({"state_dict": {}, "hyper_parameters": {"_instantiator": "os.system", "x": Evil()}}),
    ),
    "a Lightning checkpoint with a class path": named(
        "two.ckpt", saved({"state_dict": {}, "_class_path": "os.system", "init_args": [Evil()]})
    ),
    "a whole network": named("whole.pt", saved(EvilModule())),
    "TorchScript": torchscript,
    "an exported program": exported_program,
    "a tar of PyTorch 0.1": old_tar,
    "five gigabytes declared": named("five.pt", declares_five_gigabytes()),
    "a cut archive": named("cut.pt", saved({"w": torch.zeros(9)})[:-40]),
    "an empty archive": named("empty.pt", b"PK\x05\x06" + b"\0" * 18),
    "nested dictionaries": named("nested.pt", saved({"state_dict": {"model": {"net": {}}}})),
    "NumPy objects": arrays("evil.npy"),
    "NumPy objects in an archive": arrays("evil.npz"),
    "a distributed checkpoint": distributed_checkpoint,
    "a hub folder with a pickle": folder_of_bin(b"{}", pickle.dumps(Evil())),
    "a hub folder with a deep config": folder_of_bin(b"[" * 200_000, saved({"w": torch.ones(2)})),
    "a hub folder with a list for config": folder_of_bin(b"[1]", saved({"w": torch.ones(2)})),
    "a hub folder with a piped config": piped_config,
    "safetensors: header of 2^62 bytes": named("a.safetensors", safetensors({}, length=1 << 62)),
    "safetensors: header longer than the file": named("b.safetensors", safetensors({}, length=99)),
    "safetensors: overlapping tensors": named(
        "c.safetensors", safetensors({"a": entry(), "b": entry()}, b"\0" * 8)
    ),
    "safetensors: cut short": named("d.safetensors", safetensors({"a": entry()}, b"\0" * 3)),
    "safetensors: unknown type": named(
        "e.safetensors", safetensors({"a": entry("PICKLE")}, b"\0" * 8)
    ),
    "safetensors: brackets without end": named("f.safetensors", safetensors(b"[" * 100_000)),
    "safetensors: no JSON": named("g.safetensors", safetensors(b"\xff" * 64)),
    "safetensors: empty": named("h.safetensors", b""),
    "safetensors: a negative side": named(
        "i.safetensors", safetensors({"a": entry(shape=(-2,))}, b"\0" * 8)
    ),
    "safetensors: sides that overflow": named(
        "j.safetensors", safetensors({"a": entry(shape=(1 << 40, 1 << 40))}, b"\0" * 8)
    ),
    "safetensors: a gap": named(
        "k.safetensors", safetensors({"a": entry(offsets=(8, 16))}, b"\0" * 16)
    ),
    "safetensors: names with escapes": named(
        "l.safetensors", safetensors({"\x1b[31m[red]": entry()}, b"\0" * 8)
    ),
    "safetensors: no numbers": not_a_number,
    "a pipe": pipe("pipe.safetensors"),
    "a pipe called pt": pipe("pipe.pt"),
    "zeros without end": endless("zero.safetensors"),
    "zeros without end called pt": endless("zero.pt"),
}
