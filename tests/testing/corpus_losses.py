"""Losses, good and wrong: each wrong one differs from the good one in what its name says."""

import contextlib
import socket

import torch
from torch import nn
from torch.nn import functional as F


class Sound(nn.Module):
    """Cross-entropy, the mean over valid pixels."""

    def __init__(self, num_classes, ignore_index, *, smoothing: float = 0.0) -> None:
        super().__init__()
        self.ignored = -100 if ignore_index is None else ignore_index
        self.num_classes, self.smoothing = num_classes, smoothing

    def forward(self, logits_BKHW, target_BHW):
        total = self.costs(logits_BKHW, target_BHW).sum()
        return total / self.divisor(target_BHW)

    def costs(self, logits_BKHW, target_BHW):
        if logits_BKHW.dtype != torch.float64:
            logits_BKHW = logits_BKHW.float()
        return F.cross_entropy(logits_BKHW, target_BHW, ignore_index=self.ignored, reduction="none")

    def divisor(self, target_BHW):
        return (target_BHW != self.ignored).sum().clamp_min(1)


class PerPixel(Sound):
    def forward(self, logits_BKHW, target_BHW):
        return self.costs(logits_BKHW, target_BHW)


class SeesIgnored(Sound):
    def forward(self, logits_BKHW, target_BHW):
        return super().forward(logits_BKHW, target_BHW) + logits_BKHW.square().mean()


class DividesByNothing(Sound):
    def divisor(self, target_BHW):
        return (target_BHW != self.ignored).sum()


class Rounds(Sound):
    def costs(self, logits_BKHW, target_BHW):
        costs_BHW = super().costs(logits_BKHW, target_BHW)
        return costs_BHW + (costs_BHW.detach() - costs_BHW) / 2


class NeedsEveryClass(Sound):
    def costs(self, logits_BKHW, target_BHW):
        held = [(target_BHW == k).sum() for k in range(self.num_classes)]
        return super().costs(logits_BKHW, target_BHW) * (held[0] / held[1])


class TakesTheLogarithm(Sound):
    def costs(self, logits_BKHW, target_BHW):
        probability_BKHW = logits_BKHW.softmax(dim=1)
        return F.nll_loss(
            probability_BKHW.log(), target_BHW, ignore_index=self.ignored, reduction="none"
        )


class Backwards(Sound):
    def costs(self, logits_BKHW, target_BHW):
        return 40 - super().costs(logits_BKHW, target_BHW)


class Coarse(Sound):
    def costs(self, logits_BKHW, target_BHW):
        if logits_BKHW.dtype == torch.bfloat16:
            logits_BKHW = 1.1 * logits_BKHW
        return super().costs(logits_BKHW, target_BHW)


class WritesIgnored(Sound):
    def forward(self, logits_BKHW, target_BHW):
        value = super().forward(logits_BKHW, target_BHW)
        target_BHW[target_BHW == self.ignored] = 0
        return value


class Draws(Sound):
    def forward(self, logits_BKHW, target_BHW):
        return super().forward(logits_BKHW, target_BHW) * torch.rand(())


class ForgetsWeights(Sound):
    @staticmethod
    def fuse(terms):
        return lambda *given: sum(loss(*given) for _, loss in terms)


class EnlargesByRepeating(Sound):
    def from_coarse(self, logits_BKhw, target_BHW, size, align_corners=False):
        height, width = target_BHW.shape[1:]
        return self(F.interpolate(logits_BKhw, size)[..., :height, :width], target_BHW)


class CountsNumbers(Sound):
    """Takes objects, and the largest of their numbers for a weight."""

    needs_instances = True

    def forward(self, logits_BKHW, target_BHW, instances_BHW=None):
        value = super().forward(logits_BKHW, target_BHW)
        return value if instances_BHW is None else value * instances_BHW.max()


class UnstableState(Sound):
    made = 0

    def __init__(self, num_classes, ignore_index) -> None:
        super().__init__(num_classes, ignore_index)
        UnstableState.made += 1
        self.register_buffer(f"weight_{UnstableState.made}", torch.ones(1))


class AsksTheNetwork(Sound):
    def forward(self, logits_BKHW, target_BHW):
        with contextlib.suppress(OSError):
            socket.getaddrinfo("weights.invalid", 443)
        return super().forward(logits_BKHW, target_BHW)


