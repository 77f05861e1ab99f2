"""segkit: semantic segmentation where every part is a plugin.

    model = segkit.build_model(encoder="densenet121", decoder="unet", num_classes=11)
    logits_BKHW = model(image_BCHW)  # any height, any width

    result = segkit.train("data/cells", encoder="densenet121", out="runs/cells")
    segkit.evaluate("runs/cells", split="test").scores.values
    segkit.load_model("runs/cells").predict("new.png").labels

Importing segkit imports neither torch nor any plugin; the first call does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segkit.data.opening.by_keywords import open_data as open_data
    from segkit.errors import SegkitError as SegkitError
    from segkit.inference.predict import predict as predict
    from segkit.model.compose import build_loss as build_loss
    from segkit.model.compose import build_metric as build_metric
    from segkit.model.compose import build_model as build_model
    from segkit.model.folder import load_model as load_model
    from segkit.model.folder import save_model as save_model
    from segkit.model.network import SegmentationModel as SegmentationModel
    from segkit.scoring.evaluate_model import evaluate as evaluate
    from segkit.training.by_keywords import train as train

from segkit.version import __version__

_HOMES = {
    "build_loss": "segkit.model.compose",
    "build_metric": "segkit.model.compose",
    "build_model": "segkit.model.compose",
    "SegkitError": "segkit.errors",
    "SegmentationModel": "segkit.model.network",
    "evaluate": "segkit.scoring.evaluate_model",
    "load_model": "segkit.model.folder",
    "open_data": "segkit.data.opening.by_keywords",
    "predict": "segkit.inference.predict",
    "save_model": "segkit.model.folder",
    "train": "segkit.training.by_keywords",
}
_GIVE_MODELS = ("build_model", "load_model", "SegmentationModel")
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'segkit' has no attribute '{name}'")
    if name in _GIVE_MODELS:
        import_module("segkit.inference.methods")  # models get their `predict`
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
