"""Metrics, good and wrong: each wrong one differs from the good one in what its name says."""

import contextlib
import socket

import numpy as np
import torch

from segkit.api import ConfusionMatrix


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
        self.total = torch.zeros((), dtype=torch.float64)
        self.count = torch.zeros((), dtype=torch.int64)

    @property
    def state(self):
        return {"total": self.total, "count": self.count}

    def update(self, logits_BKHW, target_BHW):
        valid_BHW = target_BHW != self.ignored
        truth_BHW = target_BHW.masked_fill(~valid_BHW, 0)
        chance_BHW = logits_BKHW.double().softmax(1).gather(1, truth_BHW[:, None])[:, 0]
        self.total += (chance_BHW * valid_BHW).sum()
        self.count += valid_BHW.sum()

    def compute(self):
        return self.total / self.count

    def reset(self):
        self.total.zero_()
        self.count.zero_()


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


class Counting:
    """Good: recall by class from counts of its own, without a confusion matrix."""

    dtype = torch.int64

    def __init__(self, num_classes, ignore_index) -> None:
        self.ignored, self.num_classes = ignore_index, num_classes
        self.hits_K = torch.zeros(num_classes, dtype=self.dtype)
        self.all_K = torch.zeros(num_classes, dtype=self.dtype)

    @property
    def state(self):
        return {"hits_K": self.hits_K, "all_K": self.all_K}

    def update(self, label_BHW, target_BHW):
        valid_BHW = target_BHW != self.ignored
        for k in range(self.num_classes):
            inside_BHW = valid_BHW & (self.of(label_BHW, target_BHW) == k)
            self.hits_K[k] += (inside_BHW & (label_BHW == target_BHW)).sum()
            self.all_K[k] += inside_BHW.sum()

    def of(self, label_BHW, target_BHW):
        return target_BHW

    def compute(self):
        return {"recall": (self.hits_K / self.all_K).nanmean().item()}

    def reset(self):
        self.hits_K.zero_()
        self.all_K.zero_()


class PrecisionAsRecall(Counting):
    def of(self, label_BHW, target_BHW):
        return label_BHW


class DiceAsIou(Sound):
    def mean(self, iou_K):
        return (2 * iou_K / (1 + iou_K)).nanmean().item()


class Float32Counters(Counting):
    dtype = torch.float32


class HiddenFloat32Counters(Sound):
    """Without `state`: it has from_counts, and counts by itself all the same, for one process."""

    def __init__(self, num_classes, ignore_index) -> None:
        self.counting = Float32Counters(num_classes, ignore_index)
        self.hits_K = self.counting.hits_K

    state = property()

    def update(self, label_BHW, target_BHW):
        self.counting.update(label_BHW, target_BHW)

    def from_counts(self, counts_KK):
        return {"recall": (counts_KK.diag() / counts_KK.sum(dim=1)).nanmean().item()}

    def compute(self):
        return self.counting.compute()


class NoState(Counting):
    @property
    def state(self):
        raise AttributeError("state")


class ArraysAsState(Counting):
    """NumPy's arrays, read-only ones at that, are no tensors to be summed in place."""

    @property
    def state(self):
        arrays = {name: each.numpy().copy() for name, each in super().state.items()}
        for each in arrays.values():
            each.flags.writeable = False
        return arrays


class ZeroWhereAbsentLater(Counting):
    """The mean over updates of each class's recall, 0 where an update has not the class."""

    def __init__(self, num_classes, ignore_index) -> None:
        super().__init__(num_classes, ignore_index)
        self.sum_K = torch.zeros(num_classes, dtype=torch.float64)
        self.updates = torch.zeros((), dtype=torch.int64)

    @property
    def state(self):
        return {"sum_K": self.sum_K, "updates": self.updates}

    def update(self, label_BHW, target_BHW):
        super().reset()
        super().update(label_BHW, target_BHW)
        self.sum_K += (self.hits_K / self.all_K).nan_to_num(0)
        self.updates += 1

    def compute(self):
        score_K = self.sum_K / self.updates
        return {"score": score_K[score_K != 0].mean().item()}

    def reset(self):
        super().reset()
        self.sum_K.zero_()
        self.updates.zero_()


class Prints(Sound):
    def update(self, label_BHW, target_BHW):
        print(len(label_BHW))  # noqa: T201
        super().update(label_BHW, target_BHW)


class SeedsNumpy(Sound):
    def __init__(self, num_classes, ignore_index) -> None:
        np.random.seed(0)
        super().__init__(num_classes, ignore_index)


class ZeroForAbsent(AbsentIsZero):
    """The same fault, seen where two classes more are declared."""


GOOD = (Sound, SoundFromLogits, Counting)
# The check that is to see it, and what it is to see.
WRONG = {
    NoReset: ("keeps_the_protocol", r"has no update\(\), compute\(\) and reset\(\)"),
    TakesAnything: ("says_what_it_is_in_known_words", "takes is 'anything', neither 'labels' nor"),
    AbsentIsZero: ("nothing_seen_is_not_a_number", "before any update it gives"),
    LowerIsClaimed: ("perfect_prediction_scores_best", "right scores 1"),
    CountsIgnored: ("ignored_pixels_do_not_count", "other predictions at ignored pixels change"),
    LastBatchOnly: ("batches_may_be_split_and_swapped", "another split into batches changes"),
    Remembers: ("reset_forgets", r"what came before reset\(\) changes"),
    StateIsACopy: ("states_add_up", "adding up the halves' states changes"),
    CountsBackwards: ("counts_determine_it", r"from_counts\(\) instead of update\(\) changes"),
    Relabels: ("input_is_left_as_it_was", "writes into the truth"),
    SharesOnCopy: ("copies_are_independent", "going on with the original changes"),
    AsksTheNetwork: ("opens_no_socket", r"a connection to scores\.invalid"),
    ZeroForAbsent: ("absent_classes_do_not_count", "with two absent classes more"),
    ZeroWhereAbsentLater: (
        "classes_absent_later_keep_their_score",
        "two classes are absent changes",
    ),
    NoState: ("states_add_up", "neither `state` nor `from_counts`"),
    ArraysAsState: ("states_add_up", "is of ndarray, not a torch.Tensor"),
    Float32Counters: ("counters_are_exact", r"state\['hits_K'\] is torch.float32"),
    HiddenFloat32Counters: ("counters_are_exact", r"self.hits_K is torch.float32"),
    PrecisionAsRecall: ("scores_are_what_they_are_called", "which is the precision; the recall"),
    DiceAsIou: ("scores_are_what_they_are_called", "'miou' is .* which is the dice"),
    Prints: ("prints_nothing", "it wrote '2"),
    SeedsNumpy: ("leaves_the_process_alone", "building it changes numpy's random state"),
}
