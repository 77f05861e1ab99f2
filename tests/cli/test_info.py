"""`segkit info`: options, sources and sizes, against hand calculations and torchvision."""

import json

import pytest
import torchvision
from click.testing import CliRunner

from segkit.cli.info_command import command
from segkit.errors import UsageError
from segkit.registry.components import default_registry

TINY = '''
"""A plugin made for these tests (arXiv:1234.56789)."""
from typing import Literal
from torch import nn
from segkit.api import Features, Normalization, hookimpl

class Tiny(nn.Module):
    """One convolution.

    It has nothing else.

    width   channels
            of the map
    mode    how
    """
    strides = (2,)

    def __init__(
        self, *, in_channels: int, weights: str, width: int, mode: Literal["a", "b"] = "a"
    ):
        super().__init__()
        self.channels = (width,)
        self.normalization = Normalization((0.5,) * in_channels, (0.5,) * in_channels)
        self.convolution = nn.Conv2d(in_channels, width, 3, stride=2, padding=1)

    def forward(self, image_BCHW):
        return Features((self.convolution(image_BCHW),))

@hookimpl
def segkit_encoder(name):
    return Tiny
'''


@pytest.fixture
def tiny(install_fake):
    default_registry.cache_clear()
    install_fake("acme-nets", {"encoders": {"tiny": "acme_tiny"}}, version="2.0", acme_tiny=TINY)
    yield
    default_registry.cache_clear()


def page(*arguments):
    result = CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False)
    return result.stdout


def facts(*arguments):
    return json.loads(page(*arguments, "--json"))


def test_sizes_are_those_of_a_hand_calculation(tiny):
    known = facts("encoder", "tiny(width=5)", "--in-channels", "4", "--size", "10x14")
    assert known["parameters"] == 5 * 4 * 9 + 5
    assert known["multiply_adds"] == (5 * 7) * 5 * 4 * 9
    assert known["levels"] == [{"stride": 2, "channels": 5, "height": 5, "width": 7}]
    assert known["image"] == [4, 10, 14]


def test_options_stand_with_type_default_and_sentence(tiny):
    known = facts("tiny(width=5)")
    assert known["options"] == [
        {
            "name": "width",
            "type": "int",
            "default": None,
            "required": True,
            "description": "channels of the map",
        },
        {
            "name": "mode",
            "type": "'a' | 'b'",
            "default": "a",
            "required": False,
            "description": "how",
        },
    ]
    assert known["description"] == "It has nothing else."
    assert known["papers"] == ["https://arxiv.org/abs/1234.56789"]


def test_a_missing_option_leaves_the_size_out_and_says_why(tiny):
    text = page("tiny")
    assert "width   int        required  channels of the map" in text
    assert "not measured: tiny needs width (int)." in text


def test_an_option_that_does_not_exist_is_refused(tiny):
    with pytest.raises(UsageError, match="tiny has no option 'witdh'"):
        page("tiny(witdh=3)")


def test_densenet_has_the_parameters_of_torchvisions_without_its_classifier():
    known = facts("densenet121", "--size", "224")
    theirs = torchvision.models.densenet121(weights=None).features
    assert known["parameters"] == sum(p.numel() for p in theirs.parameters())
    # Huang et al. count 2.87 G for the network with its classifier of 1024 x 1000, and with the
    # transitions' convolutions before the 2x2 means: here they come after, at a quarter of it.
    sides = {256: 56, 512: 28, 1024: 14}
    spared = sum(channels * channels // 2 * side**2 for channels, side in sides.items()) * 3 // 4
    assert known["multiply_adds"] + 1024 * 1000 + spared == pytest.approx(2.87e9, rel=0.02)
    assert [level["stride"] for level in known["levels"]] == [2, 4, 8, 16, 32]
    assert known["weights"]["licence"] == "Apache-2.0"
    assert "https://arxiv.org/abs/1608.06993" in known["papers"]


def test_a_decoder_is_measured_on_an_encoder():
    known = facts("decoder", "unet", "--encoder", "unet(width=4, depth=2)", "--size", "16")
    assert (known["channels"], known["stride"], known["map"]) == (4, 1, [4, 16, 16])
    # Bilinear with a 3x3 convolution 8 -> 4, then 3x3 convolutions 8 -> 4 -> 4, each with a norm.
    assert known["parameters"] == (8 * 4 * 9 + 4) + (8 * 4 * 9 + 8) + (4 * 4 * 9 + 8)
    assert known["multiply_adds"] == 16 * 16 * 9 * (8 * 4 + 8 * 4 + 4 * 4)


def test_a_decoder_that_does_not_work_there_says_why():
    text = page("decoder", "unet", "--encoder", "densenet121", "--upsampler", "max_unpool")
    assert "not measured: the upsampler 'max_unpool' needs the indices" in text


@pytest.mark.integration
def test_an_upsampler_is_measured_as_one_step():
    known = facts("transposed")
    assert known["parameters"] == 64 * 64 * 2 * 2 + 64
    assert known["multiply_adds"] == 32 * 32 * 64 * 64 * 2 * 2
    assert facts("max_unpool")["needs_pool_indices"] is True


def test_an_unpadded_encoder_is_measured_at_a_size_it_takes():
    known = facts("encoder", "unet(padding=valid, norm=none)", "--size", "572")
    assert [level["height"] for level in known["levels"]] == [568, 280, 136, 64, 28]


def test_a_metric_says_its_convention():
    assert "confusion matrix over all images" in facts("miou")["convention"]
    assert "higher is better" in page("miou")
    assert facts("loss", "ce")["needs_instances"] is False


def test_a_name_of_two_kinds_asks_which():
    with pytest.raises(UsageError) as caught:
        page("unet")
    assert caught.value.what == "'unet' is the name of an encoder and of a decoder."
    assert caught.value.fix == "Say which: `segkit info encoder unet`."


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UsageError) as caught:
        page("densenet112")
    assert caught.value.what == "nothing installed is called 'densenet112'."
    assert "'densenet121'" in caught.value.fix
    assert caught.value.fix.startswith("Did you mean")


@pytest.mark.parametrize("size", ["0", "12x", "ax3", "-4"])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(UsageError, match="is no size"):
        page("densenet121", f"--size={size}")
