"""Every check that a loss must pass can fail: a broken loss for each."""

import contextlib
import socket

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segkit.testing.losses import CHECKS
from segkit.testing.subject import NotApplicable


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


BROKEN = {
    "gives_a_finite_scalar": (PerPixel, "not a scalar"),
    "ignored_pixels_move_nothing": (SeesIgnored, "ignored pixels have a gradient"),
    "all_ignored_gives_zero": (DividesByNothing, "the value is nan"),
    "gradient_is_right": (Rounds, "differs from the difference quotient"),
    "absent_class_is_harmless": (NeedsEveryClass, "with classes absent"),
    "extreme_logits_stay_finite": (TakesTheLogarithm, "logits of size 1000"),
    "right_costs_less_than_wrong": (Backwards, "right costs"),
    "bf16_logits_are_near": (Coarse, "bfloat16 logits move the value"),
    "input_is_left_as_it_was": (WritesIgnored, "writes into the truth"),
    "repeats_and_copies": (Draws, "the values differ"),
    "fused_with_itself_adds_up": (ForgetsWeights, "2 and 0.5 times the loss"),
    "coarse_logits_are_enlarged": (EnlargesByRepeating, "by itself the loss"),
    "instances_are_optional": (CountsNumbers, "objects numbered otherwise change the value"),
    "state_dict_restores_it": (UnstableState, "Missing key"),
    "opens_no_socket": (AsksTheNetwork, r"a connection to weights\.invalid"),
}
# Of capabilities that a loss need not have.
OPTIONAL = ("fused_with_itself_adds_up", "coarse_logits_are_enlarged", "instances_are_optional")
BY_NAME = {check.__name__: check for check in CHECKS}


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


@pytest.mark.parametrize("factory", [Sound, SoundMultilabel])
@pytest.mark.parametrize("name", BY_NAME)
def test_a_sound_loss_passes(name, factory, subject_of):
    if name in OPTIONAL:
        with pytest.raises(NotApplicable, match=r"it is no [A-Z][a-z]+Loss"):
            BY_NAME[name](subject_of("losses", factory))
    else:
        BY_NAME[name](subject_of("losses", factory))


@pytest.mark.parametrize("name", BY_NAME)
def test_a_broken_loss_is_caught(name, subject_of):
    factory, message = BROKEN[name]
    with pytest.raises(Exception, match=message):
        BY_NAME[name](subject_of("losses", factory))


def test_a_loss_that_calls_for_instances_gets_one_number_per_object(subject_of):
    class CountsObjects(Sound):
        needs_instances = True

        def forward(self, logits_BKHW, target_BHW, instances_BHW=None):
            assert instances_BHW.dtype == torch.int64
            assert instances_BHW.shape == target_BHW.shape
            assert not instances_BHW[target_BHW == 0].any()
            return super().forward(logits_BKHW, target_BHW)

    BY_NAME["gives_a_finite_scalar"](subject_of("losses", CountsObjects))
