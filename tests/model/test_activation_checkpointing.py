"""Activations computed twice: less is kept, and a training is the same in every number."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from segkit.config import layered
from segkit.device import device_errors
from segkit.distributed import Group
from segkit.errors import OutOfMemory, UsageError
from segkit.model.activation_checkpointing import (
    able_to_checkpoint,
    checkpoint_activations,
    recomputed,
    statistics_kept,
)
from segkit.model.compose import build_model
from segkit.training.training import less_memory, train


def kept_by(model: nn.Module, image_BCHW: Tensor) -> int:
    """Bytes of the maps that a forward pass keeps for its gradient."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(image_BCHW)
    assert output.requires_grad
    parameters = sum(each.untyped_storage().nbytes() for each in model.parameters())
    return sum(storages.values()) - parameters


@pytest.mark.parametrize(
    ("encoder", "decoder", "most"),
    [("unet(width=8)", "unet", 0.6), ("densenet121(depth=4)", "unet", 0.5)],
)
def test_a_checkpointed_network_keeps_much_less(encoder, decoder, most):
    plain, checkpointed = (
        build_model(encoder, decoder, "bilinear", num_classes=2, in_channels=3, weights="none")
        for _ in range(2)
    )
    checkpoint_activations(checkpointed)
    assert able_to_checkpoint(checkpointed) == ["encoder", "decoder"]
    image_BCHW = torch.randn(2, 3, 64, 64)
    assert kept_by(checkpointed, image_BCHW) < most * kept_by(plain, image_BCHW)


@pytest.mark.parametrize(
    "parts",
    [
        {"encoder": "unet(width=4, dropout=0.3)", "decoder": "unet(dropout=0.2)"},
        pytest.param(
            {"encoder": "vgg11_bn(depth=3)", "decoder": "segnet", "upsampler": "max_unpool"},
            marks=pytest.mark.integration,
        ),
        pytest.param(
            {"encoder": "timm/resnet18", "decoder": "unet_bilinear"}, marks=pytest.mark.slow
        ),
    ],
    ids=lambda parts: parts["encoder"],
)
def test_a_training_with_it_gives_the_same_tensors(tiny_settings, tmp_path, parts):
    tensors = []
    for checkpoints in (False, True):
        out = tmp_path / str(checkpoints)
        changes = {"out": str(out), "size": 32, "checkpoint_activations": checkpoints, **parts}
        train(layered(None, tiny_settings | changes))
        tensors.append(load_file(max(out.glob("checkpoints/step-*")) / "model.safetensors"))
    assert tensors[0].keys() == tensors[1].keys()
    for name, tensor in tensors[0].items():
        torch.testing.assert_close(tensors[1][name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_a_stage_computed_again_counts_its_batch_once():
    stage = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    recomputed(stage, torch.randn(2, 3, 8, 8)).sum().backward()
    assert int(stage[1].num_batches_tracked) == 1


def test_what_others_count_twice_is_put_right():
    norm = nn.BatchNorm2d(3)
    image_BCHW = torch.randn(2, 3, 8, 8, requires_grad=True)
    once = nn.BatchNorm2d(3)
    once(image_BCHW)
    output = torch.utils.checkpoint.checkpoint(norm, image_BCHW, use_reentrant=False)
    with statistics_kept(norm):
        output.sum().backward()
    for name, buffer in once.named_buffers():
        torch.testing.assert_close(norm.get_buffer(name), buffer, msg=name)


def test_parts_without_it_are_refused_with_what_helps():
    model = build_model(
        "smp/resnet18", "fcn", "bilinear", num_classes=2, in_channels=3, weights="none"
    )
    with pytest.raises(UsageError, match=r"SK-C007.*neither this encoder nor this decoder"):
        checkpoint_activations(model)


@pytest.mark.parametrize(
    ("checkpoints", "fix"),
    [
        (False, "ended an epoch goes on with --resume RUN --checkpoint-activations"),
        (True, "Use --accumulate 2 or more, a smaller --batch"),
    ],
)
def test_who_runs_out_of_memory_is_told_what_is_left_to_try(checkpoints, fix):
    config = layered(options={"checkpoint_activations": checkpoints})
    group = Group(0, 1, 1, torch.device("cpu"))
    with pytest.raises(OutOfMemory, match=fix), device_errors(group.device, less_memory(config)):
        raise torch.OutOfMemoryError("tried to allocate 9 GiB")