class SoundMultilabel(nn.Module):
    """Sound too: binary cross-entropy per class, with truth of 0, 1 and ignored."""

    def __init__(self, num_classes, ignore_index, *, multilabel: bool = True) -> None:
        super().__init__()
        self.ignored = -100 if ignore_index is None else ignore_index

    def forward(self, logits_BKHW, target_BKHW):
        valid_BKHW = target_BKHW != self.ignored
        truth_BKHW = (target_BKHW == 1).to(torch.promote_types(logits_BKHW.dtype, torch.float32))
        costs_BKHW = F.binary_cross_entropy_with_logits(
            logits_BKHW.to(truth_BKHW.dtype), truth_BKHW, reduction="none"
        )
        return (costs_BKHW * valid_BKHW).sum() / valid_BKHW.sum().clamp_min(1)


class Dice(nn.Module):
    """Good, and no mean over pixels: 1 - dice over the whole batch, of classes that occur."""

    def __init__(self, num_classes, ignore_index) -> None:
        super().__init__()
        self.ignored = -100 if ignore_index is None else ignore_index
        self.num_classes = num_classes

    def forward(self, logits_BKHW, target_BHW):
        valid_B1HW = (target_BHW != self.ignored)[:, None]
        exact = torch.promote_types(logits_BKHW.dtype, torch.float32)
        chance_BKHW = logits_BKHW.to(exact).softmax(dim=1) * valid_B1HW
        truth_BHW = target_BHW.masked_fill(~valid_B1HW[:, 0], 0)
        truth_BKHW = F.one_hot(truth_BHW, self.num_classes).movedim(-1, 1) * valid_B1HW
        both_K = (chance_BKHW * truth_BKHW).sum(dim=(0, 2, 3))
        size_K = (chance_BKHW + truth_BKHW).sum(dim=(0, 2, 3))
        held_K = truth_BKHW.sum(dim=(0, 2, 3)) > 0
        cost_K = (1 - 2 * both_K / size_K.clamp_min(1e-6)) * held_K
        return cost_K.sum() / held_K.sum().clamp_min(1)


class OnObjects(Sound):
    """Good: it calls for objects, int64, one number each, 0 where there is none."""

    needs_instances = True

    def forward(self, logits_BKHW, target_BHW, instances_BHW=None):
        if instances_BHW is not None:
            assert instances_BHW.dtype == torch.int64
            assert instances_BHW.shape == target_BHW.shape
            assert not instances_BHW[target_BHW == 0].any()
        return super().forward(logits_BKHW, target_BHW)


class OverAllPixels(Sound):
    def divisor(self, target_BHW):
        return target_BHW.numel()


class OverImages(Sound):
    """The mean over images of each image's mean over its valid pixels."""

    def forward(self, logits_BKHW, target_BHW):
        costs_B = self.costs(logits_BKHW, target_BHW).sum(dim=(1, 2))
        valid_B = (target_BHW != self.ignored).sum(dim=(1, 2))
        return (costs_B / valid_B.clamp_min(1)).sum() / (valid_B > 0).sum().clamp_min(1)


class CountsEmptyImages(Sound):
    """As over images, and an image that is wholly ignored costs 0."""

    def forward(self, logits_BKHW, target_BHW):
        costs_B = self.costs(logits_BKHW, target_BHW).sum(dim=(1, 2))
        return (costs_B / (target_BHW != self.ignored).sum(dim=(1, 2)).clamp_min(1)).mean()


class OverTheBatch(Sound):
    """The sum over pixels, divided by the number of images."""

    def divisor(self, target_BHW):
        return len(target_BHW)


class Sums(Sound):
    def divisor(self, target_BHW):
        return 1


class FailsOnAnEmptyImage(Sound):
    def forward(self, logits_BKHW, target_BHW):
        if not (target_BHW != self.ignored).any():
            return 0 * logits_BKHW.sum()
        costs_B = self.costs(logits_BKHW, target_BHW).sum(dim=(1, 2))
        return (costs_B / (target_BHW != self.ignored).sum(dim=(1, 2))).mean()


class DependsOnTheOrder(Sound):
    def costs(self, logits_BKHW, target_BHW):
        weight_B = 1 / torch.arange(1, len(target_BHW) + 1)
        return super().costs(logits_BKHW, target_BHW) * weight_B[:, None, None]


