"""The data room: from a folder of images and masks to batches, and the demo set.

Only the loaders need torch; it is imported when one of them is named.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from segkit.data.files.images import read_image
from segkit.data.opening import Data, open_data

if TYPE_CHECKING:
    from segkit.data.loader import Batch, EvaluationLoader, TrainingLoader

__all__ = ["Batch", "Data", "EvaluationLoader", "TrainingLoader", "open_data", "read_image"]


def __getattr__(name: str) -> Any:
    if name in ("Batch", "EvaluationLoader", "TrainingLoader"):
        return getattr(import_module("segkit.data.loader"), name)
    raise AttributeError(f"module 'segkit.data' has no attribute '{name}'")
