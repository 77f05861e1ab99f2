"""The peers: segmentation-models-pytorch, MONAI, torchvision, and the classic U-Net as written by
its many re-implementers."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from torch import Tensor, nn
from torch.nn import functional as F

from segkit.api import EnvironmentFault
from segkit_bench_peers.classic import ClassicUnetNetwork
from segkit_bench_peers.loop import Mode, PlainLoop, Precision, Variant


class SmpUnet(PlainLoop):
    """segmentation_models_pytorch.Unet with its DiceLoss and cross-entropy.

    encoder   its name there
    variant   default: as its documentation; best: channels-last and fused AdamW
    """

    def __init__(
        self,
        device: str,
        *,
        encoder: str = "resnet18",
        mode: Mode = "train",
        size: int = 256,
        batch: int = 4,
        classes: int = 21,
        precision: Precision = "fp32",
        variant: Variant = "default",
    ) -> None:
        super().__init__(
            device, mode=mode, size=size, batch=batch, classes=classes,
            precision=precision, variant=variant,
        )  # fmt: skip
        self.encoder = encoder

    def network(self) -> nn.Module:
        smp = installed("segmentation_models_pytorch", "segmentation-models-pytorch")
        network: nn.Module = smp.Unet(self.encoder, encoder_weights=None, classes=self.classes)
        return network

    def loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        smp = installed("segmentation_models_pytorch", "segmentation-models-pytorch")
        dice = smp.losses.DiceLoss(mode="multiclass", ignore_index=255)

        def both(logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
            return dice(logits_BKHW, target_BHW) + F.cross_entropy(
                logits_BKHW, target_BHW, ignore_index=255
            )

        return both


class ClassicUnet(PlainLoop):
    """The U-Net of 64 to 1024 channels with batch norm and transposed convolutions, and soft Dice
    with cross-entropy, written for this comparison.

    variant   default: plain; best: channels-last and fused AdamW
    """

    def __init__(
        self,
        device: str,
        *,
        mode: Mode = "train",
        size: int = 256,
        batch: int = 4,
        classes: int = 21,
        precision: Precision = "fp32",
        variant: Variant = "default",
    ) -> None:
        super().__init__(
            device, mode=mode, size=size, batch=batch, classes=classes,
            precision=precision, variant=variant,
        )  # fmt: skip

    def network(self) -> nn.Module:
        return ClassicUnetNetwork(self.classes)

    def loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        classes = self.classes

        def both(logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
            probability_BKHW = logits_BKHW.softmax(dim=1)
            truth_BKHW = F.one_hot(target_BHW, classes).permute(0, 3, 1, 2).float()
            overlap = (probability_BKHW * truth_BKHW).sum()
            dice = 1 - 2 * overlap / (probability_BKHW.sum() + truth_BKHW.sum())
            return dice + F.cross_entropy(logits_BKHW, target_BHW)

        return both


class MonaiUnet(PlainLoop):
    """monai.networks.nets.BasicUNet at 64 to 1024 channels with DiceCELoss.

    variant   default: as its documentation; best: channels-last and fused AdamW
    """

    def __init__(
        self,
        device: str,
        *,
        mode: Mode = "train",
        size: int = 256,
        batch: int = 4,
        classes: int = 21,
        precision: Precision = "fp32",
        variant: Variant = "default",
    ) -> None:
        super().__init__(
            device, mode=mode, size=size, batch=batch, classes=classes,
            precision=precision, variant=variant,
        )  # fmt: skip

    def network(self) -> nn.Module:
        nets = installed("monai.networks.nets", "monai")
        network: nn.Module = nets.BasicUNet(
            spatial_dims=2,
            in_channels=3,
            out_channels=self.classes,
            features=(64, 128, 256, 512, 1024, 64),
        )
        return network

    def loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        losses = installed("monai.losses", "monai")
        criterion = losses.DiceCELoss(to_onehot_y=True, softmax=True)

        def with_channel(logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
            value: Tensor = criterion(logits_BKHW, target_BHW[:, None])
            return value

        return with_channel


class TorchvisionFcn(PlainLoop):
    """torchvision's fcn_resnet50 with cross-entropy.

    variant   default: as its documentation; best: channels-last and fused AdamW
    """

    def __init__(
        self,
        device: str,
        *,
        mode: Mode = "train",
        size: int = 256,
        batch: int = 4,
        classes: int = 21,
        precision: Precision = "fp32",
        variant: Variant = "default",
    ) -> None:
        super().__init__(
            device, mode=mode, size=size, batch=batch, classes=classes,
            precision=precision, variant=variant,
        )  # fmt: skip

    def network(self) -> nn.Module:
        models = installed("torchvision.models.segmentation", "torchvision")
        network: nn.Module = models.fcn_resnet50(
            weights=None, weights_backbone=None, num_classes=self.classes
        )
        return network

    def logits(self, model: nn.Module, image_BCHW: Tensor) -> Tensor:
        output: Tensor = model(image_BCHW)["out"]
        return output


def installed(module: str, distribution: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise EnvironmentFault(
            "SK-E003",
            f"{distribution} cannot be imported ({error}).",
            f"python -m pip install {distribution}",
        ) from error
