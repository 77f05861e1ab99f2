"""A timm network that keeps segkit's encoder contract at every image size."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from segkit.api import (
    Encoder,
    Factory,
    Features,
    Normalization,
    UsageError,
)
from segkit_timm import catalogue
from segkit_timm.layout import REFUSALS, CannotRun, Layout, find_layout
from segkit_timm.loading import build_network
from segkit_timm.pyramid import TransformerPyramid
from segkit_timm.trimming import trim


class TimmEncoder(nn.Module):
    """The maps of a timm network: channels first, each H / stride by W / stride, rounded up.

    network  timm's feature extractor
    layout   what it takes and gives
    pyramid  turns four maps of one stride into levels, for plain transformers
    """

    def __init__(
        self,
        network: nn.Module,
        layout: Layout,
        normalization: Normalization,
        pyramid: TransformerPyramid | None = None,
    ) -> None:
        super().__init__()
        self.network, self.layout, self.pyramid = network, layout, pyramid
        self.channels = pyramid.channels if pyramid else layout.channels
        self.strides = pyramid.strides if pyramid else layout.strides
        self.normalization = normalization
        # Not every kind of network has it in the form that gives feature maps.
        if hasattr(network, "set_grad_checkpointing"):
            self.set_grad_checkpointing = network.set_grad_checkpointing

    def forward(self, image_BCHW: Tensor) -> Features:
        height, width = image_BCHW.shape[-2:]
        size = self._size(height, width)
        if size != (height, width):
            # Smoothed where it shrinks, as an image viewer does.
            image_BCHW = F.interpolate(
                image_BCHW, size, mode="bilinear", align_corners=False, antialias=True
            )
        maps = []
        for taken, stride in zip(self.network(image_BCHW), self.layout.strides, strict=True):
            map_BCHW = taken.permute(0, 3, 1, 2) if self.layout.last_axis else taken
            maps.append(_of_size(map_BCHW, (-(-height // stride), -(-width // stride))))
        return Features(self.pyramid(maps) if self.pyramid else tuple(maps))

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """The size at which the network sees an image.

        Other sizes than multiples of the deepest stride come of models that do not pad: a network
        whose only condition those multiples are takes such images as they are.
        """
        sizes, deepest = self.layout.sizes, self.layout.strides[-1]
        if (height % deepest or width % deepest) and sizes.only_whole(deepest):
            return height, width
        return sizes.of(height, width)


def _of_size(map_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    if map_BCHW.shape[-2:] == size:
        return map_BCHW
    return F.interpolate(map_BCHW, size, mode="bilinear", align_corners=False)


def encoder_factory(model: str) -> Factory[Encoder]:
    """The factory of timm's `model`, a name with or without a pretrained tag."""

    def build(
        *,
        in_channels: int,
        weights: str,
        depth: int | None = None,
        output_stride: Literal[8, 16, 32] = 32,
        drop_path_rate: float = 0.0,
        image_size: tuple[int, int] | None = None,
        pyramid: bool = False,
    ) -> TimmEncoder:
        layout = plan(
            model,
            in_channels=in_channels,
            depth=depth,
            output_stride=output_stride,
            image_size=image_size,
            pyramid=pyramid,
        )
        published = catalogue.published_weights(model)
        arguments = {**layout.arguments, "in_chans": in_channels}
        if drop_path_rate:
            arguments["drop_path_rate"] = drop_path_rate
        try:
            network = build_network(model, arguments, weights, published)
        except TypeError as error:
            raise lacks(model, f"drop_path_rate={drop_path_rate}", error) from error
        trim(network, layout.unused, remove=layout.removable)
        encoder = TimmEncoder(
            network,
            layout,
            catalogue.normalization(model).for_channels(in_channels),
            TransformerPyramid(layout.channels[0], layout.strides[0]) if pyramid else None,
        )
        # For lists, which show the licence.
        encoder.published_weights = published  # type: ignore[assignment]
        return encoder

    build.__name__ = build.__qualname__ = f"timm/{model}"
    build.__doc__ = documentation(model)
    return build


@lru_cache(maxsize=64)
def plan(
    model: str,
    *,
    in_channels: int,
    depth: int | None,
    output_stride: int,
    image_size: tuple[int, int] | None,
    pyramid: bool,
) -> Layout:
    """The layout of a model with these options; raises UsageError where it does not have them."""
    if depth is not None and depth < 1:
        raise UsageError("SK-C006", f"timm/{model}: depth is {depth}.", "It must be at least 1.")
    arguments: dict[str, object] = {}
    if output_stride != 32:
        arguments["output_stride"] = output_stride
    if image_size is not None:
        arguments["img_size"] = image_size
    if in_channels != 3:
        arguments["in_chans"] = in_channels
    written = ", ".join(f"{name}={value}" for name, value in arguments.items()) or "its defaults"
    size = image_size or catalogue.trained_size(model)
    try:
        layout = find_layout(model, arguments, size, depth=depth, pyramid=pyramid)
    except (CannotRun, *REFUSALS) as error:
        raise lacks(model, _as_options(written), error) from error
    if output_stride != 32 and output_stride < layout.strides[-1]:
        raise lacks(model, written, f"its deepest stride stays {layout.strides[-1]}")
    if pyramid and not (len(layout.strides) == 4 and len(set(layout.strides)) == 1):
        raise lacks(model, "pyramid=true", f"its maps have strides {layout.strides} by themselves")
    return layout


def _as_options(arguments: str) -> str:
    return arguments.replace("img_size", "image_size").replace("in_chans", "in_channels")


def lacks(model: str, option: str, reason: object) -> UsageError:
    """The refusal of an option that timm's model does not support."""
    text = (str(reason).strip().splitlines() or [type(reason).__name__])[0]
    return UsageError(
        "SK-C007",
        f"timm/{model} cannot be built with {option} ({text or type(reason).__name__}).",
        f"Leave the option out; `segkit info encoder timm/{model}` shows the maps it gives then.",
    )


def documentation(model: str) -> str:
    """What `segkit info` shows for a model."""
    published = catalogue.published_weights(model)
    source = (
        f"weights from {published.repository}, licence {published.licence}"
        if published
        else "no published weights"
    )
    return f"""{catalogue.bare_name(model)} through timm: {source}.

    depth           levels kept, finest first; none keeps all
    output_stride   dilate the last stages so that the deepest stride is 8 or 16
    drop_path_rate  stochastic depth: share of residual branches left out in training
    image_size      height and width to build a network of fixed size for
    pyramid         plain transformers of stride s: levels of s/4, s/2, s and 2s from four blocks,
                    instead of one of s from the last
    """
