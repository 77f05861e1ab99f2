"""The metrics of an evaluation, filled together: one confusion matrix for all that need no more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from segkit.data.batches import Batch
from segkit.distributed import Group
from segkit.errors import DataError, PluginError, UsageError
from segkit.interfaces import CountedMetric, Metric, MetricTraits, SummedMetric
from segkit.model.compose import build_metric
from segkit.registry.expression import parse_list
from segkit.scoring.confusion import ConfusionMatrix


@dataclass(frozen=True)
class Scores:
    """What an evaluation found.

    values            by name, NaN where not defined; the first decides
    conventions       by metric, as written by the user: what is averaged over what
    higher_is_better  of the first
    images            scored, over all processes
    counts_KK         int64 confusion matrix, row: true class; ignored pixels are in no cell
    ignored           pixels left out because their truth is the ignored label
    """

    values: Mapping[str, float]
    conventions: Mapping[str, str]
    higher_is_better: bool
    images: int
    counts_KK: Tensor
    ignored: int

    @property
    def first(self) -> str:
        return next(iter(self.values))


class Evaluator:
    """Metrics by name, as `miou, dice(classes=[1])` writes them, and the count of all pixels.

    Those that a confusion matrix determines (CountedMetric) are computed from that one count; the
    others are filled batch by batch. Labels have to be in range: `evaluate` sees to it.
    """

    def __init__(
        self, expression: str, *, num_classes: int, ignore_index: int | None, group: Group
    ) -> None:
        self.num_classes, self.ignore_index, self.group = num_classes, ignore_index, group
        self.confusion = ConfusionMatrix(num_classes, ignore_index)
        self.metrics: dict[str, Metric] = {}
        self.traits: dict[str, MetricTraits] = {}
        for component in parse_list(expression):
            name = str(replace(component, distribution=None))
            if name in self.metrics:
                name = str(component)
            metric = build_metric(
                str(component), num_classes=num_classes, ignore_index=ignore_index
            )
            if isinstance(metric, nn.Module):  # torchmetrics'
                metric.to(group.device)
            self.metrics[name], self.traits[name] = metric, MetricTraits.of(metric)
        self._refuse_a_single_class()
        self._refuse_what_cannot_be_summed()
        self._refuse_shared_names()

    @property
    def takes_logits(self) -> bool:
        """Whether one of the metrics does: all others are content with label maps."""
        return any(traits.takes == "logits" for traits in self.traits.values())

    @property
    def takes_objects(self) -> bool:
        """Whether one of the metrics looks at predicted objects."""
        return any(traits.takes_objects for traits in self.traits.values())

    def reset(self) -> None:
        """Forgets all batches."""
        self.confusion.reset()
        for metric in self.metrics.values():
            metric.reset()

    def update(
        self,
        label_BHW: Tensor,
        batch: Batch,
        logits_BKHW: Tensor | None = None,
        objects_BHW: Tensor | None = None,
    ) -> None:
        """Adds a batch, on the device of the labels.

        logits_BKHW   what the labels come from; needed where `takes_logits`
        objects_BHW   the objects that the model tells apart, 0 none; None where it does not
        """
        if logits_BKHW is None and self.takes_logits:
            raise ValueError("a metric takes logits, and only labels are given")
        device = label_BHW.device
        target_BHW = batch.target_BHW.to(device, non_blocking=True)
        self.confusion.update(label_BHW, target_BHW)
        filled = [name for name, m in self.metrics.items() if not isinstance(m, CountedMetric)]
        if not filled:
            return
        label_BHW, target_BHW = label_BHW.long(), target_BHW.long()
        instances_BHW = batch.instances_BHW
        if instances_BHW is not None:
            instances_BHW = instances_BHW.to(device, non_blocking=True)
        for name in filled:
            traits, prediction = self.traits[name], label_BHW
            if traits.takes == "logits" and logits_BKHW is not None:
                prediction = logits_BKHW.float()
            instances = (instances_BHW,) if traits.needs_instances else ()
            objects = (objects_BHW,) if traits.takes_objects else ()
            self.metrics[name].update(prediction, target_BHW, *instances, *objects)

    def scores(self, images: int) -> Scores:
        """Sums over processes, then computes; every process gets the same.

        images   scored by this process; raises DataError SK-T004 where there is none in any
        """
        counted = torch.tensor([images], dtype=torch.int64)
        self.group.sum_(counted)
        if not int(counted):
            raise DataError(
                "SK-T004", "there is no image to score.", "Choose another split, or add images."
            )
        self.group.sum_(self.confusion.bins)
        counts_KK = self.confusion.counts_KK.cpu()
        values: dict[str, float] = {}
        for name, metric in self.metrics.items():
            if isinstance(metric, CountedMetric):
                _add(values, metric.from_counts(counts_KK), name)
                continue
            if isinstance(metric, SummedMetric):
                for tensor in metric.state.values():
                    self.group.sum_(tensor)
            _add(values, _named(name, metric.compute()), name)
        return Scores(
            values,
            {name: traits.convention for name, traits in self.traits.items()},
            next(iter(self.traits.values())).higher_is_better,
            int(counted),
            counts_KK,
            self.confusion.ignored,
        )

    def _refuse_shared_names(self) -> None:
        """Before anything is scored: every metric scores one made-up image, and forgets it."""
        target_BHW = torch.arange(64, device=self.group.device).view(1, 8, 8) % self.num_classes
        label_BHW = target_BHW.where(target_BHW.flip(1) > 0, 0)
        tried = ConfusionMatrix(self.num_classes)
        tried.update(label_BHW, target_BHW)
        known: dict[str, float] = {}
        for name, metric in self.metrics.items():
            if isinstance(metric, CountedMetric):
                _add(known, metric.from_counts(tried.counts_KK.cpu()), name)
                continue
            traits, prediction = self.traits[name], label_BHW
            if traits.takes == "logits":
                one_hot_BHWK = nn.functional.one_hot(label_BHW, self.num_classes)
                prediction = one_hot_BHWK.movedim(-1, 1).float()
            metric.update(prediction, target_BHW, *((None,) if traits.needs_instances else ()))
            _add(known, _named(name, metric.compute()), name)
            metric.reset()

    def _refuse_a_single_class(self) -> None:
        ignored = self.ignore_index
        if self.num_classes == 2 and ignored in (0, 1):
            raise UsageError(
                "SK-C009",
                f"of the classes 0 and 1 the ignored label {ignored} leaves one, and any answer "
                "would be perfect.",
                "Ignore no class: --ignore-index none, or leave ignore_index out of data.yaml.",
            )

    def _refuse_what_cannot_be_summed(self) -> None:
        if self.group.world_size == 1:
            return
        for name, metric in self.metrics.items():
            # A module is torchmetrics', which sums in its own compute().
            if not isinstance(metric, CountedMetric | SummedMetric | nn.Module):
                raise PluginError(
                    "SK-P003",
                    f"the metric '{name}' has neither `state` nor `from_counts`, and cannot be "
                    f"summed over {self.group.world_size} processes.",
                    "Score with one process, or leave the metric out.",
                )


def _add(values: dict[str, float], more: Mapping[str, float], name: str) -> None:
    """Adds a metric's scores; raises UsageError SK-C007 where another gave one of their names to
    another number (`miou` and `iou` both give the same miou)."""
    if shared := [each for each in more if each in values and not _same(values[each], more[each])]:
        raise UsageError(
            "SK-C007",
            f"'{name}' gives a score called '{shared[0]}', which another of the metrics gives too: "
            "one would stand for the other.",
            "Leave one of the two out of --metric.",
        )
    values |= more


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _named(name: str, computed: Mapping[str, float] | Tensor | float) -> dict[str, float]:
    """Scores by name, whatever the metric returns: a mapping, a number, or one number per class."""
    if isinstance(computed, Mapping):
        return {str(key): float(value) for key, value in computed.items()}
    values: Sequence[float] = torch.as_tensor(computed).flatten().tolist()
    if len(values) == 1:
        return {name: float(values[0])}
    return {f"{name}/{place}": float(value) for place, value in enumerate(values)}
