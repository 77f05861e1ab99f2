"""A case: one thing to measure, with all its settings; its name tells it from every other."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from segkit.bench.records.record import Record

Task = Literal["network", "encoder", "loss", "upsampler", "data", "benchmark", "onnx"]
Mode = Literal["train", "infer"]
Precision = Literal["fp32", "bf16", "fp16"]
Compile = Literal["no", "yes", "graph"]


class Case(Record):
    """One thing to measure."""

    task: Task = "network"
    mode: Mode = "train"
    encoder: str | None = None
    decoder: str | None = None
    upsampler: str | None = None
    loss: str | None = Field(default=None, description="null when mode is infer")
    benchmark: str | None = Field(
        default=None, description="component of kind benchmarks, such as a peer's network"
    )
    data: str | None = Field(default=None, description="task data: demo, or a folder")
    onnx: str | None = Field(
        default=None, description="task onnx: a file that segkit export wrote; always inference"
    )
    size: int = Field(default=256, ge=1, description="side of the square image, pixels")
    batch: int = Field(default=8, ge=1, description="images a step")
    classes: int = Field(default=21, ge=1, description="classes K of the logits")
    channels: int = Field(
        default=3, ge=1, description="of the image; task upsampler: of its map, in and out"
    )
    precision: Precision = "fp32"
    compile: Compile = Field(
        default="no", description="yes: torch.compile; graph: replayed as a CUDA graph"
    )
    channels_last: bool = Field(default=True, description="memory layout of images and weights")
    device: str = "cpu"
    threads: int | None = Field(
        default=None, description="of torch in the worker; null is torch's own choice"
    )
    workers: int = Field(default=0, ge=0, description="task data: reading processes")

    @property
    def network(self) -> str:
        """What is measured, without its settings."""
        if self.benchmark or self.onnx:
            return self.benchmark or str(self.onnx)
        parts = (self.encoder, self.decoder, self.upsampler, self.loss, self.data)
        return " + ".join(part for part in parts if part)

    @property
    def name(self) -> str:
        """All of it in one line; equal for equal cases, so that two runs' rows can be matched."""
        words = [self.network, self.mode, f"{self.size}px", f"batch {self.batch}", self.precision]
        words += [{"yes": "compiled"}.get(self.compile, self.compile)] * (self.compile != "no")
        words += ["NCHW"] * (not self.channels_last)
        words += [f"K={self.classes}"] * (self.classes != 21)
        words += [f"C={self.channels}"] * (self.channels != 3)
        words += [f"{self.threads} threads"] * bool(self.threads)
        words += [f"{self.workers} workers"] * bool(self.workers)
        words += [self.device] * (self.device != "cpu")
        prefix = "" if self.task in ("network", "benchmark", "onnx") else f"{self.task}: "
        return prefix + ", ".join(words)
