"""From logits to label maps: the class of the largest logit, exactly as torch.argmax names it.

On the CPU block by block, so that a block's values stay in the cache: the largest value of each
pixel, which classes hold it, the first of those. Each is one vector operation over all classes;
torch.argmax over the classes is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

# Values in a block: smaller ones spend their time on calls, larger ones leave the cache.
CPU_BLOCK, DEVICE_BLOCK = 2**20, 2**25
# The most classes whose ranks the type holds exactly.
HALF_TYPES = {torch.bfloat16: 2**8, torch.float16: 2**11}
INTEGERS = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}
# So many classes have their largest value found in two steps.
MANY = range(100, 500)


@torch.no_grad()
def most_likely(logits_BKHW: Tensor) -> Tensor:
    """The class of the largest logit, label_BHW: uint8 up to 256 classes, int32 beyond.

    As torch.argmax(dim=1): of equal logits the first class; NaN is larger than any number.
    Of a network with one output: 1 (foreground) where it is above 0, else 0 (background).
    """
    if logits_BKHW.shape[1] == 1:
        return (logits_BKHW[:, 0] > 0).to(torch.uint8)
    label_BHW = _no_labels(logits_BKHW, *logits_BKHW.shape[-2:])
    if not _by_blocks(logits_BKHW):
        return label_BHW.copy_(logits_BKHW.argmax(dim=1))
    room = _room(logits_BKHW)
    for image, rows, columns in _parts(logits_BKHW):
        part_KHW = logits_BKHW[image, :, rows, columns]
        fill = partial(_own_copy, part_KHW, room)
        label = _first_largest(fill(), fill)
        label_BHW[image, rows, columns] = label.view(part_KHW.shape[1:])
    return label_BHW


@torch.no_grad()
def most_likely_enlarged(
    coarse_BKHW: Tensor,
    size: tuple[int, int],
    *,
    align_corners: bool = False,
    crop: tuple[int, int] | None = None,
) -> Tensor:
    """`most_likely` of logits enlarged to size, bilinearly, without ever holding them.

    crop   the rows and columns wanted, from the top left; None: all

    The labels of F.interpolate(coarse_BKHW, size, mode="bilinear") in float32 or wider: bands of
    rows are enlarged, in the order of additions it has for large contiguous tensors.
    """
    height, width = crop or size
    if coarse_BKHW.dtype in HALF_TYPES:
        coarse_BKHW = coarse_BKHW.float()
    label_BHW = _no_labels(coarse_BKHW, height, width)
    lines = _Lines(coarse_BKHW, size[0], align_corners)
    at_once = max(1, _block(coarse_BKHW) // (coarse_BKHW.shape[1] * size[1]))
    for image, coarse_KHW in enumerate(coarse_BKHW):
        coarse_KHW = rows_of_classes(coarse_KHW).transpose(0, 1)
        for start in range(0, height, at_once):
            rows = slice(start, min(start + at_once, height))
            band = partial(lines.enlarged, coarse_KHW, rows, size[1])
            if _by_blocks(coarse_BKHW):
                label = _first_largest(band(), band)
            else:
                label = most_likely(band()[None, :, None])
            label_BHW[image, rows] = label.view(-1, size[1])[:, :width]
    return label_BHW


def label_rows(fill: Callable[[], Tensor]) -> Tensor:
    """most_likely of values (R, K, W) that fill() returns, to be overwritten: labels (R, W).

    fill is called once more where there is NaN, and has to return the same values.
    """
    value_RKW = fill()
    if value_RKW.shape[1] == 1:
        return (value_RKW[:, 0] > 0).to(torch.uint8)
    if not _by_blocks(value_RKW):
        return value_RKW.argmax(dim=1).to(label_type(value_RKW.shape[1]))
    return _first_largest(value_RKW, fill)


def rows_of_classes(logits_KHW: Tensor) -> Tensor:
    """The same as (H, K, W), a view or a copy: classes that lie side by side are drawn apart."""
    if not _classes_are_neighbours(logits_KHW):
        return logits_KHW.transpose(0, 1)
    classes, height, width = logits_KHW.shape
    line_1XH1 = logits_KHW.permute(1, 2, 0).reshape(1, height, 1, -1).permute(0, 3, 1, 2)
    # Of torch's ways to transpose the one with vector instructions, 4 to 8 times as fast as a copy.
    turned_1XH1 = torch.channel_shuffle(line_1XH1, width)
    return turned_1XH1.permute(0, 2, 3, 1).reshape(height, classes, width)


def _first_largest(value: Tensor, fill: Callable[[], Tensor]) -> Tensor:
    """Which of the classes is the first with the largest value, of the type of the values.

    value   (..., K, N), overwritten
    fill    returns the same values again
    """
    classes = value.shape[-2]
    largest = _largest(value)
    # The first class has the highest rank, the last has 1; what is not the largest gets 0.
    rank_K1 = torch.arange(classes, 0, -1, device=value.device).to(value.dtype)[:, None]
    rank = _amax_of_ranks(value.eq_(largest).mul_(rank_K1))
    if bool(rank.all()):
        return classes - rank
    # NaN equals nothing, itself neither.
    return fill().argmax(dim=-2)


def _largest(value: Tensor) -> Tensor:
    """Of every pixel, (..., 1, N); NaN where a class has it."""
    classes = value.shape[-2]
    if classes not in MANY or value.dtype in HALF_TYPES:
        return value.amax(dim=-2, keepdim=True)
    # In two steps: so many rows at once are more than some cores fetch ahead (1.7 times as fast on
    # an EPYC, a tie on a Xeon).
    group = math.isqrt(classes)
    whole = classes // group * group
    groups = value[..., :whole, :].unflatten(-2, (-1, group)).amax(dim=-2)
    largest = groups.amax(dim=-2, keepdim=True)
    if whole == classes:
        return largest
    return torch.maximum(largest, value[..., whole:, :].amax(dim=-2, keepdim=True))


def _amax_of_ranks(rank: Tensor) -> Tensor:
    # Numbers that are not negative are ordered as their bits are, and integers are compared faster.
    bits = INTEGERS.get(rank.dtype)
    return rank.amax(dim=-2) if bits is None else rank.view(bits).amax(dim=-2).view(rank.dtype)


def _own_copy(part_KHW: Tensor, room: Tensor) -> Tensor:
    """A part's values in the cache: (K, H * W), or (H, K, W) where classes lie side by side.

    The copy is what makes the rest quick: classes are far apart in memory, or too near.
    """
    if _classes_are_neighbours(part_KHW) and part_KHW.dtype == room.dtype:
        return rows_of_classes(part_KHW)
    return room[: part_KHW.numel()].view(part_KHW.shape).copy_(part_KHW).flatten(1)


def _classes_are_neighbours(logits_KHW: Tensor) -> bool:
    """Whether a pixel's classes do lie so, as in channels-last memory, on the CPU."""
    on_cpu = logits_KHW.device.type == "cpu"
    return on_cpu and logits_KHW.stride(0) == 1 and logits_KHW.stride(2) != 1


