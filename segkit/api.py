"""What a plugin may import from segkit. The list changes only with a new minor version."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from segkit.errors import (
    DataError,
    EnvironmentFault,
    UsageError,
    WeightsUnavailable,
)
from segkit.hookspecs import Factory, hookimpl
from segkit.interfaces import (
    Archive,
    Benchmark,
    Dataset,
    Decoder,
    Encoder,
    Features,
    Job,
    JobNews,
    Launcher,
    Loss,
    MakeUpsampler,
    Metric,
    Normalization,
    PublishedData,
    Sample,
    Upsampler,
)
from segkit.model.activation_checkpointing import recomputed
from segkit.model.weights import (
    PublishedWeights,
    find_weights,
    load_encoder_weights,
)
from segkit.registry.retirement import Retired, warn_of_retired
from segkit.scoring.confusion import ConfusionMatrix

if TYPE_CHECKING:
    from segkit.data.files.images import read_image
    from segkit.data.files.masks import read_values

__all__ = [
    "Archive",
    "Benchmark",
    "ConfusionMatrix",
    "DataError",
    "Dataset",
    "Decoder",
    "Encoder",
    "EnvironmentFault",
    "Factory",
    "Features",
    "Job",
    "JobNews",
    "Launcher",
    "Loss",
    "MakeUpsampler",
    "Metric",
    "Normalization",
    "PublishedData",
    "PublishedWeights",
    "Sample",
    "Upsampler",
    "UsageError",
    "WeightsUnavailable",
    "find_weights",
    "hookimpl",
    "load_encoder_weights",
    "read_image",
    "read_values",
    "recomputed",
]

# What data sets need comes from the data room, whose image libraries no other plugin waits for.
_OF_DATA = {
    "read_image": "segkit.data.files.images",
    "read_values": "segkit.data.files.masks",
}


# Names that this list no longer has, and that still work, with a warning, for two minor versions.
RETIRED: dict[str, Retired] = {}


def __getattr__(name: str) -> Any:
    if name in _OF_DATA:
        return getattr(import_module(_OF_DATA[name]), name)
    if name in RETIRED:
        warn_of_retired(name, RETIRED[name])
        module, _, now = RETIRED[name].now.partition(":")
        return getattr(import_module(module), now)
    raise AttributeError(f"module 'segkit.api' has no attribute '{name}'")
