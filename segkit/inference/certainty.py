"""Class probabilities of whole images, averaged over mirrors, and the doubt that is in them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.device import ran_out_of_memory
from segkit.inference.predictor import Predictor, as_pixels
from segkit.inference.reading import Given

# Along which of (B, C, H, W) an image is mirrored: not, left to right, upside down, both.
MIRRORS = ((), (3,), (2,), (2, 3))


def probabilities(predictor: Predictor, given: Given, *, mirrors: bool) -> NDArray[np.float32]:
    """(K, H, W), adding up to 1 at each pixel; of a whole image.

    mirrors   the mean over the image and its three mirrored versions, each answer mirrored back

    Raises OutOfMemory SK-T002 where the image does not fit into the memory.
    """
    pixels_BCHW = as_pixels(np.stack([given.pixels]))

    def mirrored(turn: tuple[int, ...]) -> Tensor:
        logits_BKHW = predictor.logits(pixels_BCHW.flip(turn), given.full_scale).float()
        return logits_BKHW.softmax(dim=1).flip(turn)[0]

    try:
        summed_KHW = mirrored(MIRRORS[0])
        if mirrors:
            for turn in MIRRORS[1:]:
                summed_KHW += mirrored(turn)
            summed_KHW /= len(MIRRORS)
        return summed_KHW.cpu().numpy()
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        raise predictor.too_large(given.pixels, None) from error


def as_labels(probability_KHW: NDArray[np.floating]) -> NDArray[np.integer]:
    """The class of the highest probability of each pixel, the first of equal ones."""
    label_type = np.uint8 if len(probability_KHW) <= 256 else np.int32
    return probability_KHW.argmax(axis=0).astype(label_type)


def entropy(probability_KHW: NDArray[np.floating]) -> NDArray[np.float32]:
    """Doubt of each pixel (H, W), 0 where one class has all the probability, 1 where all classes
    have the same: the entropy over that of equal shares."""
    classes = len(probability_KHW)
    if classes < 2:
        return np.zeros(probability_KHW.shape[1:], np.float32)
    probability = torch.from_numpy(np.ascontiguousarray(probability_KHW))
    return (torch.special.entr(probability).sum(dim=0) / np.log(classes)).clamp(0, 1).numpy()
