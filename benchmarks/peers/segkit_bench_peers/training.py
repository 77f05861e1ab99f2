"""The whole training step, loss and metric included: SMP's in a plain loop, and segkit's own.

Both see the same random images and label maps of 16 x 16 blocks. SMP's images come normalised,
segkit's as 8-bit pixels that the step normalises. Beyond SMP's step, segkit's clips the gradient's
norm and follows the weights with their average, as `segkit train` does.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from segkit_bench_peers.loop import (
    IMAGES_IN_TURN,
    PlainLoop,
    Precision,
    Variant,
    keeps_freed_memory,
)
from segkit_bench_peers.networks import SmpUnet, installed

if TYPE_CHECKING:
    from segkit.model.network import SegmentationModel

IGNORED = 255
Without = Literal[
    "nothing",
    "channels_last",
    "coarse_convolution",
    "one_pass_losses",
    "fused_optimizer",
]


class SmpTraining(SmpUnet):
    """segmentation_models_pytorch.Unet, its DiceLoss with cross-entropy, and torchmetrics' Jaccard
    index of the batch's labels.

    encoder   its name there
    variant   default: as the documentations have it; best: channels-last, fused AdamW, and the
              metric without validation
    allocator whether freed memory is kept, as `segkit train` has it
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
        allocator: bool = False,
    ) -> None:
        super().__init__(
            device, encoder=encoder, size=size, batch=batch, classes=classes,
            precision=precision, variant=variant,
        )  # fmt: skip
        self.allocator = allocator

    def set_up(self) -> None:
        if self.allocator:
            keeps_freed_memory()
        super().set_up()
        metrics = installed("torchmetrics", "torchmetrics")
        self.metric = metrics.JaccardIndex(
            "multiclass",
            num_classes=self.classes,
            ignore_index=IGNORED,
            validate_args=not self.best,
        ).to(self.device)

    def run(self) -> int:
        self.turn = (self.turn + 1) % IMAGES_IN_TURN
        image_BCHW, target_BHW = self.images[self.turn], self.targets[self.turn]
        self.optimizer.zero_grad()
        with self._autocast():
            logits_BKHW = self.logits(self.model, image_BCHW)
        logits_BKHW = logits_BKHW.float()
        self.criterion(logits_BKHW, target_BHW).backward()
        self.optimizer.step()
        self.metric.update(logits_BKHW.detach().argmax(dim=1), target_BHW)
        return self.batch


