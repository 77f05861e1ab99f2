"""Checks of an upsampler's contract."""

from __future__ import annotations

import torch

from segkit.testing.modules import MODULE_CHECKS
from segkit.testing.subject import Check, NotApplicable, Subject, require
from segkit.testing.trials import BATCH, upsampler_trial


def declares_channels_and_needs(subject: Subject) -> None:
    """channels equals out_channels, and needs_pool_indices is True or False."""
    for out_channels in (4, 6):
        upsampler = subject.build(in_channels=8, out_channels=out_channels, scale=2)
        found = getattr(upsampler, "channels", None)
        require(found == out_channels, f"channels is {found}, asked for were {out_channels}")
        needs = getattr(upsampler, "needs_pool_indices", None)
        require(isinstance(needs, bool), f"needs_pool_indices is {needs!r}")


def doubles_exactly(subject: Subject) -> None:
    """Twice the size, neither side square: (B, out_channels, h, w)."""
    _sizes_hold(subject, scale=2, sizes=[(8, 12), (12, 4)])


def quadruples_exactly(subject: Subject) -> None:
    """Four times the size: (B, out_channels, h, w), or refused with a reason."""
    _sizes_hold(subject, scale=4, sizes=[(16, 24)])


def odd_sizes_are_exact(subject: Subject) -> None:
    """Sizes that are not twice the input's are met: (9, 13) and (9, 12) from (4, 6)."""
    _sizes_hold(subject, scale=2, sizes=[(9, 13), (9, 12)])


def smaller_sizes_are_exact(subject: Subject) -> None:
    """Sizes just below twice the input's are met: (7, 11) from (4, 6)."""
    upsampler = subject.build(in_channels=8, out_channels=4, scale=2).eval()
    if upsampler.needs_pool_indices:
        raise NotApplicable("pooling never leads from (7, 11) to (4, 6)")
    with torch.no_grad():
        out_BCHW = upsampler(torch.randn(BATCH, 8, 4, 6), (7, 11))
    found = tuple(out_BCHW.shape)
    require(found == (BATCH, 4, 7, 11), f"asked for (7, 11), it returns {found}")


def keeps_a_single_pixel(subject: Subject) -> None:
    """A map of one pixel, the deepest there is, can be enlarged too."""
    _sizes_hold(subject, scale=2, sizes=[(2, 2), (3, 2)])


CHECKS: tuple[Check, ...] = (
    declares_channels_and_needs,
    doubles_exactly,
    quadruples_exactly,
    odd_sizes_are_exact,
    smaller_sizes_are_exact,
    keeps_a_single_pixel,
    *MODULE_CHECKS,
)


def _sizes_hold(subject: Subject, *, scale: int, sizes: list[tuple[int, int]]) -> None:
    for in_channels, out_channels in ((8, 4), (6, 6), (4, 8)):
        for size in sizes:
            trial = upsampler_trial(
                subject, in_channels=in_channels, out_channels=out_channels, scale=scale, size=size
            )
            with torch.no_grad():
                found = tuple(trial.build().eval()(*trial.arguments).shape)
            require(found == (BATCH, out_channels, *size), f"asked for {size}, it returns {found}")
