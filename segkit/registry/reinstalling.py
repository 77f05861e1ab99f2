"""Finds components that a pyproject.toml declares and the installed metadata do not know yet."""

from __future__ import annotations

import json
import tomllib
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlparse


def declared_since(kind: str, name: str) -> str:
    """The words that say what to install again where an editable package declares the name.

    Entry points are read when a package is installed: one written later is not known. Empty where
    no editable package's pyproject.toml declares a component of this kind and name.
    """
    for folder in _editable_folders():
        try:
            project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
            declared = project["project"]["entry-points"][f"segkit.{kind}"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if name in declared:
            return (
                f"{folder / 'pyproject.toml'} declares it since it was installed: "
                f"python -m pip install -e {folder}"
            )
    return ""


def _editable_folders() -> list[Path]:
    found = []
    for distribution in metadata.distributions():
        text = distribution.read_text("direct_url.json")
        if not text:
            continue
        source = json.loads(text)
        if source.get("dir_info", {}).get("editable"):
            found.append(Path(unquote(urlparse(source["url"]).path)))
    return found