class TwoClassesAreOne(Sound):
    """Takes two classes for one channel, the foreground's, as binary losses do."""

    def costs(self, logits_BKHW, target_BHW):
        if logits_BKHW.shape[1] > 2:
            return super().costs(logits_BKHW, target_BHW)
        truth_BHW = (target_BHW == 1).to(logits_BKHW.dtype)
        cost_BHW = F.binary_cross_entropy_with_logits(
            logits_BKHW.squeeze(1), truth_BHW, reduction="none"
        )
        return cost_BHW * (target_BHW != self.ignored)


class SqueezesOneImage(Sound):
    def costs(self, logits_BKHW, target_BHW):
        return super().costs(logits_BKHW.squeeze(0), target_BHW)


class TakesHeightForClasses(Sound):
    """Looks for the dimension that is as long as there are classes, from the back."""

    def costs(self, logits_BKHW, target_BHW):
        if logits_BKHW.shape[2] == self.num_classes:
            logits_BKHW = logits_BKHW.transpose(1, 2)
        return super().costs(logits_BKHW, target_BHW)


class SumsInBf16(Sound):
    """Adds up strip by strip in the dtype of the logits."""

    def forward(self, logits_BKHW, target_BHW):
        total = 0 * logits_BKHW.sum()
        for costs in self.costs(logits_BKHW, target_BHW).flatten().split(4):
            total = total + costs.sum().to(logits_BKHW.dtype)
        return total / self.divisor(target_BHW)


class RefusesBf16(Sound):
    def costs(self, logits_BKHW, target_BHW):
        if logits_BKHW.dtype == torch.bfloat16 and not torch.is_autocast_enabled("cpu"):
            raise TypeError("no bfloat16 here")
        return super().costs(logits_BKHW, target_BHW)


class Prints(Sound):
    def divisor(self, target_BHW):
        print(self.ignored)  # noqa: T201
        return super().divisor(target_BHW)


GOOD = (Sound, SoundMultilabel, Dice, OnObjects)
# The check that is to see it, and what it is to see.
WRONG = {
    PerPixel: ("gives_a_finite_scalar", "not a scalar"),
    SeesIgnored: ("ignored_pixels_move_nothing", "ignored pixels have a gradient"),
    DividesByNothing: ("all_ignored_gives_zero", "the value is nan"),
    Rounds: ("gradient_is_right", "differs from the difference quotient"),
    NeedsEveryClass: ("absent_class_is_harmless", "with classes absent"),
    TakesTheLogarithm: ("extreme_logits_stay_finite", "logits of size 1000"),
    Backwards: ("right_costs_less_than_wrong", "right costs"),
    Coarse: ("bf16_logits_are_near", "bfloat16 logits move the value"),
    WritesIgnored: ("input_is_left_as_it_was", "writes into the truth"),
    Draws: ("repeats_and_copies", "the values differ"),
    ForgetsWeights: ("fused_with_itself_adds_up", "2 and 0.5 times the loss"),
    EnlargesByRepeating: ("coarse_logits_are_enlarged", "by itself the loss"),
    CountsNumbers: ("instances_are_optional", "objects numbered otherwise change the value"),
    UnstableState: ("state_dict_restores_it", "Missing key"),
    AsksTheNetwork: ("opens_no_socket", r"a connection to weights\.invalid"),
    OverAllPixels: ("mean_runs_over_valid_pixels", "rows that are ignored, instead of cut off"),
    OverImages: ("mean_runs_over_valid_pixels", "valid pixels"),
    CountsEmptyImages: ("mean_runs_over_valid_pixels", "one more image, all ignored, changes"),
    FailsOnAnEmptyImage: ("mean_runs_over_valid_pixels", "to nan"),
    OverTheBatch: ("size_and_order_of_a_batch_do_not_matter", "every image above itself turns"),
    Sums: ("size_and_order_of_a_batch_do_not_matter", "every image twice turns"),
    DependsOnTheOrder: ("size_and_order_of_a_batch_do_not_matter", "another order of the batch"),
    TwoClassesAreOne: ("no_shape_is_special", "must be the same"),
    SqueezesOneImage: ("no_shape_is_special", "Error"),
    TakesHeightForClasses: ("no_shape_is_special", "they change from"),
    SumsInBf16: ("bf16_logits_are_near", "bfloat16 logits move the value"),
    RefusesBf16: ("bf16_logits_are_near", "no bfloat16 here"),
    Prints: ("prints_nothing", "it wrote"),
}
