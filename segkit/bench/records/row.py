"""A row: what was found of one case. Seconds, bytes and FLOP/s; one multiply-add is two FLOPs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from segkit.bench.records.case import Case
from segkit.bench.records.record import Record

Status = Literal["ok", "oom", "crashed", "refused", "wrong", "skipped"]


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
    steps: tuple[int, ...] = Field(default=(), description="how many were timed, by round")
    rounds: tuple[tuple[float, ...], ...] = Field(
        default=(),
        description="seconds of a round's steps, or where there are more than eight: the least, "
        "the three quartiles and the most of them",
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
    group: int = Field(
        default=0, description="rows of one group had their turns in the same rounds; from 1"
    )
    relative: Relative | None = None
    quality: Quality | None = None
    checkerboard: Checkerboard | None = None
    energy_j_per_image: float | None = None
    clock: str = Field(default="", description="what took the times")
    files: tuple[str, ...] = Field(
        default=(), description="traces and pictures in the results' folder"
    )
