"""What a benchmark found, with its conditions: one frozen object, read and written as JSON.

Seconds, bytes and FLOP/s throughout; one multiply-add is two FLOPs. `schema.json` beside this file
is the published JSON Schema of results.json; `json_schema` generates it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from segkit.bench.controls import Twins
from segkit.bench.record import Record
from segkit.errors import UsageError

FORMAT: Literal["segkit-bench/1"] = "segkit-bench/1"

Status = Literal["ok", "oom", "crashed", "refused", "wrong", "skipped"]
Precision = Literal["fp32", "bf16", "fp16"]
Compile = Literal["no", "yes", "graph"]


class Case(Record):
    """One thing to measure."""

    task: Literal["network", "encoder", "loss", "upsampler", "data", "benchmark"] = "network"
    mode: Literal["train", "infer"] = "train"
    encoder: str | None = None
    decoder: str | None = None
    upsampler: str | None = None
    loss: str | None = Field(default=None, description="null when mode is infer")
    benchmark: str | None = Field(
        default=None, description="component of kind benchmarks, such as a peer's network"
    )
    data: str | None = Field(default=None, description="task data: demo, or a folder")
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
        if self.benchmark:
            return self.benchmark
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
        prefix = "" if self.task in ("network", "benchmark") else f"{self.task}: "
        return prefix + ", ".join(words)


class Summary(Record):
    """One phase's samples of all rounds together, seconds."""

    n: int
    median: float
    p10: float
    p90: float
    p99: float
    low: float = Field(description="95 % interval of the median, by bootstrap over rounds")
    high: float


class Memory(Record):
    """The most memory a step needed, bytes, from a pass of its own."""

    peak_bytes: int = Field(
        description="above idle: on CPU the resident set of the process, on CUDA allocated"
    )
    idle_bytes: int = Field(description="resident set before anything was built")
    allocated_bytes: int | None = Field(default=None, description="CUDA: most allocated")
    reserved_bytes: int | None = Field(default=None, description="CUDA: most reserved")
    method: str = Field(description="how it was read")


class Counts(Record):
    """What one step amounts to on paper, for the whole batch."""

    parameters: int | None = None
    multiply_adds: int | None = Field(default=None, description="of the forward pass")
    flops: int | None = Field(default=None, description="of the whole step")
    fewest_bytes: int | None = Field(
        default=None, description="least traffic of the whole step, everything fused that can be"
    )
    eager_bytes: int | None = Field(
        default=None, description="traffic where each operation reads and writes memory"
    )


class Achieved(Record):
    """The step's rate, as shares of this machine's own ceilings (a roofline)."""

    flops_per_s: float | None = None
    bytes_per_s: float | None = None
    flops_share: float | None = Field(default=None, description="of the arithmetic ceiling")
    bytes_share: float | None = Field(default=None, description="of the copy ceiling")
    bound: Literal["arithmetic", "memory"] | None = Field(
        default=None, description="which ceiling is the nearer for this work on this machine"
    )
    least_s: float | None = Field(
        default=None,
        description="the least a step could take here: its FLOPs at the arithmetic ceiling, or its "
        "fewest bytes at the copy's, whichever is more",
    )
    times_limit: float | None = Field(
        default=None, description="distance from the limit: the step's time over least_s"
    )


class Correctness(Record):
    """The output beside that of the same weights in float64."""

    error: float = Field(description="norm of the difference over norm of the reference")
    tolerance: float
    against: str = Field(description="what was compared, and at which shape")


class Relative(Record):
    """A row beside the case that its suite names as baseline."""

    baseline: str = Field(description="the name of that case; a row may be its own")
    speed: float = Field(description="times as fast: the baseline's time over this one's, per unit")
    low: float = Field(description="95 % interval of it, by bootstrap over rounds")
    high: float
    memory: float | None = Field(
        default=None, description="this case's peak memory over the baseline's"
    )
    paired: bool = Field(description="whether both had their turns in the same rounds")
    tie: bool = Field(
        default=False, description="the interval holds 1, or the speed is within the A/A band"
    )


class Quality(Record):
    """What a short training with the same budget for every case reached."""

    score: float | None = Field(description="null where not defined")
    metric: str
    convention: str = Field(description="what is averaged over what")
    data: str
    epochs: int
    steps: int
    seconds: float


class Checkerboard(Record):
    """Artefacts of upsampling: share of the spectrum's energy at the upsampling frequencies."""

    at_start: float
    after_training: float | None = None
    picture: str | None = Field(default=None, description="file in the results' folder")


class Row(Record):
    """What was found of one case; everything measured is absent unless status is ok."""

    case: Case
    status: Status
    reason: str = Field(default="", description="why status is not ok")
    unit: str = "image"
    units_per_step: int = 0
    times: Mapping[str, Summary] = Field(
        default_factory=dict, description="by phase: step, forward, backward, optimizer"
    )
    samples: Mapping[str, tuple[tuple[float, ...], ...]] = Field(
        default_factory=dict, description="by phase, then round: seconds of every step"
    )
    images_per_s: float | None = Field(default=None, description="units a second, at the median")
    memory: Memory | None = None
    counts: Counts | None = None
    achieved: Achieved | None = None
    compile_s: float | None = Field(
        default=None, description="first step over a usual one, where compiled"
    )
    first_step_s: float | None = None
    set_up_s: float | None = Field(default=None, description="building network and inputs")
    warm_up_steps: int = 0
    noisy: str = Field(default="", description="why the times are to be doubted; empty: quiet")
    correctness: Correctness | None = None
    heat: int = Field(
        default=0, description="rows of one heat had their turns in the same rounds; from 1"
    )
    relative: Relative | None = None
    quality: Quality | None = None
    checkerboard: Checkerboard | None = None
    energy_j_per_image: float | None = None
    clock: str = Field(default="", description="what took the times")
    files: tuple[str, ...] = Field(
        default=(), description="traces and pictures in the results' folder"
    )


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


class Method(Record):
    """How the times were taken."""

    rounds: int
    round_seconds: float
    workers_alive: int = Field(description="most processes kept at once, all but one paused")
    order: str
    seed: int


class Run(Record):
    """One `segkit bench`: conditions, ceilings, A/A line and rows."""

    format: Literal["segkit-bench/1"] = FORMAT
    command: str
    started: str = Field(description="ISO 8601, UTC")
    seconds: float
    suite: str
    about: str = ""
    environment: Environment
    method: Method
    ceilings: Ceilings | None = None
    aa: Twins | None = None
    rows: tuple[Row, ...]
    interrupted: bool = Field(default=False, description="ended by hand before its end")

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "the text") -> Run:
        """Raises UsageError SK-B001 where the text is no result of this format."""
        try:
            content = json.loads(text)
        except ValueError as error:
            raise _unreadable(where, f"it is no JSON ({error})") from error
        found = content.get("format") if isinstance(content, dict) else None
        if found != FORMAT:
            raise _unreadable(where, f"its format is {found!r}, not {FORMAT!r}")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise _unreadable(where, f"{place}: {first['msg']}") from error


def read_run(path: Path) -> Run:
    """The run of a results.json, or of the folder that holds it; raises UsageError SK-B001."""
    file = path / "results.json" if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(str(file), f"{type(error).__name__}: {error}") from error
    return Run.from_json(text, str(file))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of results.json."""
    schema = Run.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _unreadable(where: str, why: str) -> UsageError:
    return UsageError(
        "SK-B001",
        f"{where} is no result of `segkit bench`: {why}.",
        "Give the results.json, or its folder, that `segkit bench --out DIR` wrote.",
    )
