"""Every check that an encoder must pass can fail: a broken encoder for each."""

import contextlib
import copy
import os
import socket

import pytest
import torch
from torch import nn

from segkit.api import (
    Features,
    Normalization,
    PublishedWeights,
    load_encoder_weights,
    recomputed,
)
from segkit.testing import NotApplicable
from segkit.testing.encoders import CHECKS


class Sound(nn.Module):
    def __init__(self, in_channels: int, weights: str, *, width: int = 4) -> None:
        super().__init__()
        self.channels, self.strides = (width, width), (2, 4)
        self.normalization = Normalization((0.5,) * in_channels, (0.5,) * in_channels)
        self.first = nn.Conv2d(in_channels, width, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, stride=2, padding=1)
        published = PublishedWeights("somebody/sound", licence="MIT")
        load_encoder_weights(self, weights, published=published)

    checkpoints = False

    def set_grad_checkpointing(self, enable=True):
        self.checkpoints = enable

    def forward(self, image_BCHW):
        fine = self.run(nn.Sequential(self.first, self.norm), image_BCHW).relu()
        return Features((fine, self.second(fine)))

    def run(self, stage, x_BCHW):
        return recomputed(stage, x_BCHW) if self.checkpoints else stage(x_BCHW)


class OddStrides(Sound):
    def __init__(self, in_channels: int, weights: str) -> None:
        super().__init__(in_channels, weights)
        self.strides = (2, 6)


class Turned(Sound):
    def forward(self, image_BCHW):
        return Features(tuple(each.mT for each in super().forward(image_BCHW).maps))


class PromisesIndices(Sound):
    provides_pool_indices = True


class LosesOneBorderOnly(Sound):
    margins = (3, 1)


class HidesItsLicence(Sound):
    def __init__(self, in_channels: int, weights: str) -> None:
        super().__init__(in_channels, weights)
        self.published_weights = PublishedWeights("somebody/sound", licence="")


class ThreeChannelsOnly(Sound):
    def __init__(self, in_channels: int, weights: str) -> None:
        super().__init__(3, weights)
        self.normalization = Normalization((0.5,) * in_channels, (0.5,) * in_channels)


class ThreeMeans(Sound):
    def __init__(self, in_channels: int, weights: str) -> None:
        super().__init__(in_channels, weights)
        self.normalization = Normalization((0.5,) * 3, (0.5,) * 3)


class AnyWeights(Sound):
    def __init__(self, in_channels: int, weights: str) -> None:
        super().__init__(in_channels, "none")


class Idle(Sound):
    def __init__(self, in_channels: int, weights: str) -> None:
        super().__init__(in_channels, weights)
        self.idle = nn.Linear(2, 2)


class HiddenState(Sound):
    def __init__(self, in_channels: int, weights: str) -> None:
        super().__init__(in_channels, weights)
        self.hidden = torch.randn(1)

    def forward(self, image_BCHW):
        return Features(tuple(m + self.hidden for m in super().forward(image_BCHW).maps))


class MixesTheBatch(Sound):
    def forward(self, image_BCHW):
        return super().forward(image_BCHW - image_BCHW.mean(dim=0))


class Overflows(Sound):
    def forward(self, image_BCHW):
        fine, coarse = super().forward(image_BCHW).maps
        lost = torch.finfo(fine.dtype).bits == 16
        return Features((fine * (float("inf") if lost else 1), coarse))


class InPlace(Sound):
    def forward(self, image_BCHW):
        return super().forward(image_BCHW.mul_(2))


class SharesOnCopy(Sound):
    def __deepcopy__(self, memo):
        return copy.copy(self)


class OtherRandomness(Sound):
    def __init__(self, in_channels: int, weights: str) -> None:
        super().__init__(in_channels, weights)
        generator = torch.Generator().manual_seed(int.from_bytes(os.urandom(4)))
        nn.init.trunc_normal_(self.first.weight, generator=generator)


class CountsInEvaluation(Sound):
    def __init__(self, in_channels: int, weights: str) -> None:
        super().__init__(in_channels, weights)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, image_BCHW):
        self.seen += 1
        return super().forward(image_BCHW)


class DependsOnValues(Sound):
    def forward(self, image_BCHW):
        if image_BCHW.sum().item() > 1e9:
            image_BCHW = image_BCHW * 0
        return super().forward(image_BCHW)


