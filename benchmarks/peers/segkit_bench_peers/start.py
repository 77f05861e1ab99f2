"""How long a command takes from being typed to its end, beside the import of other libraries."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Literal

Command = Literal[
    "python", "import-segkit", "help", "list", "import-torch", "import-smp", "import-monai"
]

# What pip has installed for people to type; python is named to be sure that it is this one.
SCRIPT = str(Path(sysconfig.get_path("scripts")) / "segkit")
ARGUMENTS: dict[str, list[str]] = {
    "python": ["-c", "pass"],
    "import-segkit": ["-c", "import segkit"],
    "help": [SCRIPT, "--help"],
    "list": [SCRIPT, "list"],
    "import-torch": ["-c", "import torch"],
    "import-smp": ["-c", "import segmentation_models_pytorch"],
    "import-monai": ["-c", "import monai.networks.nets, monai.losses"],
}


class Start:
    """One command in a fresh interpreter.

    command   python: the interpreter by itself; help, list: of segkit; the others import a library
    plugins   that are installed beside those that are there, for this command alone
    """

    unit = "start"

    def __init__(self, device: str, *, command: Command = "help", plugins: int = 50) -> None:
        self.command, self.plugins = command, plugins

    def set_up(self) -> None:
        # It lives as long as the benchmark, and goes with it.
        self.folder = tempfile.TemporaryDirectory(prefix="segkit-start-")
        site = Path(self.folder.name)
        install_plugins(site, self.plugins)
        self.environment = environment_with(site)

    def run(self) -> int:
        words = [sys.executable, *ARGUMENTS[self.command]]
        subprocess.run(words, env=self.environment, stdout=subprocess.DEVNULL, check=True)
        return 1


def environment_with(site: Path) -> dict[str, str]:
    """This environment with a folder of plugins; modules compiled once, as pip does it."""
    return {
        **os.environ,
        "PYTHONPATH": str(site),
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(site / "compiled"),
    }


def install_plugins(site: Path, count: int) -> None:
    """As pip leaves them: a folder of metadata each, and no code, for none is to be imported."""
    for number in range(count):
        name = f"segkit_filler_{number:02d}"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n"
            "Requires-Dist: segkit-core<0.2,>=0.1\nRequires-Dist: torch>=2.11\n"
        )
        encoders = "".join(f"filler-{number:02d}-{each} = {name}\n" for each in range(3))
        losses = f"[segkit.losses]\nfiller-{number:02d} = {name}\n"
        (info / "entry_points.txt").write_text(f"[segkit.encoders]\n{encoders}\n{losses}")
        (info / "RECORD").write_text("")
