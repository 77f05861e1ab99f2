"""The Lovász extension of the Jaccard loss (Berman et al. 2018, arXiv:1705.08790)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segkit_losses.inputs import InputReader, probabilities
from segkit_losses.means import mean_over_present
from segkit_losses.settings import counted_classes


class Lovasz(nn.Module):
    """Lovász-softmax (Berman et al. 2018, arXiv:1705.08790): the IoU loss, made continuous.

    Per class, over all valid pixels of the batch: the errors |t - p|, largest first, each times
    what it adds to 1 - IoU. Mean over the classes in the batch's truth; absent ones as for dice.
    Multilabel takes the same extension over sigmoid probabilities, not the paper's hinge.

    The value is that of float64 within 1e-5, and so is the gradient beside its largest entry (1e-2
    for bfloat16 logits), except that pixels whose errors differ by less than rounding may change
    places: both orders are subgradients.

    classes     classes that count, all where not given; [1] leaves a background of 0 out
    multilabel  classes do not exclude each other: sigmoid, target_BKHW of 0 and 1
    """

    counted_K: Tensor

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        classes: tuple[int, ...] | None = None,
        multilabel: bool = False,
    ) -> None:
        super().__init__()
        self.read = InputReader("lovasz", num_classes, ignore_index, multilabel)
        self.exhaustive = not multilabel and classes is None
        counted_K = counted_classes("lovasz", classes, num_classes)
        self.register_buffer("counted_K", counted_K, persistent=False)

    def forward(self, logits_BKHW: Tensor, target: Tensor) -> Tensor:
        batch = self.read(logits_BKHW, target)
        probability_KN, truth_KN, valid_KN = (
            each.movedim(1, 0).flatten(1) for each in probabilities(batch, self.read.multilabel)
        )
        # A soft label counts for the class it is nearer to.
        truth_KN = truth_KN > 0.5
        error_KN = torch.where(truth_KN, 1 - probability_KN, probability_KN)
        false_positive_K = None
        if not self.exhaustive:
            false_positive_K = probability_KN.sum(1) / valid_KN.sum(1).clamp_min(1)
        error_K = lovasz_extension(error_KN, truth_KN, valid_KN)
        return mean_over_present(error_K, truth_KN.any(1), self.counted_K, false_positive_K)


def lovasz_extension(error_KN: Tensor, truth_KN: Tensor, valid_KN: Tensor) -> Tensor:
    """The Lovász extension of 1 - IoU at these errors, per class; both 0 where not valid.

    After the i largest errors, `left` pixels of the class are not yet wrong, and the union is its
    size plus the `false` ones so far. The next pixel adds 1 / union to 1 - IoU if it is of the
    class, else left / (union before * union after): no difference of near-equal numbers.
    """
    ranked_KN, order_KN = error_KN.sort(dim=1, descending=True, stable=True)
    truth_KN = truth_KN.gather(1, order_KN)
    false_KN = valid_KN.gather(1, order_KN) & ~truth_KN
    size_K1 = truth_KN.sum(1, keepdim=True)
    left_KN = (size_K1 - truth_KN.cumsum(1)).to(error_KN.dtype)
    union_KN = (size_K1 + false_KN.cumsum(1)).to(error_KN.dtype)
    before_KN = (union_KN - 1).clamp_min(1)
    union_KN = union_KN.clamp_min(1)
    gain_KN = torch.where(truth_KN, 1 / union_KN, left_KN / (before_KN * union_KN))
    return (ranked_KN * gain_KN).sum(1)
