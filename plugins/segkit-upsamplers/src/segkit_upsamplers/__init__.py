"""Upsamplers: the ways a decoder can enlarge a map, one name each. The README compares them.

Each module beside this one holds one family, its source and its options.
"""

from __future__ import annotations

from segkit.api import Factory, Upsampler, hookimpl
from segkit_upsamplers.carafe import Carafe
from segkit_upsamplers.dysample import DySample
from segkit_upsamplers.interpolation import Bicubic, Bilinear, Nearest
from segkit_upsamplers.pixel_shuffle import PixelShuffle
from segkit_upsamplers.transposed import TransposedUpsampler
from segkit_upsamplers.unpooling import BedOfNails, MaxUnpool

UPSAMPLERS: dict[str, Factory[Upsampler]] = {
    "nearest": Nearest,
    "bilinear": Bilinear,
    "bicubic": Bicubic,
    "transposed": TransposedUpsampler,
    "max_unpool": MaxUnpool,
    "bed_of_nails": BedOfNails,
    "pixel_shuffle": PixelShuffle,
    "carafe": Carafe,
    "dysample": DySample,
}


@hookimpl
def segkit_upsampler(name: str) -> Factory[Upsampler] | None:
    return UPSAMPLERS.get(name)
