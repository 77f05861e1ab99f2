"""The contracts of the eight kinds of component. No base class is required.

Dimensions in names: B batch, C channels, K classes, H W pixels, L levels.

A factory (a class or a function) is called with the build arguments of its kind, by keyword, and
with the options a user typed. Its keyword-only parameters beyond the build arguments ARE its
options: their annotations are checked, their defaults are shown by `segkit info`. Nothing swallows
`**kwargs`.
"""

from __future__ import annotations

from segkit.interfaces.datasets import (
    Archive,
    Dataset,
    PublishedData,
    PublishedDataset,
    Sample,
    SizedDataset,
    SplitDataset,
)
from segkit.interfaces.networks import (
    Checkpointable,
    Decoder,
    DecoderTraits,
    Encoder,
    EncoderTraits,
    Features,
    MakeUpsampler,
    Normalization,
    Upsampler,
)
from segkit.interfaces.running import (
    Benchmark,
    Job,
    JobNews,
    Launcher,
)
from segkit.interfaces.scores import (
    CoarseLoss,
    CountedMetric,
    FusableLoss,
    InstanceLoss,
    Loss,
    Metric,
    MetricTraits,
    SummedMetric,
)
from segkit.kinds import KINDS

__all__ = [
    "BUILD_ARGUMENTS",
    "KINDS",
    "REQUIRED_MEMBERS",
    "Archive",
    "Benchmark",
    "Checkpointable",
    "CoarseLoss",
    "CountedMetric",
    "Dataset",
    "Decoder",
    "DecoderTraits",
    "Encoder",
    "EncoderTraits",
    "Features",
    "FusableLoss",
    "InstanceLoss",
    "Job",
    "JobNews",
    "Launcher",
    "Loss",
    "MakeUpsampler",
    "Metric",
    "MetricTraits",
    "Normalization",
    "PublishedData",
    "PublishedDataset",
    "Sample",
    "SizedDataset",
    "SplitDataset",
    "SummedMetric",
    "Upsampler",
]

BUILD_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "encoders": ("in_channels", "weights"),
    "decoders": ("channels", "strides", "make_upsampler"),
    "upsamplers": ("in_channels", "out_channels", "scale"),
    "losses": ("num_classes", "ignore_index"),
    "metrics": ("num_classes", "ignore_index"),
    "datasets": ("root", "split"),
    "benchmarks": ("device",),
    "launchers": ("folder",),
}


# What a component of each kind has at least: its Protocol's members.
REQUIRED_MEMBERS: dict[str, tuple[str, ...]] = {
    "encoders": ("channels", "strides", "normalization", "__call__"),
    "decoders": ("channels", "stride", "__call__"),
    "upsamplers": ("channels", "needs_pool_indices", "__call__"),
    "losses": ("__call__",),
    "metrics": ("update", "compute", "reset"),
    "datasets": ("classes", "palette", "ignore_index", "__len__", "__getitem__"),
    "benchmarks": ("unit", "set_up", "run"),
    "launchers": ("outlives", "launch"),
}
