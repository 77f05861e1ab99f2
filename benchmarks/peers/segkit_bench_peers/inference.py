"""From 8-bit images to 8-bit label maps: SMP's network in a plain loop, and segkit's predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segkit_bench_peers.loop import (
    IMAGES_IN_TURN,
    PlainLoop,
    Precision,
    Variant,
    keeps_freed_memory,
)
from segkit_bench_peers.networks import installed

if TYPE_CHECKING:
    from segkit.model.network import SegmentationModel

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Labels of float32 in another order of additions: pixels that may differ, of random weights.
DIFFERING = 1e-3


class SmpLabels(PlainLoop):
    """segmentation_models_pytorch.Unet as a function from pixels to labels.

    encoder   its name there
    variant   default: NCHW and no_grad; best: channels-last and inference_mode
    """

    def __init__(
        self,
        device: str,
        *,
        encoder: str = "densenet121",
        size: int = 512,
        batch: int = 2,
        classes: int = 21,
        precision: Precision = "fp32",
        variant: Variant = "default",
    ) -> None:
        super().__init__(
            device, mode="infer", size=size, batch=batch, classes=classes,
            precision=precision, variant=variant,
        )  # fmt: skip
        self.encoder = encoder

    def network(self) -> nn.Module:
        return smp_network(self.encoder, self.classes)

    def set_up(self) -> None:
        torch.manual_seed(0)
        self.layout = torch.channels_last if self.best else torch.contiguous_format
        self.model = self.network().to(self.device).to(memory_format=self.layout).eval()
        self.pictures = pictures(self.size)
        self.scaling = [
            torch.tensor(each).reshape(1, 3, 1, 1).to(self.device) for each in (MEAN, STD)
        ]

    def run(self) -> int:
        self.turn += 1
        self.labels(turned(self.pictures, self.turn, self.batch))
        return self.batch

    def labels(self, images: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        pixels = torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2)
        mean, std = self.scaling
        image_BCHW = ((pixels / 255 - mean) / std).contiguous(memory_format=self.layout)
        with torch.inference_mode() if self.best else torch.no_grad(), self._autocast():
            logits_BKHW: Tensor = self.model(image_BCHW)
        return list(logits_BKHW.argmax(dim=1).to(torch.uint8).cpu().numpy())

    def check(self) -> tuple[float, float]:
        """Nothing to be held against: these labels are the measure."""
        return 0.0, 0.0


class SegkitLabels(PlainLoop):
    """segkit's predictor, over its own network or SMP's very one with the same weights.

    network   segkit: densenet121 with the decoder unet; smp: SMP's, through segkit-smp
    upsampler of segkit's own network
    rewrites  whether the network is rewritten: norms folded, doubled maps convolved undoubled
    streams   whether each image of a batch has a thread of its own
    allocator whether freed memory is kept, as `segkit predict` has it
    """

    def __init__(
        self,
        device: str,
        *,
        network: Literal["segkit", "smp"] = "segkit",
        upsampler: str = "bilinear",
        rewrites: bool = True,
        streams: bool = True,
        allocator: bool = False,
        size: int = 512,
        batch: int = 2,
        classes: int = 21,
        precision: Precision = "fp32",
    ) -> None:
        super().__init__(
            device, mode="infer", size=size, batch=batch, classes=classes,
            precision=precision, variant="best",
        )  # fmt: skip
        self.kind, self.upsampler = network, upsampler
        self.rewrites, self.streams, self.allocator = rewrites, streams, allocator

    def network(self) -> nn.Module:
        from segkit import build_model

        if self.kind == "segkit":
            return build_model("densenet121", "unet", self.upsampler, num_classes=self.classes)
        return over_smp(smp_network("densenet121", self.classes), self.classes)

    def set_up(self) -> None:
        from segkit.inference.predictor import Predictor

        if self.allocator:
            keeps_freed_memory()
        torch.manual_seed(0)
        self.model = self.network().to(self.device).eval()
        self.pictures = pictures(self.size)
        model = cast("SegmentationModel", self.model)
        self.predictor = Predictor(model, self.device, self.precision, rewrites=self.rewrites)
        if not self.streams:
            # Several threads for one operation, as everywhere else.
            network: Any = self.predictor.network
            network.labels = network._labels

    def run(self) -> int:
        self.turn += 1
        self.predictor.label_maps(turned(self.pictures, self.turn, self.batch), 255.0)
        return self.batch

    def check(self) -> tuple[float, float]:
        """Share of pixels whose label differs from that of the same weights run plainly, and how
        many may; in bfloat16 random weights tell nothing of a trained network's score."""
        plain = self.predictor.model
        image = self.pictures[0]
        found = self.predictor.label_maps([image], 255.0)[0]
        pixels = torch.from_numpy(image).to(self.device).permute(2, 0, 1)[None]
        with torch.inference_mode():
            expected = plain(plain.normalize(pixels)).argmax(dim=1)[0].cpu().numpy()
        share = float((found != expected).mean())
        return share, DIFFERING if self.precision == "fp32" else 1.0


def smp_network(encoder: str, classes: int) -> nn.Module:
    """SMP's Unet at random weights."""
    smp = installed("segmentation_models_pytorch", "segmentation-models-pytorch")
    network: nn.Module = smp.Unet(encoder, encoder_weights=None, classes=classes)
    return network


def over_smp(theirs: nn.Module, classes: int) -> nn.Module:
    """The same network with the same weights as segkit builds it."""
    from segkit import build_model

    ours: Any = build_model("smp/densenet121", "smp/unet", num_classes=classes)
    given: Any = theirs
    ours.encoder.network.load_state_dict(given.encoder.state_dict())
    ours.decoder.decoder.load_state_dict(given.decoder.state_dict())
    ours.head.load_state_dict(given.segmentation_head[0].state_dict())
    network: nn.Module = ours
    return network


def pictures(size: int) -> list[NDArray[np.uint8]]:
    """Random images (size, size, 3)."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(IMAGES_IN_TURN)]


def turned(images: list[NDArray[np.uint8]], turn: int, batch: int) -> list[NDArray[np.uint8]]:
    """The next so many images."""
    return [images[(turn * batch + each) % len(images)] for each in range(batch)]
