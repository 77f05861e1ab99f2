"""The data room: from a folder of images and masks to batches, and the demo set.

Only batches and their loaders need torch; it is imported when one of them is named.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from segkit.data.files.images import read_image
from segkit.data.opening import Data, open_data

if TYPE_CHECKING:
    from segkit.data.batches import Batch
    from segkit.data.loader import EvaluationLoader, TrainingLoader

__all__ = ["Batch", "Data", "EvaluationLoader", "TrainingLoader", "open_data", "read_image"]

_WITH_TORCH = {
    "Batch": "segkit.data.batches",
    "EvaluationLoader": "segkit.data.loader",
    "TrainingLoader": "segkit.data.loader",
}


def __getattr__(name: str) -> Any:
    if name in _WITH_TORCH:
        return getattr(import_module(_WITH_TORCH[name]), name)
    raise AttributeError(f"module 'segkit.data' has no attribute '{name}'")
