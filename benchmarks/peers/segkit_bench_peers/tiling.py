"""Large images in tiles: MONAI's sliding window with argmax, and segkit's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from segkit_bench_peers.networks import installed

# Labels whose two largest sums differ in the last bits of float32.
DIFFERING, CHECKED = 1e-4, (700, 900)


class Tiles:
    """One image's labels from tiles that overlap, blended by a Gaussian.

    The network is replaced by logits that are there already: all that is measured is what the
    tiles cost beside it.

    method   monai: SlidingWindowInferer, then argmax; monai-best: with its weights kept from image
             to image; segkit: its own
    tile     side of a tile, pixels
    overlap  share of a tile that neighbours have in common
    """

    unit = "image"

    def __init__(
        self,
        device: str,
        *,
        method: Literal["monai", "monai-best", "segkit"] = "segkit",
        size: int = 2048,
        classes: int = 21,
        tile: int = 512,
        overlap: float = 0.25,
    ) -> None:
        self.device, self.method, self.size = torch.device(device), method, size
        self.classes, self.tile, self.overlap = classes, tile, overlap

    def set_up(self) -> None:
        torch.manual_seed(0)
        self.pixels_CHW = torch.randn(3, self.size, self.size).to(self.device)
        shape = (1, self.classes, min(self.tile, self.size), min(self.tile, self.size))
        logits_BKHW = torch.randn(shape).to(self.device)
        self.labels = self.labelling(lambda tile_BCHW: logits_BKHW)

    def labelling(self, network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """A function from pixels to labels."""
        if self.method == "segkit":
            from segkit.inference.tiling import Tiling, tiled_labels

            tiling = Tiling(self.tile, self.overlap)
            return lambda pixels_CHW: tiled_labels(pixels_CHW, network, tiling)
        inferer = self.inferer()
        return lambda pixels_CHW: inferer(pixels_CHW[None], network).argmax(dim=1)[0]

    def inferer(self) -> Any:
        inferers = installed("monai.inferers", "monai")
        return inferers.SlidingWindowInferer(
            (self.tile, self.tile),
            overlap=self.overlap,
            mode="gaussian",
            cache_roi_weight_map=self.method == "monai-best",
        )

    def run(self) -> int:
        with torch.inference_mode():
            self.labels(self.pixels_CHW)
        return 1

    def check(self) -> tuple[float, float]:
        """The share of labels that differ from MONAI's in float64, of a network that convolves."""
        network = nn.Conv2d(3, self.classes, 9, padding=4).to(self.device)
        pixels_CHW = torch.randn(3, *CHECKED).to(self.device)
        with torch.inference_mode():
            found_HW = self.labelling(network)(pixels_CHW)
            exact = self.inferer()(pixels_CHW[None].double(), network.double())
        return float((found_HW != exact[0].argmax(dim=0)).double().mean()), DIFFERING
