"""What a plugin may import from segkit. The list changes only with a new minor version."""

from segkit.confusion import ConfusionMatrix
from segkit.errors import (
    DataError,
    EnvironmentFault,
    ModelFileError,
    PluginError,
    SegkitError,
    UsageError,
    WeightsUnavailable,
    did_you_mean,
)
from segkit.hookspecs import Factory, hookimpl
from segkit.interfaces import (
    Benchmark,
    Dataset,
    Decoder,
    Encoder,
    Features,
    Loss,
    MakeUpsampler,
    Metric,
    Normalization,
    Sample,
    Upsampler,
)
from segkit.weights import (
    PublishedWeights,
    adapt_input_channels,
    adapt_normalization,
    load_encoder_weights,
)

__all__ = [
    "Benchmark",
    "ConfusionMatrix",
    "DataError",
    "Dataset",
    "Decoder",
    "Encoder",
    "EnvironmentFault",
    "Factory",
    "Features",
    "Loss",
    "MakeUpsampler",
    "Metric",
    "ModelFileError",
    "Normalization",
    "PluginError",
    "PublishedWeights",
    "Sample",
    "SegkitError",
    "Upsampler",
    "UsageError",
    "WeightsUnavailable",
    "adapt_input_channels",
    "adapt_normalization",
    "did_you_mean",
    "hookimpl",
    "load_encoder_weights",
]
