"""What a timm network takes and gives, found by running it once on the meta device, without memory.

timm states reductions, but not which image sizes a network takes, nor that some round them up, lose
border pixels (Inception), or have strides of 7 or 14. Running it tells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn

from segkit_timm.trimming import trim, without_gradient

# Networks refuse a size by an assertion, by shapes that do not fit, or by an error of their own.
REFUSALS = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)
LARGEST_MINIMUM, LARGEST_UNIT = 8, 16
PYRAMID_LEVELS = 4


class CannotRun(Exception):
    """The network takes no image size that could be found."""


@dataclass(frozen=True)
class Sizes:
    """Which images a network takes, in its own pixels; others are resized.

    scale    network pixels per image pixel: 14/16 for 14x14 patches, which count as stride 16
    unit     both sides are multiples of this
    minimum  and at least this
    fixed    the only size taken, where a network takes just one
    """

    scale: float
    unit: int
    minimum: int
    fixed: tuple[int, int] | None = None

    def of(self, height: int, width: int) -> tuple[int, int]:
        """The size at which the network sees an image of this height and width."""
        if self.fixed is not None:
            return self.fixed
        return self._side(height), self._side(width)

    def only_whole(self, stride: int) -> bool:
        """Whether images of its own pixels have to be multiples of this stride, and no more."""
        return self.fixed is None and (self.scale, self.unit) == (1, stride)

    def _side(self, side: int) -> int:
        units = int(side * self.scale / self.unit + 0.5)
        return max(units * self.unit, self.minimum)


@dataclass(frozen=True)
class Layout:
    """How to build the network, and what its maps are.

    arguments    for timm.create_model, beside the name
    channels     of each map kept
    strides      of each map kept, rounded to powers of two; equal ones only for a pyramid's taps
    last_axis    True where the channels are the last axis of a map
    sizes        the images it takes
    unused       names of parameters that no kept map depends on
    removable    True where the modules they are in can be taken out
    """

    arguments: Mapping[str, Any]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    last_axis: bool
    sizes: Sizes
    unused: frozenset[str]
    removable: bool


def find_layout(
    model: str,
    arguments: Mapping[str, Any],
    size: tuple[int, int],
    *,
    depth: int | None = None,
    pyramid: bool = False,
) -> Layout:
    """Builds the model on the meta device, finds out which images it takes, and runs it.

    arguments  for timm.create_model, beside the name
    size       the image size it was built for, which it takes if it takes just one
    depth      how many levels to keep, finest first; None keeps all
    pyramid    keep four evenly spaced maps where all have one stride, instead of the deepest

    Raises what timm raises where the arguments do not suit the model, and CannotRun.
    """
    network = on_meta(model, arguments)
    network, arguments = _keeping(network, model, arguments, _declared(network), depth, pyramid)
    sizes = free_sizes(network)
    if sizes is None:
        network, arguments, sizes = _with_dynamic_size(model, arguments, network)
    sizes = sizes or coarse_sizes(network) or _fixed_size(network, size)
    found = examine(network, sizes)
    if not pyramid and len(set(found.strides)) < len(found.strides):
        network, arguments = _keeping(network, model, arguments, found.strides, depth, pyramid)
        found = examine(network, sizes)
    removable = bool(found.unused) and _runs_without(network, found, sizes)
    if removable and depth is not None:
        sizes = free_sizes(network) or sizes
    return Layout(arguments, sizes=sizes, removable=removable, **found._asdict())


def _runs_without(network: nn.Module, found: Findings, sizes: Sizes) -> bool:
    """Takes the unused modules out, and says whether the network gives the same maps then."""
    trim(network, found.unused, remove=True)
    try:
        left = examine(network, sizes)
    except REFUSALS:
        return False
    return (left.channels, left.strides) == (found.channels, found.strides)


def _keeping(
    network: nn.Module,
    model: str,
    arguments: Mapping[str, Any],
    strides: Sequence[int],
    depth: int | None,
    pyramid: bool,
) -> tuple[nn.Module, Mapping[str, Any]]:
    """The network with only the maps that are wanted, and the arguments that build it."""
    info: Any = network.feature_info
    if pyramid and len(set(strides)) == 1:
        blocks = len(info.info)
        indices = [(i + 1) * blocks // PYRAMID_LEVELS - 1 for i in range(PYRAMID_LEVELS)]
    else:
        indices = [info.out_indices[place] for place in deepest_of_each(strides)][:depth]
    if indices == list(info.out_indices):
        return network, arguments
    arguments = {**arguments, "out_indices": tuple(indices)}
    return on_meta(model, arguments), arguments


def on_meta(model: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The network without memory, in evaluation mode."""
    with torch.device("meta"):
        network: nn.Module = timm.create_model(
            model, pretrained=False, features_only=True, **arguments
        )
    network.image_channels = arguments.get("in_chans", 3)
    return network.eval()


