"""What `segkit doctor` looks at: packages, devices, memory, disk, caches, plugins.

torch is imported in a process of its own, so that a broken installation is a line and no crash.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segkit.registry.environment import (
    REINSTALL,
    explain_import_error,
    installed_build,
    torch_mismatch,
)
from segkit.registry.index import CORE, Index, version_of
from segkit.version import __version__

GIB = 1024**3
PROBE_SECONDS = 120
OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
OPTIONAL = ("torchvision", "timm", "segmentation-models-pytorch", "tensorboard")

PROBE = """
import importlib.util
import json
import torch
found = {"devices": [], "cuda_build": torch.version.cuda, "torchvision_error": ""}
if importlib.util.find_spec("torchvision"):
    try:
        import torchvision
    except Exception as error:
        found["torchvision_error"] = f"{type(error).__name__}: {error}"
for i in range(torch.cuda.device_count()):
    p = torch.cuda.get_device_properties(i)
    bf16 = (p.major, p.minor) >= (8, 0) or torch.version.hip is not None
    found["devices"].append(f"cuda:{i} {p.name}, {p.total_memory / 2**30:.1f} GiB"
                            + (", bfloat16" if bf16 else ""))
if torch.backends.mps.is_available():
    found["devices"].append("mps")
for name in ("cv2", "PIL.Image"):
    __import__(name)
print("segkit-probe: " + json.dumps(found))
"""


@dataclass(frozen=True)
class Line:
    """One thing looked at.

    state   ok; warn: works, but may disappoint; bad: something cannot work
    fix     what to do, empty where nothing needs doing
    """

    subject: str
    state: Literal["ok", "warn", "bad"]
    found: str
    fix: str = ""


def examine(folder: Path | None = None) -> list[Line]:
    """All lines, in an order in which they explain one another; runs would go to `folder`."""
    folder, probed = folder or Path.cwd(), _probe()
    return [
        Line("python", "ok", f"{platform.python_version()} at {sys.executable}"),
        Line("segkit", "ok", f"{__version__} at {Path(__file__).parents[1]}"),
        *requirements(),
        *optional_packages(),
        opencv(),
        torch_and_torchvision(probed),
        *devices(probed),
        cores(),
        memory(*_memory()),
        shared_memory(Path("/dev/shm")),
        freed_memory(),
        disk(folder),
        weights_folder(),
        hub_cache(),
        *plugins(Index.of_installed()),
    ]


def requirements() -> Iterator[Line]:
    """Whether every package that segkit-core asks for is there, in a version it takes."""
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    try:
        texts = requires(CORE) or []
    except PackageNotFoundError:
        yield Line("packages", "warn", f"{CORE} is not installed, only found on the path")
        return
    needed = [Requirement(text) for text in texts]
    needed = [r for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
    held = {r.name: version_of(r.name) for r in needed}
    for requirement in needed:
        version = held[requirement.name]
        wanted = f"{requirement.name}{requirement.specifier}"
        if version is None:
            yield Line("packages", "bad", f"{requirement.name} is missing", _install(wanted))
        elif not requirement.specifier.contains(version, prereleases=True):
            found = f"{requirement.name} {version}, and segkit needs {requirement.specifier}"
            yield Line("packages", "bad", found, _install(wanted))
    shown = (f"{r.name} {held[r.name]}" for r in needed if held[r.name])
    yield Line("packages", "ok", ", ".join(shown))


def optional_packages() -> Iterator[Line]:
    there = [f"{name} {version}" for name in OPTIONAL if (version := version_of(name))]
    yield Line("optional", "ok", ", ".join(there) or "none")


def opencv() -> Line:
    """Two OpenCV distributions overwrite each other's files."""
    there = {name: version for name in OPENCV if (version := version_of(name))}
    shown = " and ".join(f"{name} {version}" for name, version in there.items())
    if len(there) > 1:
        return Line(
            "OpenCV",
            "warn",
            f"{shown} share the folder cv2: the later one overwrote the earlier",
            f"python -m pip uninstall -y {' '.join(there)}\n{_install('opencv-python-headless')}",
        )
    return Line("OpenCV", "ok", shown or "none")


def torch_and_torchvision(probed: dict[str, Any] | str) -> Line:
    """Whether the two fit, by what their files say and by what importing them did."""
    torch, vision = installed_build("torch"), installed_build("torchvision")
    if mismatch := torch_mismatch():
        return Line("torch", "bad", mismatch, REINSTALL)
    if torch is None:
        return Line("torch", "bad", "torch is missing", _install("torch"))
    if vision and not isinstance(probed, str) and (error := probed["torchvision_error"]):
        both = f"torch {torch.version} and torchvision {vision.version}"
        return Line("torch", "bad", f"{both} do not fit each other ({error})", REINSTALL)
    beside = f" and torchvision {vision.version} fit" if vision else ", no torchvision"
    return Line("torch", "ok", f"torch {torch.version}{beside}")


def devices(probed: dict[str, Any] | str) -> Iterator[Line]:
    """What torch finds when it is imported, or why it cannot be."""
    if isinstance(probed, str):
        fix = explain_import_error(ImportError(probed)) or REINSTALL
        yield Line("devices", "bad", f"torch, cv2 or PIL cannot be imported ({probed})", fix)
        return
    if probed["devices"]:
        yield from (Line("devices", "ok", device) for device in probed["devices"])
        return
    if probed["cuda_build"] and Path("/proc/driver/nvidia/version").exists():
        yield Line(
            "devices",
            "warn",
            f"the CPU alone: torch is built for CUDA {probed['cuda_build']} and there is an NVIDIA "
            "driver, but torch finds no device",
            "Update the driver, or unset CUDA_VISIBLE_DEVICES.",
        )
        return
    yield Line("devices", "ok", "the CPU alone")


