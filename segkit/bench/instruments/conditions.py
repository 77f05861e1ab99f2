"""What a result depends on besides the code: the machine, its clocks and load, the versions."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from segkit.bench.records.machine import Environment
from segkit.registry.index import Index, version_of

CPU_INFO = Path("/proc/cpuinfo")
MEMORY_INFO = Path("/proc/meminfo")
CPUS = Path("/sys/devices/system/cpu")
PACKAGES = ("torch", "torchvision", "numpy", "timm", "segmentation-models-pytorch", "monai")


def conditions(device: str) -> Environment:
    """The conditions now; imports torch."""
    import torch

    name, memory, driver = device, None, None
    if torch.device(device).type == "cuda":
        properties = torch.cuda.get_device_properties(torch.device(device))
        name, memory = properties.name, properties.total_memory
        driver = f"CUDA {torch.version.cuda}" if torch.version.cuda else torch.version.hip
    return Environment(
        processor=processor(),
        cores=usable_cores(),
        memory_bytes=memory_bytes(),
        system=f"{platform.system()} {platform.release()}",
        architecture=platform.machine(),
        device=name,
        device_memory_bytes=memory,
        driver=driver,
        threads=torch.get_num_threads(),
        clock_mhz=clock_mhz(),
        governor=governor(),
        load_before=load(),
        python=platform.python_version(),
        packages=versions(),
    )


def processor() -> str:
    """The processor's name as the system gives it."""
    if CPU_INFO.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", CPU_INFO.read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """The cores this process may use, which in a container are fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """All of the machine's memory."""
    return _memory("MemTotal")


def available_bytes() -> int:
    """Memory that could be had now without swapping; the half of all where that is not told."""
    return _memory("MemAvailable") or memory_bytes() // 2


def clock_mhz() -> float | None:
    """The mean clock of the cores at this moment."""
    if not CPU_INFO.is_file():
        return None
    clocks = re.findall(r"^cpu MHz\s*:\s*([\d.]+)$", CPU_INFO.read_text(), re.MULTILINE)
    return round(sum(map(float, clocks)) / len(clocks), 1) if clocks else None


def governor() -> str | None:
    """How the system sets the clocks, such as `performance` or `powersave`."""
    file = CPUS / "cpu0" / "cpufreq" / "scaling_governor"
    try:
        return file.read_text().strip()
    except OSError:
        return None


def load() -> float | None:
    """Processes running or waiting to, mean over a minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def versions() -> dict[str, str]:
    """Of torch, segkit and every plugin, and of the packages networks come from."""
    names = ["segkit-core", *Index.of_installed().distributions(), *PACKAGES]
    found = {name: version_of(name) for name in dict.fromkeys(names)}
    return {name: version for name, version in found.items() if version}


def _memory(field: str) -> int:
    if MEMORY_INFO.is_file():
        found = re.search(rf"^{field}:\s+(\d+) kB", MEMORY_INFO.read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    if field != "MemTotal" or not hasattr(os, "sysconf"):
        return 0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
