"""What this Python environment holds, read from files: nothing of torch is imported.

torchvision's compiled part is linked against torch's: against one range of releases, and one
kind of build (CPU alone, one CUDA major version, ROCm). pip sees the first only, so a CPU-only
torch beside a torchvision linked against CUDA installs well and then fails at import.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from segkit.registry.index import version_of

REINSTALL = "python -m pip install --force-reinstall torch torchvision"
# How the failures read: an operator that was never registered, a library that is not there, and
# torchvision's own comparison of CUDA versions.
SIGNS = (
    "torchvision::",
    "torchvision' has no attribute",
    "compiled with different CUDA",
    "libtorch",
    "libcudart",
    "libc10",
)


@dataclass(frozen=True)
class Build:
    """One of the two packages as it says itself.

    version   whole, with the local part that names the build: 2.15.0+cu132
    folder    where the package lies
    """

    version: str
    folder: Path

    @property
    def device(self) -> str:
        """What it was built for: "cpu", "cu132", "rocm6.4"; "" where it does not say."""
        return self.version.partition("+")[2]

    @property
    def family(self) -> str:
        """The device as far as it must agree: CUDA builds by major version."""
        cuda = re.fullmatch(r"cu(\d+)\d", self.device)
        return f"CUDA {cuda[1]}" if cuda else re.sub(r"[\d.]+$", "", self.device)


def installed_build(package: str) -> Build | None:
    """torch or torchvision as installed, or None; its version file is read, nothing is imported."""
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations)))
    try:
        written = (folder / "version.py").read_text(encoding="utf-8")
    except OSError:
        written = ""
    # The metadata of a wheel from the package index leave the local part out, the file does not.
    found = re.search(r"^__version__\s*=\s*['\"]([^'\"]+)", written, re.MULTILINE)
    version = found[1] if found else version_of(package)
    return Build(version, folder) if version else None


def torch_mismatch() -> str | None:
    """A sentence with both versions where torch and torchvision cannot work together, else None."""
    torch, vision = installed_build("torch"), installed_build("torchvision")
    if torch is None or vision is None:
        return None
    wanted = _unmet_requirement(torch)
    if wanted:
        return (
            f"torchvision {vision.version} was built for torch{wanted}, "
            f"and torch {torch.version} is installed"
        )
    if _devices_fit(torch, vision):
        return None
    return (
        f"torch {torch.version} and torchvision {vision.version} were built for different devices"
    )


def explain_import_error(error: BaseException) -> str:
    """The fix for an import error that comes of torch and torchvision not fitting, or no text."""
    if not any(sign in str(error) for sign in SIGNS):
        return ""
    torch, vision = installed_build("torch"), installed_build("torchvision")
    reason = torch_mismatch() or (
        f"torch {torch.version if torch else '(none)'} and torchvision "
        f"{vision.version if vision else '(none)'} do not fit each other"
    )
    return f"{reason}.\n{REINSTALL}"


def _unmet_requirement(torch: Build) -> str:
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import InvalidRequirement, Requirement

    try:
        required = requires("torchvision") or []
    except PackageNotFoundError:
        return ""
    for text in required:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.name == "torch" and not requirement.specifier.contains(
            torch.version, prereleases=True
        ):
            return str(requirement.specifier)
    return ""


def _devices_fit(torch: Build, vision: Build) -> bool:
    """Whether what torchvision is linked against is in this torch."""
    if vision.device == "cpu":
        return True
    if torch.device and vision.device:
        return torch.family == vision.family
    return not (_links_against_cuda(vision) and not _holds_cuda(torch))


def _links_against_cuda(vision: Build) -> bool:
    return any(b"libtorch_cuda.so" in file.read_bytes() for file in vision.folder.glob("*.so"))


def _holds_cuda(torch: Build) -> bool:
    return (torch.folder / "lib" / "libtorch_cuda.so").is_file()
