"""What a training was told to be and warned of, kept in its run folder for the report."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from segkit.storage import replace_text, storage_errors
from segkit.training.monitoring.events import Silence
from segkit.version import __version__

FILE = "decisions.json"


class Notebook(Silence):
    """Writes down decisions and warnings; those of a run that goes on stay beside the new ones."""

    def __init__(self) -> None:
        self.decisions: list[tuple[str, str]] = []
        self.warnings: list[str] = []

    def decided(self, lines: Sequence[tuple[str, str]]) -> None:
        self.decisions += lines

    def warned(self, text: str) -> None:
        self.warnings.append(text)

    def keep(self, folder: Path) -> None:
        """Writes them into the run folder; raises StorageError where the disk refuses."""
        former = read_notes(folder)
        warnings = dict.fromkeys([*former.get("warnings", ()), *self.warnings])
        notes = {
            "decisions": self.decisions,
            "warnings": list(warnings),
            "versions": {
                "segkit": __version__,
                "torch": str(torch.__version__),
                "python": platform.python_version(),
                "system": platform.platform(),
            },
        }
        with storage_errors(folder / FILE):
            replace_text(folder / FILE, json.dumps(notes, indent=2) + "\n")


def read_notes(folder: Path) -> dict[str, Any]:
    """What `keep` wrote; nothing of a run that is older, or whose file is damaged."""
    try:
        notes = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}
