"""What this Python environment holds, read from metadata without importing torch."""

from __future__ import annotations

import importlib.metadata
import re

REINSTALL = "python -m pip install --force-reinstall torch torchvision"


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def torch_mismatch() -> str | None:
    """A sentence with both versions where torch and torchvision cannot work together, else None.

    torchvision's compiled part is linked against one torch release and one kind of build: its metadata
    name the release, and the local version (+cpu, +cu130) names the build.
    """
    from packaging.requirements import Requirement

    torch, vision = installed_version("torch"), installed_version("torchvision")
    if torch is None or vision is None:
        return None
    for text in importlib.metadata.requires("torchvision") or ():
        requirement = Requirement(text)
        if requirement.name == "torch" and not requirement.specifier.contains(
            torch, prereleases=True
        ):
            return f"torchvision {vision} was built for torch{requirement.specifier}, and torch {torch} is installed"
    if ("cpu" in _local(torch)) != ("cpu" in _local(vision)):
        return f"torch {torch} and torchvision {vision} were built for different devices"
    return None


def explain_import_error(error: BaseException) -> str:
    """The fix for an import error that comes of torch and torchvision not fitting, or an empty string."""
    text = str(error)
    signs = ("torchvision::", "torchvision' has no attribute", "libcudart", "libtorch", "_C.so")
    if not any(sign in text for sign in signs):
        return ""
    torch, vision = installed_version("torch"), installed_version("torchvision")
    reason = torch_mismatch() or f"torch {torch} and torchvision {vision} do not fit each other"
    return f"{reason}.\n{REINSTALL}"


def _local(version: str) -> str:
    match = re.search(r"\+(\w+)", version)
    return match[1] if match else ""
