"""What is decided of a training that separates touching objects."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from segkit.config import TrainConfig
from segkit.data.opening.opened import Data
from segkit.errors import UsageError
from segkit.registry.index import Index
from segkit.scoring.evaluate_model import OBJECT_METRICS
from segkit.separation.measuring import measured
from segkit.separation.named import spelled_out
from segkit.separation.training import no_instances

# Images whose objects are measured.
MEASURED = 32


def with_object_metrics(config: TrainConfig, index: Index) -> TrainConfig:
    """The settings with the objects' scores, SEG first, where it separates objects, nobody asked
    for other metrics, and plugins offer these."""
    offered = {entry.name for entry in index.of_kind("metrics")}
    usual = TrainConfig.model_fields["metric"].default
    found = [name for name in OBJECT_METRICS if name in offered]
    if not config.separate or config.metric != usual or not found:
        return config
    return config.model_copy(update={"metric": ", ".join([*found, usual])})


def with_separation(config: TrainConfig, data: Data) -> TrainConfig:
    """The settings with the separation's options decided, by the objects that are trained on.

    Raises UsageError SK-C003 to SK-C007, and DataError SK-D037 where no objects are told apart.
    """
    if not config.separate:
        return config
    if config.instances == "boundary":
        raise UsageError(
            "SK-C007",
            "--instances boundary makes the boundary a class, and --separate learns it beside the "
            "classes.",
            "Leave --instances out: --separate boundary does both.",
        )

    if data.split("train")[0].instances is None:
        raise no_instances()

    separate = spelled_out(config.separate, lambda: measured(_numbered(data)))
    return config.model_copy(update={"separate": separate})


def _numbered(data: Data) -> Iterator[np.ndarray]:
    train = data.split("train")
    for index in range(0, len(train), -(-len(train) // MEASURED)):
        instances_HW = train[index].instances
        if instances_HW is not None:
            yield instances_HW
