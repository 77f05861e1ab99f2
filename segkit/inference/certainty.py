"""What a model says of whole images in several ways at once, and the doubt that is in its answers.

Several answers of one pixel are pooled first, by the mean of their probabilities, and tempered
then, as the pooled answer asks for another temperature than each one (Rahaman & Thiery 2021,
arXiv:2007.08792). So a temperature never changes a label.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from segkit.device import ran_out_of_memory
from segkit.errors import UsageError
from segkit.inference.predictor import Predictor, as_pixels
from segkit.inference.reading import Given
from segkit.model.mirroring import MIRRORS
from segkit.model.network import SegmentationModel


@dataclass(frozen=True)
class Ways:
    """In how many ways a model is asked about one image.

    mirrors   of the image and its three mirrored versions, each answer mirrored back
    dropout   so many passes with the network's dropout left on (Gal & Ghahramani 2016,
              arXiv:1506.02142); 0: one pass without it

    The n-th pass drops the same for every image, so that an answer does not depend on the others.
    """

    mirrors: bool = False
    dropout: int = 0

    @property
    def several(self) -> bool:
        """Whether labels are those of the mean, and not of the network's one answer."""
        return self.mirrors or self.dropout > 0

    def contradict(self, model: SegmentationModel) -> bool:
        """Whether there are several answers, which may contradict each other."""
        return self.mirrors or self.dropout > 1 or model.several

    def turns(self, model: SegmentationModel) -> tuple[tuple[int, ...], ...]:
        """How the image is mirrored before the model is asked, which may mirror it by itself."""
        return MIRRORS["both" if self.mirrors and model.record.mirrors != "both" else ""]

    def refuse_no_dropout(self, model: nn.Module) -> None:
        """Raises UsageError SK-C007 where dropout is asked for, and the network has none."""
        if self.dropout and not _dropouts(model):
            raise UsageError(
                "SK-C007",
                "dropout is to be left on, and the network has none (no torch.nn.Dropout above 0): "
                "every pass would be the same.",
                "Use --tta or several runs; or train one with dropout, such as "
                "--decoder 'unet(dropout=0.2)'.",
            )


class Answer(NamedTuple):
    """Of a whole image.

    label_HW         of one answer the network's own labels, to the bit; of several the class of
                     the highest mean probability, the first of equal ones
    probability_KHW  float32, adding up to 1 at each pixel
    mutual_HW        mutual information of class and answer; None where there is one answer
    """

    label_HW: NDArray[np.integer]
    probability_KHW: NDArray[np.float32]
    mutual_HW: NDArray[np.float32] | None


def answer(predictor: Predictor, given: Given, ways: Ways = Ways()) -> Answer:
    """The mean answer; raises OutOfMemory SK-T002 where the image does not fit into the memory."""
    pixels_BCHW = as_pixels(np.stack([given.pixels]))
    try:
        pooled = _Pooled()
        if ways.several or predictor.model.several:
            for logits_KHW in _asked(predictor, pixels_BCHW, given.full_scale, ways):
                pooled.add(logits_KHW)
            label_HW = as_labels(pooled.log_mean_KHW.cpu().numpy())
        else:
            label_BHW, output = predictor.labelled(pixels_BCHW, given.full_scale)
            pooled.add(predictor.enlarged(output, pixels_BCHW.shape[-2:])[0].float())
            label_HW = label_BHW[0].cpu().numpy()
        tempered_KHW = predictor.tempered(pooled.log_mean_KHW).softmax(dim=0)
        if predictor.model.record.label_count == 1:
            label_HW = label_HW * 0  # The only class is everywhere.
        return Answer(label_HW, tempered_KHW.cpu().numpy(), pooled.mutual_HW)
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        raise predictor.too_large(given.pixels, None) from error


def _asked(
    predictor: Predictor, pixels_BCHW: Tensor, full_scale: float, ways: Ways
) -> Iterator[Tensor]:
    """logits_KHW of every answer."""
    if ways.dropout:
        # A network rewritten for prediction has no dropout left.
        predictor = replace(predictor, rewrites=False, rewritten=None)
    for turn in ways.turns(predictor.model):
        turned_BCHW = pixels_BCHW.flip(turn)
        for number in range(max(ways.dropout, 1)):
            with _dropping(predictor.network, number) if ways.dropout else nullcontext():
                for logits_BKHW in predictor.each_logits(turned_BCHW, full_scale):
                    yield logits_BKHW.float().flip(turn)[0]


def _dropouts(model: nn.Module) -> list[nn.Module]:
    """Every dropout of a network that drops something."""
    return [each for each in model.modules() if isinstance(each, _DropoutNd) and each.p > 0]


@contextmanager
def _dropping(network: nn.Module, number: int) -> Iterator[None]:
    """Leaves dropout on, drawn from the number of the pass; all else stays in evaluation mode."""
    dropouts = _dropouts(network)
    device = next(network.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(number)
        for each in dropouts:
            each.train()
        try:
            yield
        finally:
            for each in dropouts:
                each.eval()


class _Pooled:
    """The mean of probabilities, and the mean of their entropies, answer by answer."""

    def __init__(self) -> None:
        self.count = 0
        self._log_sum_KHW = self._entropy_sum_HW = torch.zeros(0)

    def add(self, logits_KHW: Tensor) -> None:
        log_KHW = logits_KHW.log_softmax(dim=0)
        entropy_HW = torch.special.entr(log_KHW.exp()).sum(dim=0)
        if self.count:
            log_KHW = torch.logaddexp(self._log_sum_KHW, log_KHW)
            entropy_HW = self._entropy_sum_HW + entropy_HW
        self._log_sum_KHW, self._entropy_sum_HW = log_KHW, entropy_HW
        self.count += 1

    @property
    def log_mean_KHW(self) -> Tensor:
        return (
            self._log_sum_KHW - float(np.log(self.count)) if self.count > 1 else self._log_sum_KHW
        )

    @property
    def mutual_HW(self) -> NDArray[np.float32] | None:
        """Entropy of the mean less the mean of the entropies, over that of equal shares: 0 where
        all answers are one, whatever their doubt (Houlsby et al. 2011, arXiv:1112.5745)."""
        if self.count < 2:
            return None
        of_mean_HW = torch.special.entr(self.log_mean_KHW.exp()).sum(dim=0)
        most = np.log(max(len(self._log_sum_KHW), 2))
        between_HW = of_mean_HW - self._entropy_sum_HW / self.count
        return (between_HW / most).clamp(0, 1).cpu().numpy()


def as_labels(value_KHW: NDArray[np.floating]) -> NDArray[np.integer]:
    """The class of the highest value of each pixel, the first of equal ones."""
    label_type = np.uint8 if len(value_KHW) <= 256 else np.int32
    return value_KHW.argmax(axis=0).astype(label_type)


def entropy(probability_KHW: NDArray[np.floating]) -> NDArray[np.float32]:
    """Doubt of each pixel (H, W), 0 where one class has all the probability, 1 where all classes
    have the same: the entropy over that of equal shares."""
    classes = len(probability_KHW)
    if classes < 2:
        return np.zeros(probability_KHW.shape[1:], np.float32)
    probability = torch.from_numpy(np.ascontiguousarray(probability_KHW))
    return (torch.special.entr(probability).sum(dim=0) / np.log(classes)).clamp(0, 1).numpy()
