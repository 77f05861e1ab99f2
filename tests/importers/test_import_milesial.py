"""U-Nets in milesial's form, written here anew, give the same outputs once imported."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import segkit
from segkit.importers.importing import import_checkpoint


def two_convolutions(source, middle, target, bias=False):
    return nn.Sequential(
        nn.Conv2d(source, middle, 3, padding=1, bias=bias),
        nn.BatchNorm2d(middle),
        nn.ReLU(),
        nn.Conv2d(middle, target, 3, padding=1, bias=bias),
        nn.BatchNorm2d(target),
        nn.ReLU(),
    )


def wrapped(name, module):
    holder = nn.Module()
    holder.add_module(name, module)
    return holder


class SourceUnet(nn.Module):
    """By its published description: five levels, zero padding, two ways of enlarging."""

    def __init__(self, in_channels, classes, *, bilinear, width=4, bias=False, old=False):
        super().__init__()
        self.bilinear, inner = bilinear, "conv" if old else "double_conv"
        pooled = "mpconv" if old else "maxpool_conv"
        last = 16 // (2 if bilinear else 1)
        widths = [width, 2 * width, 4 * width, 8 * width, last * width]

        def block(source, middle, target):
            return wrapped(inner, two_convolutions(source, middle, target, bias))

        first = block(in_channels, width, width)
        self.inc = wrapped("conv", first) if old else first
        for n in range(1, 5):
            down = wrapped("1", block(widths[n - 1], widths[n], widths[n]))
            self.add_module(f"down{n}", wrapped(pooled, down))
        target = widths[4]
        for n in range(1, 5):
            skip, reached = widths[4 - n], target
            target = skip
            if bilinear:
                target = skip // 2 if n < 4 else skip
            source = reached + skip if bilinear else 2 * skip
            middle = source // 2 if bilinear and not old else target
            up = wrapped("conv", block(source, middle, target))
            if not bilinear:
                up.up = nn.ConvTranspose2d(reached, reached // 2, 2, stride=2)
            self.add_module(f"up{n}", up)
        self.outc = wrapped("conv", nn.Conv2d(target, classes, 1))

    def forward(self, x_BCHW):
        maps = [self.run(self.inc, x_BCHW)]
        for n in range(1, 5):
            maps.append(self.run(self.get_submodule(f"down{n}"), F.max_pool2d(maps[-1], 2)))
        x_BCHW = maps.pop()
        for n in range(1, 5):
            up = self.get_submodule(f"up{n}")
            if self.bilinear:
                enlarged = F.interpolate(
                    x_BCHW, scale_factor=2, mode="bilinear", align_corners=True
                )
            else:
                enlarged = up.up(x_BCHW)
            x_BCHW = self.run(up.conv, torch.cat([maps.pop(), enlarged], dim=1))
        return self.outc.conv(x_BCHW)

    @staticmethod
    def run(holder, x_BCHW):
        return next(m for m in holder.modules() if isinstance(m, nn.Sequential))(x_BCHW)


def trained(network):
    """Away from the start: norms that do something, statistics of their own."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network.eval()


@pytest.mark.parametrize("bilinear", [False, True])
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_the_imported_network_gives_the_same_logits(tmp_path, bilinear, old, bias):
    torch.manual_seed(0)
    source = trained(SourceUnet(2, 3, bilinear=bilinear, old=old, bias=bias))
    torch.save(source.state_dict(), tmp_path / "unet.pth")
    imported = import_checkpoint(tmp_path / "unet.pth")
    segkit.save_model(imported.model, tmp_path / "model")
    image_BCHW = torch.rand(2, 2, 48, 80)
    with torch.no_grad():
        expected_BKHW = source(image_BCHW)
        logits_BKHW = segkit.load_model(tmp_path / "model")(image_BCHW)
    assert expected_BKHW.std() > 0.01
    torch.testing.assert_close(logits_BKHW, expected_BKHW, rtol=1e-4, atol=1e-5)


def test_the_published_widths_are_understood(tmp_path):
    source = SourceUnet(3, 2, bilinear=True, width=64)
    torch.save(source.state_dict(), tmp_path / "unet.pth")
    plan = import_checkpoint(tmp_path / "unet.pth").plan
    assert plan.encoder == "unet(depth=5, width=64, deepest=512)"
    assert plan.decoder == "unet_bilinear"
    assert (plan.in_channels, plan.num_classes) == (3, 2)


def test_training_goes_on_as_it_would_have_there(tmp_path):
    """One batch in training mode moves the running statistics of both alike."""
    torch.manual_seed(0)
    source = trained(SourceUnet(1, 2, bilinear=False, bias=True))
    torch.save(source.state_dict(), tmp_path / "unet.pth")
    model = import_checkpoint(tmp_path / "unet.pth").model
    image_BCHW = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(
        model.train()(image_BCHW), source.train()(image_BCHW), rtol=1e-4, atol=1e-4
    )


def test_pixels_go_in_between_0_and_1(tmp_path):
    torch.save(SourceUnet(3, 2, bilinear=False).state_dict(), tmp_path / "unet.pth")
    imported = import_checkpoint(tmp_path / "unet.pth")
    segkit.save_model(imported.model, tmp_path / "model")
    model = segkit.load_model(tmp_path / "model")
    image_BCHW = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    torch.testing.assert_close(model.normalize(image_BCHW), image_BCHW / 255)


def test_what_training_scripts_put_beside_the_tensors_is_left_out_and_said(tmp_path):
    state = SourceUnet(1, 2, bilinear=False).state_dict()
    state = {f"module.{key}": tensor for key, tensor in state.items()}
    extra = {"module.aux.weight": torch.zeros(3)}
    torch.save({"state_dict": state | extra, "epoch": 7}, tmp_path / "unet.pth")
    imported = import_checkpoint(tmp_path / "unet.pth")
    assert imported.plan.left_out == {"aux.weight": "no part of such a U-Net"}
    assert len(imported.matched) == len(state)


def test_old_files_without_step_counters_are_filled(tmp_path):
    state = SourceUnet(1, 2, bilinear=False).state_dict()
    kept = {key: tensor for key, tensor in state.items() if "num_batches" not in key}
    torch.save(kept, tmp_path / "unet.pth")
    imported = import_checkpoint(tmp_path / "unet.pth")
    assert len(imported.filled) == len(state) - len(kept)