def deepest_of_each(strides: Sequence[int]) -> list[int]:
    """Places of the maps to keep: strides increase, and of equal ones the deepest map stays."""
    kept: list[int] = []
    for place, stride in enumerate(strides):
        if kept and stride <= strides[kept[-1]]:
            kept = [k for k in kept if strides[k] < stride]
        kept.append(place)
    return kept


def free_sizes(network: nn.Module) -> Sizes | None:
    """The sizes of a network that takes every multiple of its deepest stride, from some size on."""
    base = _reduction(network)
    for least in range(1, LARGEST_MINIMUM + 1):
        small, large = _rows(network, least, least + 1), _rows(network, least + 3, least + 2)
        # A network that resizes its image itself gives the same number of rows at every size.
        if small is not None and large is not None and small < large:
            return Sizes(base / _power_of_two(base), base, least * base)
    return None


def coarse_sizes(network: nn.Module) -> Sizes | None:
    """The sizes of a network that takes multiples of a window of several deepest strides."""
    base = _reduction(network)
    for unit in range(2, LARGEST_UNIT + 1):
        small, large = _rows(network, unit, 2 * unit), _rows(network, 3 * unit, unit)
        if small is not None and large is not None and small < large:
            return Sizes(base / _power_of_two(base), unit * base, unit * base)
    return None


def _with_dynamic_size(
    model: str, arguments: Mapping[str, Any], network: nn.Module
) -> tuple[nn.Module, Mapping[str, Any], Sizes | None]:
    dynamic = {**arguments, "dynamic_img_size": True}
    try:
        flexible = on_meta(model, dynamic)
    except REFUSALS:
        return network, arguments, None
    sizes = free_sizes(flexible) or coarse_sizes(flexible)
    return (flexible, dynamic, sizes) if sizes else (network, arguments, None)


def _fixed_size(network: nn.Module, size: tuple[int, int]) -> Sizes:
    try:
        network(_image(network, size))
    except REFUSALS as error:
        raise CannotRun(str(error)) from error
    return Sizes(1.0, 1, 1, size)


class Findings(NamedTuple):
    """What one run of a network shows; the fields are Layout's."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    last_axis: bool
    unused: frozenset[str]


@torch.enable_grad()
def examine(network: nn.Module, sizes: Sizes) -> Findings:
    """Runs the network forward and backward."""
    side = 8 * _power_of_two(_reduction(network))
    image_BCHW = _image(network, sizes.of(side, side))
    # In training mode, since some networks answer from stored tensors in evaluation.
    maps = network.train()(image_BCHW)
    unused = without_gradient(network, maps)
    network.eval()
    last_axis = _channels_last(network)
    rows, channel = (1, 3) if last_axis else (2, 1)
    return Findings(
        tuple(int(each.shape[channel]) for each in maps),
        tuple(_power_of_two(image_BCHW.shape[2] / each.shape[rows]) for each in maps),
        last_axis,
        unused,
    )


def _declared(network: nn.Module) -> tuple[int, ...]:
    info: Any = network.feature_info
    return tuple(_power_of_two(each) for each in info.reduction())


def _rows(network: nn.Module, rows: int, columns: int) -> int | None:
    """Rows of the deepest map for an image of so many deepest strides; None where it is refused."""
    base = _reduction(network)
    try:
        with torch.no_grad():
            deepest = network(_image(network, (rows * base, columns * base)))[-1]
    except REFUSALS:
        return None
    return int(deepest.shape[1 if _channels_last(network) else 2])


def _channels_last(network: nn.Module) -> bool:
    return "NHWC" in str(getattr(network, "output_fmt", ""))


def _image(network: nn.Module, size: tuple[int, int]) -> Tensor:
    channels: Any = network.image_channels
    return torch.empty(2, channels, *size, device="meta")


def _reduction(network: nn.Module) -> int:
    info: Any = network.feature_info
    return int(max(info.reduction()))


def _power_of_two(number: float) -> int:
    return int(2 ** round(math.log2(number)))
