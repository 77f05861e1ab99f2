"""Encoders, good and wrong: each wrong one differs from the good one in what its name says."""

import contextlib
import copy
import os
import random
import socket

import torch
from safetensors.torch import load_file
from torch import nn

from segkit.api import (
    Features,
    Normalization,
    PublishedWeights,
    UsageError,
    load_encoder_weights,
    recomputed,
)


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


class Silenced(Sound):
    def forward(self, image_BCHW):
        fine, coarse = super().forward(image_BCHW).maps
        return Features((fine, coarse * 0))


class ZeroStart(Sound):
    """Good: a branch that starts at zero, as residual ones do, is no dead parameter."""

    def __init__(self, in_channels: int, weights: str) -> None:
        super().__init__(in_channels, weights)
        nn.init.zeros_(self.second.weight)


class Pooling(Sound):
    """Good: it gives the indices that unpooling needs."""

    provides_pool_indices = True
    stray = 0

    def forward(self, image_BCHW):
        fine, coarse = super().forward(image_BCHW).maps
        _, indices = nn.functional.max_pool2d(fine, 2, return_indices=True)
        return Features((fine, coarse), (indices + self.stray,))


class IndicesOutside(Pooling):
    stray = 10_000


class DropsAChannel(Sound):
    def forward(self, image_BCHW):
        if image_BCHW.shape[1] > 3:
            image_BCHW = torch.cat([image_BCHW[:, :3], 0 * image_BCHW[:, 3:]], dim=1)
        return super().forward(image_BCHW)


