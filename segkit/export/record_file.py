"""What is kept beside an exported file of what it costs: a file of a name that no model has.

The record of `model.onnx` is `model.onnx.json`: beside it may lie the `model.json` of its model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segkit.storage import read_json, replace_text, storage_errors


def record_file(target: Path) -> Path:
    """Where the record of an exported file lies."""
    return target.with_name(f"{target.name}.json")


def write_record(target: Path, record: Mapping[str, Any]) -> str:
    """Writes the record of an exported file in one step; returns its text."""
    text = json.dumps(record, indent=2)
    with storage_errors(target):
        replace_text(record_file(target), text + "\n")
    return text


def remove_record(target: Path) -> None:
    """Removes the record of a file that was replaced by one without; a stranger's file stays."""
    try:
        found = read_json(record_file(target))
    except (OSError, ValueError):
        return
    if isinstance(found, dict) and {"command", "float_bytes"} <= set(found):
        record_file(target).unlink()