def cores() -> Line:
    """Cores that this process may use, a container's quota included."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _first_line(Path("/sys/fs/cgroup/cpu.max")).split()
    text = f"{usable} of {os.cpu_count()}"
    if len(quota) == 2 and quota[0].isdigit():
        text += f", at most {int(quota[0]) / int(quota[1]):g} at a time"
    if threads := os.environ.get("OMP_NUM_THREADS"):
        text += f"; OMP_NUM_THREADS={threads}"
    return Line("cores", "ok", text)


def memory(total: float, available: float) -> Line:
    """Both in bytes; 0 where they cannot be told."""
    if not total:
        return Line("memory", "ok", "unknown on this system")
    text = f"{available / GIB:.1f} of {total / GIB:.1f} GiB free"
    if available < 2 * GIB:
        return Line(
            "memory", "warn", text, "Close other programs, or use --workers 0 and --batch 2."
        )
    return Line("memory", "ok", text)


def shared_memory(folder: Path) -> Line:
    """Workers hand batches over through it; a container has 64 MB unless told otherwise."""
    if not folder.is_dir():
        return Line("shared memory", "ok", f"no {folder} on this system")
    free = shutil.disk_usage(folder).free
    text = f"{free / GIB:.2f} GiB free in {folder}"
    if free < GIB / 4:
        fix = "Use --workers 0, or start the container with --shm-size=2g."
        return Line("shared memory", "warn", text, fix)
    return Line("shared memory", "ok", text)


def freed_memory() -> Line:
    """Who keeps memory that tensors free: an option of train, evaluate and predict decides."""
    if platform.libc_ver()[0] != "glibc":
        return Line("freed memory", "ok", "goes as this system's C library has it")
    return Line(
        "freed memory",
        "ok",
        "goes back to the system; --keep-freed-memory keeps it, which saves time where maps exceed "
        "32 MiB on a virtual machine and takes up to a fifth more memory (segkit bench allocator)",
    )


def disk(folder: Path) -> Line:
    text = f"{shutil.disk_usage(folder).free / GIB:.1f} GiB free at {folder}"
    if not os.access(folder, os.W_OK):
        return Line("disk", "warn", f"{folder} cannot be written to", "Give --out DIR elsewhere.")
    if shutil.disk_usage(folder).free < GIB:
        return Line("disk", "warn", text, "Free some space, or give --out DIR elsewhere.")
    return Line("disk", "ok", text)


def weights_folder() -> Line:
    """The folder for weights fetched by hand, as segkit.model.weights looks for it."""
    named = os.environ.get("SEGKIT_WEIGHTS")
    folder = Path(named) if named else Path.home() / ".cache" / "segkit" / "weights"
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if named and not folder.is_dir():
        fix = "Make it, or unset SEGKIT_WEIGHTS."
        return Line("weights", "warn", f"SEGKIT_WEIGHTS names {folder}, which is no folder", fix)
    return Line("weights", "ok", f"{_listed([file.stem for file in files])} in {folder}")


def hub_cache() -> Line:
    """The Hugging Face hub's cache, found as its client finds it."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    folder = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    models = sorted(folder.glob("models--*")) if folder.is_dir() else []
    names = [
        model.name.removeprefix("models--").replace("--", "/")
        for model in models
        if any(model.glob("snapshots/*/*.safetensors"))
    ]
    offline = "; HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE", "0") != "0" else ""
    existing = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    if not os.access(existing, os.W_OK):
        fix = "Set HF_HOME to a folder that can be written to."
        return Line("hub cache", "warn", f"{folder} cannot be written to", fix)
    return Line("hub cache", "ok", f"{_listed(names)} in {folder}{offline}")


def plugins(index: Index) -> Iterator[Line]:
    found = index.distributions()
    if not found:
        fix = "Install one, such as segkit-unet, or unset SEGKIT_DISABLE."
        yield Line("plugins", "bad", "none is installed", fix)
        return
    for name, entries in found.items():
        if broken := next((entry for entry in entries if entry.problem), None):
            fix = f"python -m pip install --upgrade {name} {CORE}"
            yield Line("plugins", "bad", f"{name} {broken.version}: {broken.problem}", fix)
    off = [name for name, entries in found.items() if entries[0].disabled]
    if off:
        yield Line("plugins", "warn", f"switched off: {', '.join(off)}", "Unset SEGKIT_DISABLE.")
    usable = [e for e in index.entries if e.state == "ok"]
    names = {entry.distribution for entry in usable}
    text = f"{len(names)} with {len(usable)} entries; `segkit plugins --check` imports each"
    yield Line("plugins", "ok", text)


def _probe() -> dict[str, Any] | str:
    """What torch says of this machine, or the last line of the error that it ends in."""
    command = [sys.executable, "-P", "-c", PROBE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no answer within {PROBE_SECONDS} s"
    for line in done.stdout.splitlines():
        if line.startswith("segkit-probe: "):
            found: dict[str, Any] = json.loads(line.removeprefix("segkit-probe: "))
            return found
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


def _memory() -> tuple[float, float]:
    """Bytes in all and bytes free, a container's limit included; zeros where unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    total, available = 1024.0 * kib["MemTotal"], 1024.0 * kib["MemAvailable"]
    limit, used = (
        _first_line(Path("/sys/fs/cgroup") / name) for name in ("memory.max", "memory.current")
    )
    if limit.isdigit() and used.isdigit():
        total, available = min(total, int(limit)), min(available, int(limit) - int(used))
    return total, available


def _first_line(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _listed(names: list[str], most: int = 6) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _install(requirement: str) -> str:
    quoted = f'"{requirement}"' if any(mark in requirement for mark in "<>=!~") else requirement
    return f"python -m pip install {quoted}"
