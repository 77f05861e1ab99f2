"""Benchmarks whose truth is known, as a plugin that workers find: they sleep, allocate, fail."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

SOURCE = '''
import os
import signal
import time

import torch
from segkit.api import hookimpl


class Probe:
    unit = "image"

    def __init__(self, device: str, *, milliseconds: float = 0.0, megabytes: int = 0,
                 error: float = 0.0, does: str = "nothing", batch: int = 1) -> None:
        self.milliseconds, self.megabytes, self.batch = milliseconds, megabytes, batch
        self.error, self.does = error, does

    def set_up(self) -> None:
        print("a component may print; the protocol is not disturbed")
        if self.does == "refuse":
            from segkit.api import UsageError
            raise UsageError("SK-C007", "this cannot work.", "Do something else.")

    def run(self) -> int:
        time.sleep(self.milliseconds / 1e3)
        block = torch.empty(self.megabytes * 10**6, dtype=torch.uint8).fill_(1)
        if self.does == "raise":
            raise ValueError("a fault of the component")
        if self.does == "exit":
            os._exit(3)
        if self.does == "be killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.does == "want too much":
            torch.empty(2**50, dtype=torch.uint8)
        if self.does == "hang":
            time.sleep(1000)
        return self.batch

    def check(self) -> tuple[float, float]:
        return self.error, 0.1


class Lone:
    unit = "tile"

    def __init__(self, device: str) -> None:
        pass

    def set_up(self) -> None:
        pass

    def run(self) -> int:
        time.sleep(0.001)
        return 1


@hookimpl
def segkit_benchmark(name: str):
    return {"probe": Probe, "kin/one": Lone, "kin/two": Lone}.get(name)


@hookimpl
def segkit_members(kind: str, family: str):
    return ["kin/one", "kin/two"] if family == "kin" else None


class Biased(torch.nn.Module):
    """Right in float64 and wrong in float32."""

    channels, strides = (4,), (2,)

    def __init__(self, in_channels: int, weights: str) -> None:
        super().__init__()
        from segkit.api import Normalization
        self.normalization = Normalization((0.5,) * in_channels, (0.5,) * in_channels)
        self.convolution = torch.nn.Conv2d(in_channels, 4, 3, padding=1, stride=2)

    def forward(self, image_BCHW):
        from segkit.api import Features
        x_BCHW = self.convolution(image_BCHW)
        if image_BCHW.dtype == torch.float32:
            x_BCHW = x_BCHW * 1.01
        return Features((x_BCHW,))


@hookimpl
def segkit_encoder(name: str):
    return Biased if name == "biased" else None
'''
METADATA = "Metadata-Version: 2.4\nName: bench-probe\nVersion: 1.0\n"
ENTRIES = """[segkit.benchmarks]
probe = bench_probe
kin = bench_probe

[segkit.encoders]
biased = bench_probe
"""


@pytest.fixture(scope="session")
def probe_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("probe")
    info = site / "bench_probe-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRIES)
    (site / "bench_probe.py").write_text(SOURCE)
    return site


@pytest.fixture
def probes(probe_site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The plugin, for this process and for the workers it starts."""
    path = os.pathsep.join(filter(None, [str(probe_site), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.syspath_prepend(str(probe_site))
    yield probe_site
    sys.modules.pop("bench_probe", None)
