"""Object numbers of images by the model's own separation; in tiles, their maps are blended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.device import autocast, ran_out_of_memory
from segkit.inference.objects import find_objects, numbered_map, separates_by_boundary
from segkit.inference.predictor import Predictor, as_pixels
from segkit.inference.tiling import Span, Tiling, tiled_labels, window
from segkit.model.network import CoarseLogits
from segkit.separation.named import build_separation
from segkit.separation.watershed import without_specks


class Found(NamedTuple):
    """label_HW, and the maps (M, H, W) that objects are separated by; None where none are."""

    label_HW: NDArray[np.integer]
    maps_MHW: NDArray[np.float32] | None

    def numbers(
        self, predictor: Predictor, background: int, least_area: int | None = None
    ) -> NDArray[np.int32] | None:
        """(H, W), a number from 1 for each object that the model separates, 0 elsewhere; None of a
        model that separates none.

        least_area   pixels of the smallest object, in place of what training has measured
        """
        if self.maps_MHW is None:
            return None
        separation = build_separation(predictor.model.record.separation)
        number_HW = separation.decode(self.maps_MHW, self.label_HW != background)
        return without_specks(number_HW, least_area or separation.least_area)


def find(
    predictor: Predictor,
    image_HWC: NDArray[np.generic],
    full_scale: float,
    tiling: Tiling | None = None,
    label_HW: NDArray[np.integer] | None = None,
) -> Found:
    """Labels and maps of one image, from one pass of the network; raises OutOfMemory SK-T002.

    label_HW   the labels, where they are known already
    """
    tiling = tiling or predictor.tiling
    if not predictor.model.record.separation:
        if label_HW is None:
            (label_HW,) = predictor.label_maps([image_HWC], full_scale, tiling)
        return Found(label_HW, None)
    try:
        label_BHW, maps_BMHW, _ = _passed(predictor, as_pixels(image_HWC[None]), full_scale, tiling)
        if label_HW is None:
            label_HW = label_BHW[0].cpu().numpy()
        return Found(label_HW, maps_BMHW[0].float().cpu().numpy())
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        raise predictor.too_large(image_HWC, tiling) from error


def separates(predictor: Predictor) -> bool:
    """Whether the model tells objects apart that touch."""
    record = predictor.model.record
    return bool(record.separation) or separates_by_boundary(record.classes)


def separated(
    predictor: Predictor, pixels_BCHW: Tensor, full_scale: float
) -> tuple[Tensor, Tensor, CoarseLogits | None]:
    """label_BHW and objects_BHW, numbered from 1, of a model that separates objects, on the device;
    and the network's output, where images were not cut into tiles."""
    record, output, maps_BMHW = predictor.model.record, None, None
    if record.separation:
        label_BHW, maps_BMHW, output = _passed(predictor, pixels_BCHW, full_scale, predictor.tiling)
    elif predictor.tiling is None:
        label_BHW, output = predictor.labelled(pixels_BCHW, full_scale)
    else:
        label_BHW = predictor.labels(pixels_BCHW, full_scale)
    numbers = []
    for image, label_HW in enumerate(label_BHW.cpu().numpy()):
        maps_MHW = None if maps_BMHW is None else maps_BMHW[image].float().cpu().numpy()
        number_HW = Found(label_HW, maps_MHW).numbers(predictor, record.background)
        if number_HW is None:
            objects = find_objects(label_HW, record.classes)
            number_HW = numbered_map(objects, label_HW.shape).astype(np.int32)
        numbers.append(torch.from_numpy(number_HW).long())
    return label_BHW, torch.stack(numbers).to(label_BHW.device), output


@torch.no_grad()
def _passed(
    predictor: Predictor, pixels_BCHW: Tensor, full_scale: float, tiling: Tiling | None
) -> tuple[Tensor, Tensor, CoarseLogits | None]:
    """label_BHW, maps_BMHW and, of whole images, the network's output."""
    if tiling is None or tiling.holds(pixels_BCHW):
        label_BHW, output = predictor.labelled(pixels_BCHW, full_scale)
        return label_BHW, predictor.maps(output, pixels_BCHW.shape[-2:]), output
    found = [_in_tiles(predictor, each, full_scale, tiling) for each in pixels_BCHW]
    labels, maps = zip(*found, strict=True)
    return torch.stack(labels), torch.stack(maps), None


def _in_tiles(
    predictor: Predictor, pixels_CHW: Tensor, full_scale: float, tiling: Tiling
) -> tuple[Tensor, Tensor]:
    maps = _MapsOfTiles(pixels_CHW.shape[-2:], tiling)

    def logits_of(tile_BCHW: Tensor) -> Tensor:
        output = predictor.output(tile_BCHW, full_scale)
        maps.add(predictor.maps(output, tile_BCHW.shape[-2:]))
        with autocast(predictor.device, predictor.precision):
            return predictor.network.enlarged(output, tile_BCHW.shape[-2:])

    label_HW = tiled_labels(pixels_CHW, logits_of, tiling)
    return label_HW, maps.blended()


class _MapsOfTiles:
    """The maps of tiles, added in the order in which `tiled_labels` asks for them, as weighted."""

    def __init__(self, size: Sequence[int], tiling: Tiling) -> None:
        self.size, self.places = size, self._in_order(size, tiling)
        self.sum_MHW = self.weight_HW = torch.zeros(0)

    def add(self, maps_BMHW: Tensor) -> None:
        for maps_MHW in maps_BMHW.float():
            row, column = next(self.places)
            if not self.sum_MHW.numel():
                self.sum_MHW = maps_MHW.new_zeros((len(maps_MHW), *self.size))
                self.weight_HW = maps_MHW.new_zeros(tuple(self.size))
            weight_hw = window(*maps_MHW.shape[-2:]).to(maps_MHW)
            rows, columns = slice(row.start, row.stop), slice(column.start, column.stop)
            self.sum_MHW[:, rows, columns] += weight_hw * maps_MHW
            self.weight_HW[rows, columns] += weight_hw

    def blended(self) -> Tensor:
        return self.sum_MHW / self.weight_HW

    def _in_order(self, size: Sequence[int], tiling: Tiling) -> Iterator[tuple[Span, Span]]:
        return ((row, column) for row in tiling.spans(size[0]) for column in tiling.spans(size[1]))
