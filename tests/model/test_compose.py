"""Putting named components together, and refusing by name what cannot work."""

import warnings

import pytest
import torch

import segkit
from segkit.errors import PluginError, UsageError
from segkit.model.loss_sum import takes_coarse_logits
from segkit.registry.components import Registry
from segkit.registry.index import Index

PARTS = '''
import torch
from torch import nn
from segkit.api import Features, Normalization, WeightsUnavailable, hookimpl

class Encoder(nn.Module):
    """Average pooling and one convolution a level."""
    def __init__(self, in_channels: int, weights: str, *, strides: tuple[int, ...] = (1, 2, 4),
                 published: bool = True) -> None:
        super().__init__()
        if weights == "imagenet":
            code = "SK-W001" if published else "SK-W003"
            raise WeightsUnavailable(code, "they are not here.", "Fetch them.")
        self.strides, self.channels = strides, tuple(4 for _ in strides)
        self.normalization = Normalization((0.0,) * in_channels, (1.0,) * in_channels)
        self.convolutions = nn.ModuleList(nn.Conv2d(in_channels, 4, 1) for _ in strides)

    def forward(self, x):
        pooled = [nn.functional.avg_pool2d(x, s) for s in self.strides]
        return Features(tuple(c(p) for c, p in zip(self.convolutions, pooled)))

class Nothing:
    """No encoder at all."""
    def __init__(self, in_channels: int, weights: str) -> None: ...

class Decoder(nn.Module):
    """The finest map plus the enlarged coarsest."""
    def __init__(self, channels, strides, make_upsampler) -> None:
        super().__init__()
        self.channels, self.stride = channels[0], strides[0]
        scale = strides[-1] // strides[0]
        self.up = make_upsampler(in_channels=channels[-1], out_channels=channels[0], scale=scale)

    def forward(self, features):
        finest, coarsest = features.maps[0], features.maps[-1]
        return finest + self.up(coarsest, size=tuple(finest.shape[-2:]))

class Unpadded(Decoder):
    """Loses a pixel at each side."""
    margin = 1

class Nearest(nn.Module):
    """Nearest neighbours."""
    needs_pool_indices = False
    def __init__(self, in_channels: int, out_channels: int, scale: int) -> None:
        super().__init__()
        self.channels = out_channels
        self.mix = nn.Conv2d(in_channels, out_channels, 1)
    def forward(self, x, size, pool_indices=None):
        return nn.functional.interpolate(self.mix(x), size)

class Unpool(Nearest):
    """Needs indices."""
    needs_pool_indices = True

class Constant(nn.Module):
    """A loss of one value."""
    def __init__(self, num_classes: int, ignore_index: int | None, *, value: float = 1.0) -> None:
        super().__init__()
        self.value = value
    def forward(self, logits, target):
        return logits.sum() * 0 + self.value

class Joined(Constant):
    """Adds up by itself."""
    @staticmethod
    def fuse(terms):
        return Together(terms)

class Together:
    def __init__(self, terms):
        self.terms = terms
    def __call__(self, logits, target):
        return logits.sum() * 0 + sum(weight * loss.value for weight, loss in self.terms)
    def from_coarse(self, logits, target, size, align_corners=False):
        return self(logits, target) + 100

class Instances(Constant):
    """Counts instances."""
    needs_instances = True
    def forward(self, logits, target, instances=None):
        return logits.sum() * 0 + instances.max()

class NoMetric:
    """Lacks everything."""
    def __init__(self, num_classes: int, ignore_index: int | None) -> None: ...

ALL = dict(bare=NoMetric, enc=Encoder, nothing=Nothing, dec=Decoder, unpadded=Unpadded,
           near=Nearest,
           unpool=Unpool, constant=Constant, joined=Joined, instances=Instances)

@hookimpl
def segkit_encoder(name: str): return ALL.get(name)
@hookimpl
def segkit_decoder(name: str): return ALL.get(name)
@hookimpl
def segkit_upsampler(name: str): return ALL.get(name)
@hookimpl
def segkit_loss(name: str): return ALL.get(name)
@hookimpl
def segkit_metric(name: str): return ALL.get(name)
'''
ENTRIES = {
    "encoders": ["enc", "nothing"],
    "decoders": ["dec", "unpadded"],
    "upsamplers": ["near", "unpool"],
    "losses": ["constant", "instances", "joined"],
    "metrics": ["bare", "nothing"],
}


@pytest.fixture
def parts(install_fake):
    entries = {kind: dict.fromkeys(names, "acme_parts") for kind, names in ENTRIES.items()}
    install_fake("acme-parts", entries, acme_parts=PARTS)
    return Registry(Index.of_installed(()))


def build(parts, encoder="enc", decoder="dec", upsampler="near", **given):
    return segkit.build_model(encoder, decoder, upsampler, num_classes=3, registry=parts, **given)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (64, 33)])
@pytest.mark.parametrize("strides", ["[1, 2, 4]", "[4, 8]", "[2]"])
def test_any_size_comes_back_whole(parts, strides, size):
    model = build(parts, f"enc(strides={strides})", in_channels=2)
    assert model(torch.randn(2, 2, *size)).shape == (2, 3, *size)