class SegkitTraining(PlainLoop):
    """segkit's own step (segkit.training.loop), and the confusion matrix of the batch's labels.

    encoder, decoder, upsampler, loss   as `segkit train` takes them
    checkpoints                         activations are computed twice
    allocator                           freed memory is kept, as the command has it
    without                             one of its optimisations left out: see WITHOUT
    settings                            more of a training's settings, as [clip_norm=null]
    """

    def __init__(
        self,
        device: str,
        *,
        encoder: str = "densenet121",
        decoder: str = "unet",
        upsampler: str = "bilinear",
        loss: str = "dice+ce",
        size: int = 512,
        batch: int = 2,
        classes: int = 21,
        precision: Precision = "fp32",
        checkpoints: bool = False,
        allocator: bool = False,
        without: Without = "nothing",
        settings: tuple[str, ...] = (),
    ) -> None:
        super().__init__(
            device, mode="train", size=size, batch=batch, classes=classes,
            precision=precision, variant="best",
        )  # fmt: skip
        self.expressions = (encoder, decoder, upsampler)
        self.written, self.settings, self.checkpoints = loss, settings, checkpoints
        self.allocator, self.without = allocator, without

    def network(self) -> SegmentationModel:
        from segkit import build_model

        return build_model(*self.expressions, num_classes=self.classes, in_channels=3)

    def loss(self) -> nn.Module:
        from segkit import build_loss

        return build_loss(self.written, num_classes=self.classes, ignore_index=IGNORED)

    def set_up(self) -> None:
        from segkit.config import layered
        from segkit.data.batches import Batch
        from segkit.distributed import Group
        from segkit.model.activation_checkpointing import checkpoint_activations
        from segkit.scoring.evaluator import Evaluator
        from segkit.training.loop.loop import Loop
        from segkit.training.preparation.decisions import Length
        from segkit.training.preparation.setup import Setup

        if self.allocator:
            keeps_freed_memory()
        torch.manual_seed(0)
        if self.without in WITHOUT:
            WITHOUT[self.without]()
        group = Group(rank=0, world_size=1, local_processes=1, device=self.device)
        self.evaluator = Evaluator(
            "miou", num_classes=self.classes, ignore_index=IGNORED, group=group
        )
        channels_last = self.without != "channels_last"
        config = layered(
            options={
                "precision": self.precision,
                "lr": 1e-6,
                "epochs": 1,
                "batch": self.batch,
                "checkpoint_activations": self.checkpoints,
                "channels_last": channels_last,
            },
            assignments=self.settings,
        )
        layout = torch.channels_last if channels_last else torch.contiguous_format
        model = self.network().to(self.device).to(memory_format=layout).train()
        self.model = model
        if self.checkpoints:
            checkpoint_activations(model)
        setup = Setup(
            config=config,
            group=group,
            data=_stand_in_data(self.classes),
            model=model,
            loss=self.loss().to(self.device),
            loader=_stand_in(ignore_index=IGNORED, batches_per_epoch=1_000_000),
            evaluator=self.evaluator,
            length=Length(1),
        )
        self.loop = Loop(setup)
        self.hook = self.model.register_forward_hook(self._keep)
        self.inputs(layout)
        pixels = [((each + 3) * 42).clamp(0, 255).to(torch.uint8) for each in self.images]
        self.batches = [
            Batch(image_BCHW, target_BHW, None, tuple(map(str, range(self.batch))))
            for image_BCHW, target_BHW in zip(pixels, self.targets, strict=True)
        ]

    def run(self) -> int:
        self.turn = (self.turn + 1) % IMAGES_IN_TURN
        batch = self.batches[self.turn]
        self.loop.step(batch)
        self.evaluator.update(self._labels(), batch)
        return self.batch

    def check(self) -> tuple[float, float]:
        # A copy of the model would copy what its hook knows, the training under way among it.
        self.hook.remove()
        found = super().check()
        self.hook = self.model.register_forward_hook(self._keep)
        return found

    def _keep(self, model: nn.Module, given: Any, output: Any) -> None:
        self.output = output

    def _labels(self) -> Tensor:
        from segkit.model.labels import most_likely, most_likely_enlarged

        if isinstance(self.output, Tensor):
            return most_likely(self.output)
        coarse_BKhw, size, align_corners = self.output
        return most_likely_enlarged(
            coarse_BKhw, size, align_corners=align_corners, crop=(self.size, self.size)
        )


def _without_coarse_convolution() -> None:
    from segkit_upsamplers import coarse_convolution

    coarse_convolution.LEAST_CHANNELS = 2**31


def _without_one_pass_losses() -> None:
    from segkit_losses import one_pass

    one_pass._in_tiles = lambda logits: False


def _without_fused_optimizer() -> None:
    from functools import partial

    from segkit.training.loop import learner

    adamw = partial(torch.optim.AdamW, foreach=False)
    learner.torch.optim.AdamW = lambda *given, fused, **rest: adamw(*given, **rest)  # type: ignore


# Every case has a process of its own, so that what is left out stays out.
WITHOUT: dict[str, Callable[[], None]] = {
    "coarse_convolution": _without_coarse_convolution,
    "one_pass_losses": _without_one_pass_losses,
    "fused_optimizer": _without_fused_optimizer,
}


def _stand_in(**attributes: Any) -> Any:
    """Of data and loader, what a step asks for."""
    return SimpleNamespace(**attributes)


def _stand_in_data(classes: int) -> Any:
    return _stand_in(
        classes=[str(each) for each in range(classes)],
        full_scale=255.0,
        palette=[],
        ignore_index=IGNORED,
        in_channels=3,
        intensity=_stand_in(record=dict),
        reading=_stand_in(record=dict),
        rule="",
        contents={},
    )
