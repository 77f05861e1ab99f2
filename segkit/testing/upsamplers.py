"""Checks of an upsampler's contract."""

from __future__ import annotations

import torch
from torch import Tensor

from segkit.testing.conduct import conduct_checks
from segkit.testing.gradients import INPUT_CHECKS
from segkit.testing.modules import MODULE_CHECKS
from segkit.testing.places import (
    BUILDS,
    lies_at,
    line_through,
    responses,
    symmetric,
    symmetric_map,
)
from segkit.testing.subject import Check, NotApplicable, Subject, require
from segkit.testing.trials import BATCH, module_use, upsampler_trial

HEIGHT, WIDTH = 12, 16
# Pixels of the input, along each side, whose response the border may cut.
BORDER = 3


def declares_channels_and_needs(subject: Subject) -> None:
    """channels equals out_channels, and needs_pool_indices is True or False.

    Mend: set self.channels = out_channels and needs_pool_indices = False (True for unpooling).
    """
    for out_channels in (4, 6):
        upsampler = subject.build(in_channels=8, out_channels=out_channels, scale=2)
        found = getattr(upsampler, "channels", None)
        require(found == out_channels, f"channels is {found}, asked for were {out_channels}")
        needs = getattr(upsampler, "needs_pool_indices", None)
        require(isinstance(needs, bool), f"needs_pool_indices is {needs!r}")


BASIC = declares_channels_and_needs


def doubles_exactly(subject: Subject) -> None:
    """Twice the size, neither side square: (B, out_channels, h, w).

    Mend: return exactly (B, out_channels, *size): size is (height, width).
    """
    _sizes_hold(subject, scale=2, sizes=[(8, 12), (12, 4)])


def quadruples_exactly(subject: Subject) -> None:
    """Four times the size: (B, out_channels, h, w), or refused with a reason.

    Mend: build for the scale that is asked for, or refuse it: raise UsageError("SK-C007",
    what, what would work).
    """
    _sizes_hold(subject, scale=4, sizes=[(16, 24)])


def enlarges_eightfold(subject: Subject) -> None:
    """Eight times the size: (B, out_channels, h, w), or refused with a reason.

    Mend: build for the scale that is asked for, or refuse it: raise UsageError("SK-C007", what,
    what would work).
    """
    _sizes_hold(subject, scale=8, sizes=[(16, 24)])


def odd_sizes_are_exact(subject: Subject) -> None:
    """Sizes that are not twice the input's are met: (9, 13) and (9, 12) from (4, 6).

    Mend: end with torch.nn.functional.interpolate(x, size=size), or cut and pad to size: twice
    the input is not always what is asked for.
    """
    _sizes_hold(subject, scale=2, sizes=[(9, 13), (9, 12)])


def smaller_sizes_are_exact(subject: Subject) -> None:
    """Sizes just below twice the input's are met: (7, 11) from (4, 6).

    Mend: cut what is too much: an odd map was halved upwards before.
    """
    upsampler = subject.build(in_channels=8, out_channels=4, scale=2).eval()
    if upsampler.needs_pool_indices:
        raise NotApplicable("pooling never leads from (7, 11) to (4, 6)")
    with torch.no_grad():
        out_BCHW = upsampler(torch.randn(BATCH, 8, 4, 6), (7, 11))
    found = tuple(out_BCHW.shape)
    require(found == (BATCH, 4, 7, 11), f"asked for (7, 11), it returns {found}")


def keeps_a_single_pixel(subject: Subject) -> None:
    """A map of one pixel, the deepest there is, can be enlarged too.

    Mend: use no normalisation over the pixels of a map, and no reflecting padding.
    """
    _sizes_hold(subject, scale=2, sizes=[(2, 2), (3, 2)])


def keeps_everything_in_its_place(subject: Subject) -> None:
    """What one pixel of the input changes has its centre of mass where that pixel lies, as a share
    of height and width: nothing is turned, shifted, shrunk or drawn towards the borders.

    Mend: treat pixels as areas (align_corners=False, the default of interpolate), give size as
    (height, width), and pad a convolution by half of its kernel on every side.
    """
    for scale in (2, 4, 8):
        try:
            _places_hold(subject, scale)
        except NotApplicable:
            if scale == 2:
                raise


CHECKS: tuple[Check, ...] = (
    declares_channels_and_needs,
    doubles_exactly,
    quadruples_exactly,
    enlarges_eightfold,
    odd_sizes_are_exact,
    smaller_sizes_are_exact,
    keeps_a_single_pixel,
    keeps_everything_in_its_place,
    *INPUT_CHECKS,
    *MODULE_CHECKS,
    *conduct_checks(module_use),
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


def _places_hold(subject: Subject, scale: int) -> None:
    size = HEIGHT * scale, WIDTH * scale
    places = [
        (row, column)
        for row in range(BORDER, HEIGHT - BORDER)
        for column in range(BORDER, WIDTH - BORDER)
    ]
    x_N2 = lies_at(places, HEIGHT, WIDTH)
    found_BN2 = torch.stack([_centres(subject, scale, size, places) for _ in range(BUILDS)])
    y_N2 = found_BN2.nanmean(dim=0)
    require(not bool(y_N2.isnan().any()), "a pixel of the input changes nothing in the output")
    # What puts a pixel into the first place of its block, as unpooling and transposed convolutions
    # with an odd kernel do, is (scale - 1) / 2 output pixels off by design: the offset is known.
    for axis, name in enumerate(("height", "width")):
        slope, shift = line_through(x_N2[:, axis], y_N2[:, axis])
        shift *= size[axis]
        # From the first pixel's centre to the last one's, in pixels of the output.
        drift = (slope - 1) * (size[axis] - scale)
        require(
            abs(drift) <= 0.5 * (scale - 1),
            f"at scale {scale} pixels move by {drift:+.1f} output pixels from one end of the "
            f"{name} to the other (the content is {slope:.0%} as large as it should be)",
        )
        require(
            abs(shift) <= (scale - 1) / 2 + 0.25,
            f"at scale {scale} the content lies {shift:+.1f} output pixels off along the {name}",
        )


def _centres(
    subject: Subject, scale: int, size: tuple[int, int], places: list[tuple[int, int]]
) -> Tensor:
    trial = upsampler_trial(subject, in_channels=8, out_channels=4, scale=scale, size=size)
    upsampler = symmetric(trial.build())
    indices = trial.arguments[2]

    def answer(x_NCHW: Tensor) -> Tensor:
        repeated = None if indices is None else indices[:1].expand(len(x_NCHW), -1, -1, -1)
        out_NCHW: Tensor = upsampler(x_NCHW, size, repeated)
        return out_NCHW

    return responses(answer, symmetric_map(1, 8, HEIGHT, WIDTH), places)