def test_the_padding_does_not_touch_an_image_that_fits(parts):
    model = build(parts).eval()
    image_BCHW = torch.randn(1, 3, 8, 8)
    larger_BCHW = torch.nn.functional.pad(image_BCHW, (0, 4, 0, 4), mode="replicate")
    torch.testing.assert_close(model(larger_BCHW)[..., :8, :8], model(image_BCHW))


def test_the_record_spells_every_option_and_version(parts):
    record = build(parts, "enc(published=false)").record
    assert record.encoder.expression == "enc(strides=[1, 2, 4], published=false)"
    assert (record.encoder.distribution, record.encoder.version) == ("acme-parts", "1.0")
    assert record.weights == {"asked": "none", "used": "none", "reason": ""}


def test_auto_weights_that_cannot_be_had_are_a_loud_random_start(parts):
    with pytest.warns(UserWarning, match="starts from RANDOM weights"):
        model = build(parts, weights="auto")
    assert model.record.weights == {
        "asked": "auto",
        "used": "none",
        "reason": "they are not here.",
    }


@pytest.mark.filterwarnings("ignore")
def test_the_start_without_weights_is_the_same_whether_they_were_looked_for_or_not(parts):
    starts = []
    for weights in ("auto", "none"):
        torch.manual_seed(3)
        starts.append(build(parts, weights=weights).state_dict())
    for name, tensor in starts[0].items():
        assert torch.equal(tensor, starts[1][name]), name


def test_auto_weights_of_an_encoder_that_has_none_are_recorded_quietly(parts):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = build(parts, "enc(published=false)", weights="auto")
    assert model.record.weights["used"] == "none"


def test_imagenet_weights_that_cannot_be_had_are_an_error(parts):
    with pytest.raises(segkit.SegkitError, match="SK-W001"):
        build(parts, weights="imagenet")


def test_unpooling_without_indices_is_refused_with_what_would_work(parts):
    with pytest.raises(UsageError) as caught:
        build(parts, upsampler="unpool")
    assert caught.value.code == "SK-C007"
    assert "'unpool' needs the indices" in caught.value.what
    assert "'enc' gives none" in caught.value.what
    assert "bilinear" in caught.value.fix


def test_padded_and_unpadded_halves_are_refused_together(parts):
    with pytest.raises(UsageError) as caught:
        build(parts, decoder="unpadded")
    assert caught.value.what == (
        "the decoder 'unpadded' convolves without padding and the encoder 'enc' with it: "
        "their maps would not fit."
    )


@pytest.mark.parametrize(
    ("encoder", "breach"),
    [
        ("nothing", "gave a Nothing without channels, strides, normalization, __call__"),
        ("enc(strides=[4, 2])", "which are not increasing powers of two"),
        ("enc(strides=[2, 6])", "which are not increasing powers of two"),
        ("enc(strides=[])", "has 0 channels for 0 strides"),
    ],
)
def test_an_encoder_that_breaks_its_contract_is_named(parts, encoder, breach):
    with pytest.raises(PluginError) as caught:
        build(parts, encoder)
    assert caught.value.code == "SK-P003"
    assert caught.value.what.startswith("acme-parts 1.0: ")
    assert breach in caught.value.what


@pytest.mark.parametrize("given", [{"in_channels": 0}])
def test_impossible_numbers_are_refused(parts, given):
    with pytest.raises(UsageError, match="in_channels is 0"):
        build(parts, **given)


def test_losses_add_up_by_expression(parts):
    loss = segkit.build_loss(
        "0.5*constant(value=4) + constant", num_classes=2, ignore_index=None, registry=parts
    )
    assert loss(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1)).item() == 3


def test_only_losses_that_ask_for_instances_get_them(parts):
    loss = segkit.build_loss("constant + 2*instances", num_classes=2, registry=parts)
    assert loss.needs_instances
    assert loss(torch.zeros(1, 2, 1, 1), None, torch.tensor([3.0])).item() == 7


def test_summands_that_can_are_computed_together(parts):
    """1 + 2 * 3 fused, 5 * 2 by itself; those of another `fuse`, or none, only add up."""
    loss = segkit.build_loss(
        "joined(value=1) + 5*constant(value=2) + 2*joined(value=3)", num_classes=2, registry=parts
    )
    assert loss(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1)).item() == 1 + 10 + 6
    assert [places for places, _ in loss.together] == [[0, 2]]
    assert not takes_coarse_logits(loss)
    alone = segkit.build_loss("joined + 2*joined", num_classes=2, registry=parts)
    assert takes_coarse_logits(alone)
    assert alone.from_coarse(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1), (1, 1)).item() == 103


def test_options_of_a_sum_are_refused(parts):
    with pytest.raises(UsageError, match="goes with a single loss"):
        segkit.build_loss(
            "constant + constant", num_classes=2, options={"value": 2.0}, registry=parts
        )


def test_a_metric_without_its_methods_is_named(parts):
    with pytest.raises(PluginError, match="'bare' gave a NoMetric without update, compute, reset"):
        segkit.build_metric("bare", num_classes=2, registry=parts)


def test_a_factory_that_is_none_of_its_kind_is_named(parts):
    with pytest.raises(PluginError) as caught:
        segkit.build_metric("nothing", num_classes=2, registry=parts)
    assert caught.value.what.startswith(
        "acme-parts 1.0, 'nothing': Nothing(in_channels: int, weights: str) lacks the argument "
        "'num_classes' and 'ignore_index'."
    )