class EvenMapsOnly(Sound):
    """Windows of two pixels, without padding."""

    def forward(self, image_BCHW):
        fine, coarse = super().forward(image_BCHW).maps
        windows = coarse.unflatten(2, (coarse.shape[2] // 2, 2))
        return Features((fine, windows.flatten(2, 3)))


class LimitedPositions(Sound):
    """A table of positions that ends at 64 x 64."""

    def __init__(self, in_channels: int, weights: str) -> None:
        super().__init__(in_channels, "none")
        self.positions = nn.Parameter(torch.randn(1, 4, 64, 64))
        load_encoder_weights(self, weights, published=None)

    def forward(self, image_BCHW):
        fine, coarse = super().forward(image_BCHW).maps
        height, width = coarse.shape[2:]
        return Features((fine, coarse + self.positions[..., :height, :width]))


class TooSmallAKernel(Sound):
    """Refuses what is less than 64 pixels high."""

    def forward(self, image_BCHW):
        if image_BCHW.shape[2] < 64:
            raise ValueError("the image is too small")
        return super().forward(image_BCHW)


class SilentlyRandom(Sound):
    def __init__(self, in_channels: int, weights: str) -> None:
        super().__init__(in_channels, "none" if weights == "imagenet" else weights)


class Lenient(Sound):
    def __init__(self, in_channels: int, weights: str) -> None:
        known = weights in ("none", "imagenet") or not os.path.isfile(weights)  # noqa: PTH113
        super().__init__(in_channels, weights if known else "none")
        if not known:
            fitting = {
                name: tensor
                for name, tensor in load_file(weights).items()
                if name in self.state_dict() and tensor.shape == self.state_dict()[name].shape
            }
            self.load_state_dict(fitting, strict=False)


class Forgives(Lenient):
    """Refuses a file with nothing for it, and makes do with one that lacks something."""

    def load_state_dict(self, state, strict=True):
        if not state:
            raise UsageError("SK-W002", "there is nothing for it.")
        return super().load_state_dict(state, strict)


class LoadsHalf(Lenient):
    """Reads its weights file, and leaves the second convolution random."""

    def load_state_dict(self, state, strict=True):
        if not strict:
            missing = set(self.state_dict()) - set(state)
            if missing:
                raise UsageError("SK-W002", f"{missing} are missing.")
            state = {name: each for name, each in state.items() if "second" not in name}
        return super().load_state_dict(state, strict)


class Float32Only(Sound):
    def forward(self, image_BCHW):
        return Features(tuple(each.float() for each in super().forward(image_BCHW).maps))


class Standardizes(Sound):
    def forward(self, image_BCHW):
        spread = image_BCHW.std(dim=(1, 2, 3), keepdim=True)
        return super().forward((image_BCHW - image_BCHW.mean(dim=(1, 2, 3), keepdim=True)) / spread)


class SeedsInBuilding(Sound):
    def __init__(self, in_channels: int, weights: str) -> None:
        torch.manual_seed(0)
        super().__init__(in_channels, weights)


class SeedsPython(Sound):
    def __init__(self, in_channels: int, weights: str) -> None:
        random.seed(0)
        super().__init__(in_channels, weights)


class SetsThreads(Sound):
    def __init__(self, in_channels: int, weights: str) -> None:
        torch.set_num_threads(1)
        super().__init__(in_channels, weights)


class SetsThreadsLater(Sound):
    def forward(self, image_BCHW):
        torch.set_num_threads(1)
        return super().forward(image_BCHW)


class DrawsInEvaluation(Sound):
    def forward(self, image_BCHW):
        return super().forward(image_BCHW + 0 * torch.rand_like(image_BCHW))


class TunesCudnn(Sound):
    def __init__(self, in_channels: int, weights: str) -> None:
        torch.backends.cudnn.benchmark = True
        super().__init__(in_channels, weights)


class HoldsAFunction(Sound):
    def __init__(self, in_channels: int, weights: str) -> None:
        super().__init__(in_channels, weights)
        self.activation = lambda x_BCHW: x_BCHW.relu()


REGISTERED = {}


class KnowsItsProcess(Sound):
    """Pickled by a number that only the process knows in which it was built."""

    def __reduce__(self):
        REGISTERED[id(self)] = self
        return REGISTERED.__getitem__, (id(self),)


class OtherInOtherProcesses(Sound):
    """Different there, without an error."""

    def __init__(self, in_channels: int, weights: str) -> None:
        super().__init__(in_channels, weights)
        self.built_in = os.getpid()

    def forward(self, image_BCHW):
        fine, coarse = super().forward(image_BCHW).maps
        return Features((fine + float(os.getpid() != self.built_in), coarse))


class HidesItsParts(Sound):
    """A list of modules is no nn.ModuleList."""

    def __init__(self, in_channels: int, weights: str) -> None:
        super().__init__(in_channels, weights)
        self.more = [nn.BatchNorm2d(4)]


class ReturnsAList(Sound):
    def forward(self, image_BCHW):
        return list(super().forward(image_BCHW).maps)


class StaysBehind(Sound):
    """A table of its own that .to() does not move."""

    def __init__(self, in_channels: int, weights: str) -> None:
        super().__init__(in_channels, weights)
        self.table = torch.ones(1, 1, 1, 1)

    def forward(self, image_BCHW):
        return super().forward(image_BCHW * self.table)


class GoesToTheProcessor(Sound):
    def forward(self, image_BCHW):
        return super().forward(image_BCHW.to("cpu"))


class DetachesBetweenLevels(Sound):
    def forward(self, image_BCHW):
        fine = nn.Sequential(self.first, self.norm)(image_BCHW).relu()
        return Features((fine, self.second(fine.detach())))


class KeepsItsMaps(Sound):
    def forward(self, image_BCHW):
        features = super().forward(image_BCHW)
        self.last = features.maps[0].detach()
        return features


class KeepsItsInput(Sound):
    def forward(self, image_BCHW):
        self.last = [image_BCHW]
        return super().forward(image_BCHW)


HISTORY = []


class KeepsAHistory(Sound):
    def forward(self, image_BCHW):
        HISTORY.append(image_BCHW.mean())
        return super().forward(image_BCHW)


class Prints(Sound):
    def forward(self, image_BCHW):
        print(image_BCHW.shape)  # noqa: T201
        return super().forward(image_BCHW)


GOOD = (Sound, ZeroStart, Pooling)
# The check that is to see it, and what it is to see.
WRONG = {
    OddStrides: ("declares_channels_and_strides", "not increasing powers of two"),
    ReturnsAList: ("returns_features", "it returns list, not Features"),
    Turned: ("maps_have_declared_shapes", "declared were"),
    PromisesIndices: ("pool_indices_are_as_declared", "but there are none"),
    IndicesOutside: ("pool_indices_are_as_declared", "outside the finer map"),
    LosesOneBorderOnly: ("margins_are_one_per_level", r"margins are \[3, 1\]"),
    HidesItsLicence: ("published_weights_name_their_licence", "licence is ''"),
    ThreeChannelsOnly: ("takes_any_number_of_input_channels", "to have 3 channels"),
    DropsAChannel: ("every_map_depends_on_the_image", "channel 3 of 4 input channels no grad"),
    DetachesBetweenLevels: ("every_map_depends_on_the_image", "map 1 gives channel 0"),
    EvenMapsOnly: ("odd_maps_have_declared_shapes", "unflatten"),
    LimitedPositions: ("small_and_long_images_are_taken", "must match the size"),
    TooSmallAKernel: ("small_and_long_images_are_taken", "too small"),
    ThreeMeans: ("normalization_fits_the_channels", "with 1 channels there are 3 means"),
    AnyWeights: ("missing_weights_file_is_refused", "a weights file that does not exist"),
    SilentlyRandom: ("imagenet_weights_are_never_random", "tensors are random"),
    Lenient: ("weights_file_is_loaded_whole", "a weights file with none of its tensors"),
    Forgives: ("weights_file_is_loaded_whole", "a weights file that lacks 'second.bias'"),
    LoadsHalf: ("weights_file_is_loaded_whole", "2 tensors are not loaded"),
    Idle: ("every_parameter_gets_a_gradient", "idle.weight has no part in the output"),
    Silenced: ("every_parameter_gets_a_gradient", r"of second\.weight is zero"),
    HiddenState: ("state_dict_restores_it", "something that its state dict lacks"),
    MixesTheBatch: ("images_of_a_batch_do_not_mix", "image 0 differs by"),
    Overflows: ("runs_under_bf16_autocast", "not finite"),
    Float32Only: ("takes_float64", "of float64 input it makes torch.float32"),
    Standardizes: ("constant_input_stays_finite", "0 everywhere gives output that is not finite"),
    InPlace: ("input_is_left_as_it_was", "writes into its input"),
    SharesOnCopy: ("copies_are_independent", "deep copy does not give the same"),
    OtherRandomness: ("the_seed_decides", "two builds under one seed differ"),
    CountsInEvaluation: ("evaluation_changes_nothing", "changes seen"),
    HoldsAFunction: ("travels_to_a_second_process", "cannot be pickled"),
    KnowsItsProcess: ("travels_to_a_second_process", "in a second process it fails"),
    OtherInOtherProcesses: ("travels_to_a_second_process", "gives another output"),
    HidesItsParts: ("parts_are_registered", "more is a list of 1 parts"),
    StaysBehind: ("follows_its_device", "on device cpu is not on the expected device"),
    GoesToTheProcessor: ("follows_its_device", "to another device than its own"),
    KeepsItsMaps: ("lets_its_maps_go", "still holds a map it returned"),
    KeepsItsInput: ("lets_its_maps_go", "still holds its input"),
    KeepsAHistory: ("lets_its_maps_go", "every pass leaves 1 tensors more"),
    DependsOnValues: ("exports", "data-dependent"),
    ReadsMemory: ("takes_channels_last", "channels_last changes the output"),
    LosesItsGradient: ("checkpointing_changes_no_number", "checkpointing changes a number"),
    AsksTheNetwork: ("opens_no_socket", "a connection to"),
    Prints: ("prints_nothing", "it wrote 'torch.Size"),
    SeedsInBuilding: ("leaves_the_process_alone", "building it seeds torch's random state"),
    SeedsPython: ("leaves_the_process_alone", "building it changes Python's random state"),
    SetsThreads: ("leaves_the_process_alone", "building it changes torch's number of threads"),
    SetsThreadsLater: ("leaves_the_process_alone", "using it changes torch's number of threads"),
    DrawsInEvaluation: ("leaves_the_process_alone", "using it changes torch's random state"),
    TunesCudnn: ("leaves_the_process_alone", "changes cuDNN's benchmark mode"),
}
