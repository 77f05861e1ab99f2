"""Parameters that get no gradient in a step: several processes must know whether there are any."""

from __future__ import annotations

import copy

import torch
from torch import nn

from segkit.config import TrainConfig
from segkit.data.opening.opened import Data
from segkit.device import autocast, on_device
from segkit.distributed import Group
from segkit.model.loss_sum import loss_of, output_for, takes_instances
from segkit.model.network import SegmentationModel


def without_gradient(
    model: SegmentationModel, loss: nn.Module, data: Data, config: TrainConfig, group: Group
) -> tuple[str, ...]:
    """Names of parameters that a step leaves without a gradient, found by steps on copies.

    One step with an object in it and one without, since a loss may leave a head out where there is
    none. A borrowed encoder may own layers that its feature maps do not need.
    """
    device, size = group.device, int(config.size or 0)
    images = min(2, group.share_of(int(config.batch)) // config.accumulate)
    tried, spared = copy.deepcopy(model).train(), copy.deepcopy(loss)
    missing: dict[str, None] = {}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for objects in (1, 0):
            instances_BHW = torch.zeros(images, size, size, dtype=torch.int64)
            instances_BHW[:, size // 4 : size // 2, size // 4 : size // 2] = objects
            target_BHW = instances_BHW.clamp(max=len(data.classes) - 1)
            image_BCHW = torch.rand(images, data.in_channels, size, size) * data.full_scale
            tried.zero_grad(set_to_none=True)
            with autocast(device, config.precision):
                placed_BCHW = on_device(image_BCHW, device, config.channels_last)
                pixels_BCHW = tried.normalize(placed_BCHW, data.full_scale)
                output = output_for(spared, tried, pixels_BCHW)
            given = instances_BHW.to(device) if takes_instances(spared) else None
            loss_of(spared, output, target_BHW.to(device), given).backward()
            learning = (each for each in tried.named_parameters() if each[1].requires_grad)
            missing |= dict.fromkeys(name for name, each in learning if each.grad is None)
    return tuple(missing)