class ReadsMemory(Sound):
    def forward(self, image_BCHW):
        return super().forward(image_BCHW.as_strided(image_BCHW.shape, (18432, 6144, 96, 1)))


class LosesItsGradient(Sound):
    def run(self, stage, x_BCHW):
        return stage(x_BCHW) if not self.checkpoints else stage(x_BCHW).detach() + stage[0](x_BCHW)


class AsksTheNetwork(Sound):
    def __init__(self, in_channels: int, weights: str) -> None:
        super().__init__(in_channels, weights)
        with contextlib.suppress(OSError):
            socket.create_connection(("weights.invalid", 443), timeout=1)


BROKEN = {
    "declares_channels_and_strides": (OddStrides, "not increasing powers of two"),
    "maps_have_declared_shapes": (Turned, "declared were"),
    "pool_indices_are_as_declared": (PromisesIndices, "but there are none"),
    "margins_are_one_per_level": (LosesOneBorderOnly, r"margins are \[3, 1\]"),
    "published_weights_name_their_licence": (HidesItsLicence, "licence is ''"),
    "takes_any_number_of_input_channels": (ThreeChannelsOnly, "to have 3 channels"),
    "normalization_fits_the_channels": (ThreeMeans, "with 1 channels there are 3 means"),
    "missing_weights_file_is_refused": (AnyWeights, "a weights file that does not exist"),
    "every_parameter_gets_a_gradient": (Idle, "idle.weight has no part in the output"),
    "state_dict_restores_it": (HiddenState, "something that its state dict lacks"),
    "images_of_a_batch_do_not_mix": (MixesTheBatch, "image 0 differs by"),
    "runs_under_bf16_autocast": (Overflows, "not finite"),
    "input_is_left_as_it_was": (InPlace, "writes into its input"),
    "copies_are_independent": (SharesOnCopy, "deep copy does not give the same"),
    "the_seed_decides": (OtherRandomness, "two builds under one seed differ"),
    "evaluation_changes_nothing": (CountsInEvaluation, "changes seen"),
    "exports": (DependsOnValues, "data-dependent"),
    "takes_channels_last": (ReadsMemory, "channels_last changes the output"),
    "checkpointing_changes_no_number": (LosesItsGradient, "checkpointing changes a number"),
    "opens_no_socket": (AsksTheNetwork, "a connection to"),
}
BY_NAME = {check.__name__: check for check in CHECKS}


@pytest.mark.parametrize("name", BY_NAME)
def test_a_sound_encoder_passes(name, subject_of):
    if name == "margins_are_one_per_level":
        with pytest.raises(NotApplicable, match="loses no border"):
            BY_NAME[name](subject_of("encoders", Sound))
    else:
        BY_NAME[name](subject_of("encoders", Sound))


@pytest.mark.parametrize("name", BY_NAME)
def test_a_broken_encoder_is_caught(name, subject_of):
    factory, message = BROKEN[name]
    with pytest.raises(Exception, match=message):
        BY_NAME[name](subject_of("encoders", factory))


def test_a_dead_parameter_is_caught(subject_of):
    class Silenced(Sound):
        def forward(self, image_BCHW):
            fine, coarse = super().forward(image_BCHW).maps
            return Features((fine, coarse * 0))

    with pytest.raises(AssertionError, match=r"of second\.weight is zero"):
        BY_NAME["every_parameter_gets_a_gradient"](subject_of("encoders", Silenced))


def test_a_branch_that_starts_at_zero_is_no_dead_parameter(subject_of):
    class ZeroStart(Sound):
        def __init__(self, in_channels: int, weights: str) -> None:
            super().__init__(in_channels, weights)
            nn.init.zeros_(self.second.weight)

    BY_NAME["every_parameter_gets_a_gradient"](subject_of("encoders", ZeroStart))


def test_wrong_pooling_indices_are_caught(subject_of):
    class WrongIndices(Sound):
        provides_pool_indices = True
        stray = 0

        def forward(self, image_BCHW):
            fine, coarse = super().forward(image_BCHW).maps
            _, indices = nn.functional.max_pool2d(fine, 2, return_indices=True)
            return Features((fine, coarse), (indices + self.stray,))

    class Stray(WrongIndices):
        stray = 10_000

    BY_NAME["pool_indices_are_as_declared"](subject_of("encoders", WrongIndices))
    with pytest.raises(AssertionError, match="outside the finer map"):
        BY_NAME["pool_indices_are_as_declared"](subject_of("encoders", Stray))
