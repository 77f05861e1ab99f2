"""The contracts of losses and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from segkit.interfaces.traits import said_of

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Loss(Protocol):
    """How wrong the logits are: a finite scalar, smaller is better.

    Called with logits_BKHW (floating point) and target_BHW (int64, class or ignore_index; losses
    with a `multilabel` option then take target_BKHW of 0, 1 or ignore_index). Means run over valid
    pixels only: ignored pixels change neither value nor gradient; a batch with every pixel ignored
    gives 0 with finite gradients.

    A loss that can do more says so by being an InstanceLoss, a CoarseLoss or a FusableLoss too:
    segkit.model.loss_sum is the one place that asks.
    """

    def __call__(self, logits_BKHW: Tensor, target_BHW: Tensor, /) -> Tensor: ...


@runtime_checkable
class InstanceLoss(Protocol):
    """A loss that looks at single objects, where the data tell them apart.

    Called with instances_BHW as third argument, int64, 0 background, one number per object; None
    where the data have none.

    needs_instances  True (a sum of losses says False where none of its summands does)
    """

    @property
    def needs_instances(self) -> bool: ...

    def __call__(
        self, logits_BKHW: Tensor, target_BHW: Tensor, instances_BHW: Tensor | None = None
    ) -> Tensor: ...


@runtime_checkable
class CoarseLoss(Protocol):
    """A loss that takes logits at the decoder's stride, so that training need not enlarge them.

    from_coarse   the loss of logits_BKhw enlarged bilinearly to size, (H, W), as
                  torch.nn.functional.interpolate does it, and cut at bottom and right to the
                  target's size: the same value and gradient, in float32 at least
    """

    def from_coarse(
        self,
        logits_BKhw: Tensor,
        target_BHW: Tensor,
        size: tuple[int, int],
        align_corners: bool = False,
    ) -> Tensor: ...


@runtime_checkable
class FusableLoss(Protocol):
    """A loss that computes a weighted sum of its like at once, sooner than each by itself.

    fuse   a static method, the same for all that can be fused: given the (weight, loss) of these
           summands it returns a Loss, which may be a CoarseLoss; None where it cannot
    """

    @staticmethod
    def fuse(terms: Sequence[tuple[float, Any]]) -> Loss | None: ...


@runtime_checkable
class Metric(Protocol):
    """A score gathered over batches. A torchmetrics.Metric that takes labels and has ignore_index,
    such as MulticlassJaccardIndex, serves as it is; MeanIoU has none (docs/plugins/metric.md).

    Called as update(prediction, target_BHW): label_BHW or, where it takes them, logits_BKHW, and
    the truth, int64. compute() returns a number or a mapping from name to number, the score that
    decides first. A score that is not defined, such as the IoU of a class absent from prediction
    and truth, is NaN (shown as n/a), never 0 or 1.

    What it says about itself: MetricTraits. What it may offer besides: CountedMetric, SummedMetric.
    """

    def update(self, prediction: Tensor, target_BHW: Tensor, /) -> None: ...

    def compute(self) -> Mapping[str, float] | Tensor: ...

    def reset(self) -> None: ...


@runtime_checkable
class CountedMetric(Metric, Protocol):
    """A metric that a confusion matrix determines: an evaluation counts once for all of them.

    from_counts   given int64 counts_KK (row: true class, column: predicted class, ignored pixels in
                  no cell), returns what compute() returns after updates with these pixels
    """

    def from_counts(self, counts_KK: Tensor) -> Mapping[str, float]: ...


@runtime_checkable
class SummedMetric(Metric, Protocol):
    """A metric that several processes may fill, each with its own images.

    state   tensors by name; their sums over the processes are written back into them, in place,
            and compute() then scores the images of all. Needed for several processes, unless the
            metric is a CountedMetric or torchmetrics' own, which sums by itself
    """

    @property
    def state(self) -> Mapping[str, Tensor]: ...


@dataclass(frozen=True)
class MetricTraits:
    """What a metric says about itself, in attributes of these names; each may be missing or None.

    convention        a sentence on what is averaged over what, stored beside the number
    higher_is_better  False where the best value is the smallest
    takes             "labels" or "logits": what update's first argument is
    needs_instances   True where update takes instances_BHW too, as its third argument (int64, 0
                      background, one number per object; None where the data have none)
    takes_objects     True where update takes objects_BHW too, as its fourth argument: the objects
                      that the model tells apart, numbered so; None where it tells none apart
    """

    convention: str = ""
    higher_is_better: bool = True
    takes: str = "labels"
    needs_instances: bool = False
    takes_objects: bool = False

    @classmethod
    def of(cls, metric: object) -> MetricTraits:
        """Those of a metric, with the defaults for what it does not say: the one place that asks.

        Raises ValueError where `takes` is neither of the two.
        """
        traits = cls(**said_of(metric, cls))
        if traits.takes not in ("labels", "logits"):
            raise ValueError(f"takes is {traits.takes!r}, neither 'labels' nor 'logits'")
        return traits
