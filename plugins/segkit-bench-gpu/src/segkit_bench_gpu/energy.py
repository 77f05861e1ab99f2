"""The energy a GPU has used, by its own counter (NVML, Volta and later)."""

from __future__ import annotations

from typing import Any

import torch


class EnergyCounter:
    """Millijoules since the driver was loaded, as joules."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self.nvml, self.handle = nvml, handle

    @classmethod
    def of(cls, device: torch.device) -> EnergyCounter | None:
        """The device's counter; None without nvidia-ml-py, without driver, or on an older GPU."""
        try:
            import pynvml  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            return None
        try:
            pynvml.nvmlInit()
            counter = cls(pynvml, pynvml.nvmlDeviceGetHandleByUUID(_uuid(device)))
            counter.joules()
        # NVML's errors are one class; torch raises where there is no GPU to name.
        except (pynvml.NVMLError, RuntimeError, AssertionError):
            return None
        return counter

    def joules(self) -> float:
        return float(self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle)) / 1e3


def _uuid(device: torch.device) -> str:
    # Not the index: CUDA_VISIBLE_DEVICES renumbers GPUs for torch and not for NVML.
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"
