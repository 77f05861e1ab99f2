"""Scores a model on whole images: one confusion matrix for all overlap scores, on all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segkit.cpu.rewriting import PAYS_AFTER, prepared
from segkit.data.batches import Batch
from segkit.device import autocast
from segkit.distributed import Group
from segkit.errors import DataError, PluginError, UsageError
from segkit.inference.tiling import Tiling, labels_of_images
from segkit.interfaces import Metric
from segkit.model.compose import build_metric
from segkit.model.labels import most_likely
from segkit.model.network import SegmentationModel
from segkit.registry.expression import parse_list
from segkit.scoring.confusion import ConfusionMatrix, as_bytes


@dataclass(frozen=True)
class Scores:
    """What an evaluation found.

    values            by name, NaN where not defined; the first decides
    conventions       by metric, as written by the user: what is averaged over what
    higher_is_better  of the first
    images            scored, over all processes
    counts_KK         int64 confusion matrix, row: true class; None where no metric counts
    """

    values: Mapping[str, float]
    conventions: Mapping[str, str]
    higher_is_better: bool
    images: int
    counts_KK: Tensor | None

    @property
    def first(self) -> str:
        return next(iter(self.values))


class Judge:
    """The metrics of an evaluation, filled together.

    Metrics with the attribute `confusion` share one matrix, which is filled once a batch.
    """

    def __init__(
        self, expression: str, *, num_classes: int, ignore_index: int | None, group: Group
    ) -> None:
        self.num_classes, self.ignore_index, self.group = num_classes, ignore_index, group
        self.metrics: dict[str, Metric] = {}
        self.shared: ConfusionMatrix | None = None
        for component in parse_list(expression):
            metric = build_metric(
                str(component), num_classes=num_classes, ignore_index=ignore_index
            )
            if isinstance(getattr(metric, "confusion", None), ConfusionMatrix):
                self.shared = self.shared or ConfusionMatrix(num_classes, ignore_index)
                metric.confusion = self.shared  # type: ignore[attr-defined]
            elif callable(getattr(metric, "to", None)):
                metric.to(group.device)  # type: ignore[attr-defined]
            self.metrics[str(component)] = metric
        self._refuse_what_cannot_be_summed()

    def reset(self) -> None:
        if self.shared is not None:
            self.shared.reset()
        for metric in self.metrics.values():
            metric.reset()

    @property
    def takes_logits(self) -> bool:
        """Whether one of the metrics does: all others are content with label maps."""
        return any(_takes_logits(metric) for metric in self.metrics.values())

    def update(self, logits_BKHW: Tensor, batch: Batch) -> None:
        """Adds a batch, on the device of the logits."""
        self._add(most_likely(logits_BKHW), batch, logits_BKHW)

    def update_labels(self, label_BHW: Tensor, batch: Batch) -> None:
        """Adds a batch of which only labels are known: not where a metric takes logits."""
        if self.takes_logits:
            raise ValueError("a metric takes logits, and only labels are given")
        self._add(label_BHW, batch, None)

    def _add(self, label_BHW: Tensor, batch: Batch, logits_BKHW: Tensor | None) -> None:
        refuse_stray_labels(batch, self.num_classes, self.ignore_index)
        if self.num_classes == 1:
            # The only class is everywhere, whatever its logit.
            label_BHW = torch.zeros_like(label_BHW)
        device = label_BHW.device
        target_BHW = batch.target_BHW.to(device, non_blocking=True)
        if self.shared is not None:
            self.shared.update(label_BHW, target_BHW)
        alone = [m for m in self.metrics.values() if not self._shares(m)]
        if not alone:
            return
        label_BHW, target_BHW = label_BHW.long(), target_BHW.long()
        instances_BHW = batch.instances_BHW
        if instances_BHW is not None:
            instances_BHW = instances_BHW.to(device, non_blocking=True)
        for metric in alone:
            wanted = logits_BKHW if _takes_logits(metric) else None
            prediction = label_BHW if wanted is None else wanted.float()
            instances = [instances_BHW] if getattr(metric, "needs_instances", False) else []
            metric.update(prediction, target_BHW, *instances)

    def _shares(self, metric: Metric) -> bool:
        return self.shared is not None and getattr(metric, "confusion", None) is self.shared

    def scores(self, images: int) -> Scores:
        """Sums over processes, then computes; every process gets the same."""
        counted = torch.tensor([images], dtype=torch.int64)
        self.group.sum_(counted)
        if not int(counted):
            raise DataError(
                "SK-T004", "there is no image to score.", "Choose another split, or add images."
            )
        if self.shared is not None:
            self.group.sum_(self.shared.bins)
        values: dict[str, float] = {}
        for name, metric in self.metrics.items():
            if self.shared is None or getattr(metric, "confusion", None) is not self.shared:
                for tensor in dict(getattr(metric, "state", {})).values():
                    self.group.sum_(tensor)
            values |= _named(name, metric.compute())
        return Scores(
            values,
            {name: str(getattr(m, "convention", "")) for name, m in self.metrics.items()},
            bool(getattr(next(iter(self.metrics.values())), "higher_is_better", True)),
            int(counted),
            self.shared.counts_KK.cpu() if self.shared is not None else None,
        )

    def _refuse_what_cannot_be_summed(self) -> None:
        if self.group.world_size == 1:
            return
        for name, metric in self.metrics.items():
            known = ("confusion", "state", "dist_sync_fn")  # the last is torchmetrics' own way
            if not any(hasattr(metric, attribute) for attribute in known):
                raise PluginError(
                    "SK-P003",
                    f"the metric '{name}' has neither `state` nor `confusion`, and cannot be "
                    f"summed over {self.group.world_size} processes.",
                    "Score with one process, or leave the metric out.",
                )


@torch.no_grad()
def evaluate(
    model: SegmentationModel,
    batches: Iterable[Batch],
    judge: Judge,
    *,
    full_scale: float,
    precision: str,
    channels_last: bool = False,
    tiling: Tiling | None = None,
    progress: Callable[[int], None] = lambda images: None,
) -> Scores:
    """Scores the model, which is put into evaluation mode, on this process's share of the images.

    tiling     how images larger than a tile are cut; None computes them whole
    progress   called with the images scored so far, by this process
    Raises DataError SK-D012 (a label out of range, with the file's name), SK-T004 (no image), and
    UsageError SK-C007 for tiles where a metric takes logits.
    """
    if tiling is not None and judge.takes_logits:
        raise UsageError(
            "SK-C007",
            f"of {', '.join(judge.metrics)} one takes logits, and tiles give labels only.",
            "Leave --tile out, or choose metrics of labels, such as miou.",
        )
    model.eval()
    judge.reset()
    images, pixels = 0, 0
    device, network = judge.group.device, model

    def prepare(pixels_BCHW: Tensor) -> Tensor:
        return model.normalize(move(pixels_BCHW, device, channels_last), full_scale)

    for batch in batches:
        if pixels < PAYS_AFTER <= (pixels := pixels + batch.target_BHW.numel()):
            network = prepared(model, device, precision)
        with autocast(device, precision):
            if judge.takes_logits:
                judge.update(network(prepare(batch.image_BCHW)), batch)
            else:
                label_BHW = labels_of_images(network, batch.image_BCHW, prepare, tiling)
                judge.update_labels(label_BHW, batch)
        images += len(batch.ids)
        progress(images)
    return judge.scores(images)


def move(image_BCHW: Tensor, device: torch.device, channels_last: bool) -> Tensor:
    """A batch's images on the device, in the memory layout the model computes in."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return image_BCHW.to(device, non_blocking=True).contiguous(memory_format=layout)


def refuse_stray_labels(batch: Batch, num_classes: int, ignore_index: int | None) -> None:
    """Raises DataError SK-D012 with the files' names where a label is neither class nor ignored.

    On the CPU, before a GPU's assertion would take the whole process down.
    """
    target_BHW = batch.target_BHW
    byte_BHW = as_bytes(target_BHW)
    if byte_BHW is not None and not _holds_stray(byte_BHW, num_classes, ignore_index):
        return
    stray_BHW = (target_BHW < 0) | (target_BHW >= num_classes)
    if ignore_index is not None:
        stray_BHW &= target_BHW != ignore_index
    if not bool(stray_BHW.any()):
        return
    faulty = stray_BHW.flatten(1).any(dim=1).tolist()
    names = [name for name, is_faulty in zip(batch.ids, faulty, strict=True) if is_faulty]
    label = int(target_BHW[stray_BHW][0])
    raise DataError(
        "SK-D012",
        f"{', '.join(names)}: the mask holds label {label} ({int(stray_BHW.sum()):,} pixels in "
        f"this batch), but {num_classes} classes are declared (0 to {num_classes - 1}).",
        f"Where {label} is 'void', use --ignore-index {label}; else declare it in data.yaml.",
    )


def _holds_stray(byte_BHW: Tensor, num_classes: int, ignore_index: int | None) -> bool:
    """The same question in 8 bits, all over: 20 times as fast as by truth values."""
    if num_classes >= 256 or not byte_BHW.numel():
        return False
    stray_BHW = torch.ge(byte_BHW, num_classes, out=torch.empty_like(byte_BHW))
    if ignore_index is not None and 0 <= ignore_index < 256:
        stray_BHW.mul_(torch.ne(byte_BHW, ignore_index, out=torch.empty_like(byte_BHW)))
    return bool(stray_BHW.amax())


def _takes_logits(metric: Metric) -> bool:
    return getattr(metric, "takes", "labels") == "logits"


def _named(name: str, computed: Mapping[str, float] | Tensor | float) -> dict[str, float]:
    """Scores by name, whatever the metric returns: a mapping, a number, or one number per class."""
    if isinstance(computed, Mapping):
        return {str(key): float(value) for key, value in computed.items()}
    values: Sequence[float] = torch.as_tensor(computed).flatten().tolist()
    if len(values) == 1:
        return {name: float(values[0])}
    return {f"{name}/{place}": float(value) for place, value in enumerate(values)}
