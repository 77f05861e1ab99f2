"""What a contest runs on and with, which each record tells: those of two machines never mix."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segkit.bench.instruments.conditions import conditions
from segkit.device import choose_precision
from segkit.errors import UsageError

KEPT = ("processor", "cores", "memory_bytes", "system", "python")
PACKAGES = ("torch", "segkit-core", "timm")
OF_PEERS = ("torch", "segmentation-models-pytorch", "monai", "nnunetv2")
ASKED = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def machine(peers: Path, threads: int, jobs: int) -> dict[str, Any]:
    """Of this machine, segkit's environment and that of the peers; imports torch."""
    import torch

    environment = conditions("cpu").model_dump()
    packages: Mapping[str, str] = environment["packages"]
    return {
        **{key: environment[key] for key in KEPT},
        "threads": threads,
        "jobs": jobs,
        "precision": choose_precision("auto", torch.device("cpu")),
        "packages": {name: packages[name] for name in PACKAGES if name in packages},
        "peers": versions(peers, OF_PEERS),
    }


def versions(python: Path, packages: Sequence[str]) -> dict[str, str]:
    """Of the packages that this Python has; none where it cannot be run."""
    command = [str(python), "-c", ASKED, *packages]
    try:
        told = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return {}
    found: dict[str, str] = json.loads(told)
    return found


def check_same(here: Mapping[str, Any], there: Mapping[str, Any], folder: Path) -> None:
    """Raises UsageError SK-C009 where a record that the folder keeps is of another machine."""
    other = [key for key in here if here[key] != there.get(key)]
    if not other:
        return
    told = "; ".join(
        f"{key} {_told(there.get(key))} there, {_told(here[key])} here" for key in other
    )
    raise UsageError(
        "SK-C009",
        f"{folder} keeps turns that were run otherwise: {told}. Their figures are not comparable.",
        "Name another folder with --out, or remove its records/.",
    )


def _told(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in value.items()) or "none"
    return "not told" if value is None else str(value)
