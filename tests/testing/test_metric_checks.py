"""Every check that a metric must pass can fail: a broken metric for each."""

import contextlib
import socket

import pytest
import torch

from segkit.api import ConfusionMatrix
from segkit.testing import NotApplicable
from segkit.testing.metrics import CHECKS


class Sound:
    """Mean IoU over the classes that occur, from one confusion matrix."""

    def __init__(self, num_classes, ignore_index, *, classes: bool = True) -> None:
        self.confusion = ConfusionMatrix(num_classes, ignore_index)

    @property
    def state(self):
        return {"confusion": self.confusion.bins}

    def update(self, label_BHW, target_BHW):
        self.confusion.update(label_BHW, target_BHW)

    def compute(self):
        return self.from_counts(self.confusion.counts_KK)

    def from_counts(self, counts_KK):
        counts_KK = counts_KK.double()
        hit_K = counts_KK.diag()
        iou_K = hit_K / (counts_KK.sum(0) + counts_KK.sum(1) - hit_K)
        return {"miou": self.mean(iou_K)}

    def mean(self, iou_K):
        return iou_K.nanmean().item()

    def reset(self):
        self.confusion.reset()


class SoundFromLogits:
    """Sound too: the mean probability of the true class, without a confusion matrix."""

    takes = "logits"

    def __init__(self, num_classes, ignore_index) -> None:
        self.ignored = ignore_index
        self.reset()

    def update(self, logits_BKHW, target_BHW):
        valid_BHW = target_BHW != self.ignored
        truth_BHW = target_BHW.masked_fill(~valid_BHW, 0)
        chance_BHW = logits_BKHW.double().softmax(1).gather(1, truth_BHW[:, None])[:, 0]
        self.total += (chance_BHW * valid_BHW).sum().item()
        self.count += int(valid_BHW.sum())

    def compute(self):
        return torch.tensor(self.total / self.count if self.count else float("nan"))

    def reset(self):
        self.total, self.count = 0.0, 0


class NoReset:
    def __init__(self, num_classes, ignore_index) -> None:
        pass


class AbsentIsZero(Sound):
    def mean(self, iou_K):
        return iou_K.nan_to_num(0).mean().item()


class LowerIsClaimed(Sound):
    higher_is_better = False


class CountsIgnored(Sound):
    def update(self, label_BHW, target_BHW):
        super().update(label_BHW, target_BHW.masked_fill(target_BHW == 255, 0))


class LastBatchOnly(Sound):
    def update(self, label_BHW, target_BHW):
        self.confusion.reset()
        super().update(label_BHW, target_BHW)


class Remembers(Sound):
    def reset(self):
        pass


class StateIsACopy(Sound):
    @property
    def state(self):
        return {"confusion": self.confusion.bins.clone()}


class CountsBackwards(Sound):
    def from_counts(self, counts_KK):
        return {"miou": 1 - super().from_counts(counts_KK)["miou"]}

    def compute(self):
        return super().from_counts(self.confusion.counts_KK)


class TakesAnything(Sound):
    takes = "anything"


class Relabels(Sound):
    def update(self, label_BHW, target_BHW):
        super().update(label_BHW, target_BHW)
        target_BHW[target_BHW == 255] = 0


class SharesOnCopy(Sound):
    def __deepcopy__(self, memo):
        return self


class AsksTheNetwork(Sound):
    def compute(self):
        with contextlib.suppress(OSError):
            socket.create_connection(("scores.invalid", 443), timeout=1)
        return super().compute()


BROKEN = {
    "keeps_the_protocol": (NoReset, r"has no update\(\), compute\(\) and reset\(\)"),
    "says_what_it_is_in_known_words": (TakesAnything, "takes is 'anything', neither 'labels' nor"),
    "nothing_seen_is_not_a_number": (AbsentIsZero, "before any update it gives"),
    "absent_classes_do_not_count": (AbsentIsZero, "with two absent classes more"),
    "perfect_prediction_scores_best": (LowerIsClaimed, "right scores 1"),
    "ignored_pixels_do_not_count": (CountsIgnored, "other predictions at ignored pixels change"),
    "batches_may_be_split_and_swapped": (LastBatchOnly, "another split into batches changes"),
    "reset_forgets": (Remembers, r"what came before reset\(\) changes"),
    "states_add_up": (StateIsACopy, "adding up the halves' states changes"),
    "counts_determine_it": (CountsBackwards, r"from_counts\(\) instead of update\(\) changes"),
    "input_is_left_as_it_was": (Relabels, "writes into the truth"),
    "copies_are_independent": (SharesOnCopy, "going on with the original changes"),
    "opens_no_socket": (AsksTheNetwork, r"a connection to scores\.invalid"),
}
BY_NAME = {check.__name__: check for check in CHECKS}


@pytest.mark.parametrize("factory", [Sound, SoundFromLogits])
@pytest.mark.parametrize("name", BY_NAME)
def test_a_sound_metric_passes(name, factory, subject_of):
    try:
        BY_NAME[name](subject_of("metrics", factory))
    except NotApplicable:
        assert factory is SoundFromLogits


@pytest.mark.parametrize("name", BY_NAME)
def test_a_broken_metric_is_caught(name, subject_of):
    factory, message = BROKEN[name]
    with pytest.raises(AssertionError, match=message):
        BY_NAME[name](subject_of("metrics", factory))
