"""U-Nets with the parts inc, down1..n, up1..n and outc, as many tutorials name them.

Two 3x3 convolutions a block, each with batch norm and ReLU, zero padding; 2x2 maximum pooling. The
steps up are 2x2 transposed convolutions, or bilinear interpolation corner to corner with no
convolution of its own and fewer channels. Inputs are pixels between 0 and 1.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping

from torch import Tensor

from segkit.importers.plan import Plan
from segkit.interfaces import Normalization

# The names of two generations of that network: double_conv of today, conv.conv and mpconv before.
_INC = re.compile(r"inc\.(?:double_conv|conv\.conv)\.(?P<part>\d)\.(?P<rest>\w+)")
_DOWN = re.compile(
    r"down(?P<n>\d+)\.(?:maxpool_conv\.1\.double_conv|mpconv\.1\.conv)\.(?P<part>\d)\.(?P<rest>\w+)"
)
_UP = re.compile(r"up(?P<n>\d+)\.conv\.(?:double_conv|conv)\.(?P<part>\d)\.(?P<rest>\w+)")
_ENLARGE = re.compile(r"up(?P<n>\d+)\.up\.(?P<rest>weight|bias)")
_HEAD = re.compile(r"outc\.conv\.(?P<rest>weight|bias)")

PIXELS = "The pixels are taken between 0 and 1, without mean and deviation, as in training there."
SIZES = (
    "Sides that are no multiple of the deepest stride are filled up before the network here, and "
    "inside it there: at such sizes the border may differ a little."
)

NO_PART = "no part of such a U-Net"


def recognises(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of such a network."""
    parts = {key.partition(".")[0] for key in tensors}
    return {"inc", "down1", "up1", "outc"} <= parts


def plan(tensors: Mapping[str, Tensor]) -> Plan:
    """The segkit network: depth, channels and way of enlarging show in the tensors' shapes."""
    transposed = any(_ENLARGE.fullmatch(key) for key in tensors)
    names = {ours: key for key in tensors if (ours := _ours(key, transposed)) is not None}
    state = {ours: tensors[key] for ours, key in names.items()}
    notes = [PIXELS, SIZES]
    if biases := _fold_biases(state, names):
        notes.append(f"{biases} biases before a batch norm went into its running mean.")
    how = "transposed convolutions" if transposed else "bilinear interpolation"
    levels = _widths(state, "encoder.levels.{}.3.weight")
    in_channels = state["encoder.levels.0.0.weight"].shape[1]
    return Plan(
        source=f"a U-Net in milesial's form: {len(levels)} levels, {how}",
        encoder=_encoder(levels),
        decoder="unet" if transposed else _interpolating(state, levels),
        upsampler="transposed" if transposed else "bilinear",
        num_classes=len(state["head.weight"]),
        in_channels=in_channels,
        tensors=state,
        names=names,
        left_out={key: NO_PART for key in tensors if _ours(key, transposed) is None},
        normalization=Normalization((0.0,) * in_channels, (1.0,) * in_channels),
        notes=tuple(notes),
    )


def _ours(key: str, transposed: bool) -> str | None:
    """segkit's name for a tensor of such a network, or None."""
    if match := _INC.fullmatch(key):
        return f"encoder.levels.0.{match['part']}.{match['rest']}"
    if match := _DOWN.fullmatch(key):
        return f"encoder.levels.{match['n']}.{match['part']}.{match['rest']}"
    if match := _UP.fullmatch(key):
        step = f"decoder.steps.{int(match['n']) - 1}" + (".block" if transposed else "")
        return f"{step}.{match['part']}.{match['rest']}"
    if match := _ENLARGE.fullmatch(key):
        step = f"decoder.steps.{int(match['n']) - 1}"
        return f"{step}.upsampler.steps.0.convolution.{match['rest']}"
    if match := _HEAD.fullmatch(key):
        return f"head.{match['rest']}"
    return None


def _fold_biases(state: dict[str, Tensor], names: dict[str, str]) -> int:
    """A bias before a batch norm shifts its mean and nothing else: so it may go there, exactly."""
    biases = [key for key in state if re.search(r"\.[03]\.bias$", key)]
    for key in biases:
        block, _, part = key.removesuffix(".bias").rpartition(".")
        mean = f"{block}.{int(part) + 1}.running_mean"
        state[mean] = state[mean] - state.pop(key)
        del names[key]
    return len(biases)


def _encoder(levels: list[int]) -> str:
    depth, width = len(levels), levels[0]
    deepest = "" if levels[-1] == 2 * levels[-2] else f", deepest={levels[-1]}"
    return f"unet(depth={depth}, width={width}{deepest})"


def _interpolating(state: Mapping[str, Tensor], levels: list[int]) -> str:
    """The decoder, its channels named where they are not those it has by itself."""
    inner = _widths(state, "decoder.steps.{}.0.weight")
    widths = _widths(state, "decoder.steps.{}.3.weight")
    skips = levels[-2::-1]
    options = []
    if inner != [
        (before + s) // 2 for before, s in zip([levels[-1], *widths], skips, strict=False)
    ]:
        options.append(f"inner={inner}")
    if widths != [*skips[1:], skips[-1]]:
        options.append(f"widths={widths}")
    return f"unet_bilinear({', '.join(options)})" if options else "unet_bilinear"


def _widths(state: Mapping[str, Tensor], name: str) -> list[int]:
    """The first dimensions of the tensors with that name, numbered from 0."""
    present = itertools.takewhile(state.__contains__, map(name.format, itertools.count()))
    return [len(state[each]) for each in present]
