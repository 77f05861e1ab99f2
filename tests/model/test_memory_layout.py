"""Channels-last from image to logits: a map laid out otherwise is copied there and back."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import segkit

NETWORKS = {
    "bilinear": ("densenet121(depth=4)", "unet", "bilinear"),
    "nearest": ("densenet121(depth=3)", "unet", "nearest"),
    "bicubic": ("densenet121(depth=3)", "unet", "bicubic"),
    "transposed": ("densenet121(depth=3)", "unet", "transposed"),
    "pixel_shuffle": ("densenet121(depth=3)", "unet", "pixel_shuffle"),
    "carafe": ("densenet121(depth=3)", "unet", "carafe"),
    "dysample": ("densenet121(depth=3)", "unet", "dysample"),
    "bed_of_nails": ("densenet121(depth=3)", "unet", "bed_of_nails"),
    "max_unpool": ("unet(width=16)", "unet", "max_unpool"),
    "segnet": ("vgg11_bn", "segnet", "max_unpool"),
    "fcn": ("densenet121", "fcn", "bilinear"),
    "deeplabv3plus": ("densenet121", "deeplabv3plus", "bilinear"),
    "unet_bilinear": ("unet(width=16)", "unet_bilinear", "bilinear"),
}


def otherwise(model: nn.Module, image_BCHW: Tensor) -> list[str]:
    """The modules that return a map in another layout."""
    found: list[str] = []

    def look(name: str) -> object:
        def hook(module: nn.Module, given: object, output: object) -> None:
            maps = [each for each in _tensors(output) if each.ndim == 4 and not _is_last(each)]
            found.extend(f"{name} ({type(module).__name__}) {tuple(m.shape)}" for m in maps)

        return hook

    handles = [m.register_forward_hook(look(n)) for n, m in model.named_modules() if n]
    logits_BKHW = model(image_BCHW)
    for handle in handles:
        handle.remove()
    if not _is_last(logits_BKHW):
        found.append("logits")
    return found


def _tensors(output: object) -> list[Tensor]:
    given = output if isinstance(output, tuple) else (output,)
    return [each for each in given if isinstance(each, Tensor)]


def _is_last(map_BCHW: Tensor) -> bool:
    return map_BCHW.is_contiguous(memory_format=torch.channels_last)


def image() -> Tensor:
    return torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("autocast", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_map_stays_channels_last(network, autocast):
    encoder, decoder, upsampler = NETWORKS[network]
    model = segkit.build_model(encoder, decoder, upsampler, num_classes=5)
    model = model.to(memory_format=torch.channels_last).train()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        assert otherwise(model, image()) == []


def test_the_test_above_would_notice_a_map_laid_out_otherwise():
    class Astray(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Conv2d(3, 4, 1)
            self.outer = nn.Flatten(0, 0)

        def forward(self, x_BCHW: Tensor) -> Tensor:
            return F.relu(self.outer(self.inner(x_BCHW).contiguous()))

    assert otherwise(Astray(), image()) == ["outer (Flatten) (2, 4, 64, 64)", "logits"]
