"""Upsamplers: the ways a decoder can enlarge a map, one name each. The README compares them.

Each module below holds one family, its source and its options.
"""

from __future__ import annotations

from segkit.api import Factory, hookimpl

from segkit_upsamplers.interpolation import Bicubic, Bilinear, Nearest
from segkit_upsamplers.transposed import TransposedUpsampler

UPSAMPLERS: dict[str, Factory] = {
    "nearest": Nearest,
    "bilinear": Bilinear,
    "bicubic": Bicubic,
    "transposed": TransposedUpsampler,
}


@hookimpl
def segkit_upsampler(name: str) -> Factory | None:
    return UPSAMPLERS.get(name)
