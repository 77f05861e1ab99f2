"""How long kernels take to launch: many that do next to nothing."""

from __future__ import annotations

import torch

from segkit.api import UsageError


class LaunchBenchmark:
    """Adds 1 to a single number, again and again: the time is that of launching.

    kernels   launches a run
    graph     record them as one CUDA graph and replay it (CUDA only)
    """

    unit = "kernel"

    def __init__(self, device: str, *, kernels: int = 1000, graph: bool = False) -> None:
        if kernels < 1:
            raise UsageError("SK-C006", f"kernels is {kernels}.", "Give at least 1.")
        if graph and torch.device(device).type != "cuda":
            raise UsageError(
                "SK-C007", f"there are no CUDA graphs on {device}.", "Leave graph out."
            )
        self.device, self.kernels, self.graph = device, kernels, graph

    def set_up(self) -> None:
        self.number = torch.zeros(1, device=self.device)
        if not self.graph:
            return
        self._launch()
        self.recording = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.recording):
            self._launch()

    def run(self) -> int:
        """Launches them; how many."""
        if self.graph:
            self.recording.replay()
        else:
            self._launch()
        return self.kernels

    def _launch(self) -> None:
        for _ in range(self.kernels):
            self.number.add_(1)
