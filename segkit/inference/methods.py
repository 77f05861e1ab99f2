"""Gives every model its `predict`: the model's room lies below this one and knows nothing of it."""

from __future__ import annotations

from typing import Any

from segkit.model.network import SegmentationModel


def predict(self: SegmentationModel, image: Any, **options: Any) -> Any:
    """What the model says of an image (path, PIL image, array) or of a list of them.

    Options and answer are those of `segkit.predict`: `.labels`, `.classes`, `.shares`,
    `.overlay()`, `.save(folder)`, and `.probabilities` with probabilities=True.
    """
    from segkit.inference import predict as room

    return room.predict(self, image, **options)


SegmentationModel.predict = predict
