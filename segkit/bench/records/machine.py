"""The machine of a result: its conditions, and the most it was seen to do."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from segkit.bench.records.record import Record


class Environment(Record):
    """The machine and what runs on it. No host name, no user name."""

    processor: str
    cores: int = Field(description="that this process may use")
    memory_bytes: int
    system: str
    architecture: str
    device: str = Field(description="cpu, or the GPU's name")
    device_memory_bytes: int | None = None
    driver: str | None = None
    threads: int = Field(description="torch's own choice on this machine")
    clock_mhz: float | None = Field(default=None, description="of the cores, mean, at the start")
    governor: str | None = None
    load_before: float | None = Field(
        default=None, description="processes running or waiting, mean of a minute"
    )
    load_after: float | None = None
    python: str
    packages: Mapping[str, str] = Field(description="versions: torch, segkit-core, plugins, ...")

    @property
    def hardware(self) -> str:
        """What must agree for two results to be compared."""
        gib = round(self.memory_bytes / 2**30)
        return (
            f"{self.processor}, {self.cores} cores, {gib} GiB, {self.architecture}, {self.device}"
        )


class Ceilings(Record):
    """The most this machine was seen to do, measured just before the cases."""

    matmul_flops: Mapping[str, float] = Field(description="FLOP/s by precision")
    convolution_flops: Mapping[str, float] = Field(
        description="FLOP/s by precision, 3x3, channels last; on CPUs often above the product's"
    )
    copy_bytes: float = Field(description="bytes/s read and written by a large copy")
    threads: int | None = Field(
        default=None, description="that torch had; null is torch's own choice"
    )

    def flops(self, precision: str) -> float | None:
        """The higher of product and convolution, FLOP/s."""
        found = [
            table[precision]
            for table in (self.matmul_flops, self.convolution_flops)
            if precision in table
        ]
        return max(found, default=None)
