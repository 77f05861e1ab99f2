"""memory_efficient: the same results from less memory, and no batch counted twice."""

import copy

import pytest
import torch
from segkit_densenet.encoder import ENCODERS
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint


def pair(**options) -> tuple[nn.Module, nn.Module]:
    """Two encoders of the same weights, the second memory-efficient."""
    plain = ENCODERS["densenet121"](in_channels=3, weights="none", **options)
    efficient = ENCODERS["densenet121"](
        in_channels=3, weights="none", memory_efficient=True, **options
    )
    efficient.load_state_dict(plain.state_dict())
    return plain, efficient


def trained(encoder: nn.Module, image_BCHW: Tensor) -> list[Tensor]:
    """The maps of one training step's forward pass; the backward pass is done."""
    torch.manual_seed(3)
    maps = encoder(image_BCHW).maps
    sum(map_BCHW.square().mean() for map_BCHW in maps).backward()
    return [map_BCHW.detach() for map_BCHW in maps]


def image() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_memory_efficient_changes_neither_output_nor_gradient_nor_statistics(dropout):
    plain, efficient = pair(dropout=dropout)
    for ours, theirs in zip(trained(plain, image()), trained(efficient, image()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    gradients = dict(efficient.named_parameters())
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(
            gradients[name].grad, parameter.grad, rtol=1e-3, atol=1e-4, msg=name
        )
    after = efficient.state_dict()
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(after[name], tensor, rtol=1e-4, atol=1e-4, msg=name)


def test_the_test_above_would_notice_a_batch_counted_twice(monkeypatch):
    def naive(function, *maps, context_fn, **settings):
        return checkpoint(function, *maps, **settings)

    monkeypatch.setattr("segkit.model.activation_checkpointing.checkpoint", naive)
    plain, efficient = pair(depth=2)
    trained(plain, image())
    trained(efficient, image())
    counter = "features.denseblock1.denselayer1.norm1.num_batches_tracked"
    assert (plain.state_dict()[counter], efficient.state_dict()[counter]) == (1, 2)


def test_memory_efficient_keeps_about_a_fifth_for_the_backward_pass():
    def kept(encoder: nn.Module) -> int:
        storages = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = (storage.nbytes(), tensor)
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            maps = encoder(image()).maps
        weights = {p.untyped_storage().data_ptr() for p in encoder.parameters()}
        del maps
        return sum(size for place, (size, _) in storages.items() if place not in weights)

    plain, efficient = pair()
    assert kept(efficient) < 0.22 * kept(plain)


@pytest.mark.parametrize("memory_efficient", [False, True])
def test_frozen_statistics_stay_still(memory_efficient):
    encoder = ENCODERS["densenet121"](
        in_channels=3, weights="none", depth=2, memory_efficient=memory_efficient
    )
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    trained(encoder, image())
    assert all(torch.equal(before[name], buffer) for name, buffer in encoder.named_buffers())


def test_memory_efficient_survives_compilation():
    _, eager = pair(depth=2)
    compiled = copy.deepcopy(eager)
    trained(eager, image())
    trained(torch.compile(compiled, backend="aot_eager"), image())
    gradients = dict(compiled.named_parameters())
    for name, parameter in eager.named_parameters():
        torch.testing.assert_close(gradients[name].grad, parameter.grad, rtol=1e-4, atol=1e-5)
    for name, tensor in eager.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], tensor, msg=name)


def test_memory_efficient_can_be_exported():
    encoder = ENCODERS["densenet121"](in_channels=3, weights="none", depth=2, memory_efficient=True)
    encoder.eval()
    exported = torch.export.export(encoder, (image(),)).module()
    for ours, theirs in zip(exported(image()).maps, encoder(image()).maps, strict=True):
        torch.testing.assert_close(ours, theirs)