class _Lines:
    """Rows of an enlarged image: which two coarse rows each lies between, and how far.

    A band is enlarged along its rows first, then across them.
    """

    def __init__(self, coarse_BKHW: Tensor, rows: int, align_corners: bool) -> None:
        coarse = coarse_BKHW.shape[2]
        place_R = torch.arange(rows, dtype=torch.float32)
        if align_corners:
            place_R = place_R * torch.tensor((coarse - 1) / max(rows - 1, 1))
        else:
            place_R = ((place_R + 0.5) * torch.tensor(coarse / rows) - 0.5).clamp(min=0)
        self.above_R = place_R.long().clamp(max=coarse - 1)
        self.below_R = (self.above_R + 1).clamp(max=coarse - 1)
        self.share_R1 = (place_R - self.above_R).clamp(0, 1).to(coarse_BKHW.dtype)[:, None]
        self.align_corners = align_corners

    def enlarged(self, coarse_KHW: Tensor, rows: slice, width: int) -> Tensor:
        """So many of the rows, (K, R * width)."""
        above_R, below_R = self.above_R[rows], self.below_R[rows]
        first, last = int(above_R[0]), int(below_R[-1])
        wide_KhW = F.interpolate(
            coarse_KHW[:, first : last + 1], width, mode="linear", align_corners=self.align_corners
        )
        device = coarse_KHW.device
        share_R1 = self.share_R1[rows].to(device)
        band_KRW = wide_KhW.index_select(1, (below_R - first).to(device)).mul_(share_R1)
        other_KRW = wide_KhW.index_select(1, (above_R - first).to(device))
        return band_KRW.addcmul_(other_KRW, 1 - share_R1).flatten(1)


def _parts(logits_BKHW: Tensor) -> Iterator[tuple[int, slice, slice]]:
    """(image, rows, columns) of every block."""
    images, classes, height, width = logits_BKHW.shape
    columns = max(1, min(width, CPU_BLOCK // classes))
    rows = max(1, CPU_BLOCK // (classes * columns))
    for image in range(images):
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                yield image, slice(top, top + rows), slice(left, left + columns)


def _room(logits_BKHW: Tensor) -> Tensor:
    """Space for one block, in a type that holds every rank."""
    classes, dtype = logits_BKHW.shape[1], logits_BKHW.dtype
    if classes > HALF_TYPES.get(dtype, classes):
        dtype = torch.float32
    values = min(max(CPU_BLOCK, classes), logits_BKHW[:1].numel())
    return torch.empty(values, dtype=dtype)


def label_type(classes: int) -> torch.dtype:
    """The type of a label map: the least that names every class."""
    return torch.uint8 if classes <= 256 else torch.int32


def _no_labels(logits_BKHW: Tensor, height: int, width: int) -> Tensor:
    images, classes = logits_BKHW.shape[:2]
    return logits_BKHW.new_empty((images, height, width), dtype=label_type(classes))


def _block(logits_BKHW: Tensor) -> int:
    return CPU_BLOCK if logits_BKHW.device.type == "cpu" else DEVICE_BLOCK


def _by_blocks(logits_BKHW: Tensor) -> bool:
    """Whether most_likely's own way applies: more than a class, floating point, on the CPU."""
    return (
        logits_BKHW.device.type == "cpu"
        and logits_BKHW.is_floating_point()
        and logits_BKHW.shape[1] > 1
        and not torch.compiler.is_compiling()
    )
