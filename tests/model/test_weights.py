"""Pretrained weights: where they come from, how they fit, and what is said when they do not."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from segkit.errors import ModelFileError, UsageError, WeightsUnavailable
from segkit.interfaces import Normalization
from segkit.model import weights as weights_module
from segkit.model.weights import (
    PublishedWeights,
    adapt_input_channels,
    load_encoder_weights,
)

PUBLISHED = PublishedWeights("owner/net", "apache-2.0")


def network(in_channels=3):
    return nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.BatchNorm2d(4))


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    monkeypatch.setenv("SEGKIT_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *a, **k: None)

    def refuse(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", refuse)


def test_none_changes_nothing():
    encoder = network()
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    load_encoder_weights(encoder, "none", published=PUBLISHED)
    assert all(torch.equal(before[k], v) for k, v in encoder.state_dict().items())


def test_a_file_fills_the_encoder_under_its_own_names(tmp_path):
    source, encoder = network(), network()
    renamed = {f"body.{k}": v for k, v in source.state_dict().items()}
    save_file({**renamed, "classifier.weight": torch.ones(1)}, tmp_path / "w.safetensors")

    def rename(key):
        return None if key.startswith("classifier.") else key.removeprefix("body.")

    load_encoder_weights(encoder, str(tmp_path / "w.safetensors"), published=None, rename=rename)
    assert all(torch.equal(v, encoder.state_dict()[k]) for k, v in source.state_dict().items())


def test_a_file_by_hand_serves_as_the_published_one(no_network, tmp_path):
    source, encoder = network(), network()
    assert PUBLISHED.local_path == tmp_path / "weights" / "owner--net.safetensors"
    PUBLISHED.local_path.parent.mkdir()
    save_file(source.state_dict(), PUBLISHED.local_path)
    load_encoder_weights(encoder, "imagenet", published=PUBLISHED)
    assert torch.equal(encoder[0].weight, source[0].weight)


def test_without_network_the_exact_file_and_its_place_are_named(no_network, tmp_path):
    with pytest.raises(WeightsUnavailable) as caught:
        load_encoder_weights(network(), "imagenet", published=PUBLISHED)
    text = str(caught.value)
    assert text.startswith("SK-W001: the weights owner/net are not on this machine")
    assert "ConnectionError: no route" in text
    assert "https://huggingface.co/owner/net/resolve/main/model.safetensors" in text
    assert str(tmp_path / "weights" / "owner--net.safetensors") in text
    assert "--weights none" in text


def test_a_hub_that_never_answers_is_given_up(no_network, monkeypatch):
    import threading

    never = threading.Event()
    monkeypatch.setattr(weights_module, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda *a, **k: never.wait())
    with pytest.raises(WeightsUnavailable, match=r"TimeoutError: no answer within 0\.05 s"):
        PUBLISHED.fetch()
    never.set()


def test_an_encoder_without_published_weights_says_so():
    with pytest.raises(WeightsUnavailable, match="SK-W003: no ImageNet weights are published"):
        load_encoder_weights(network(), "imagenet", published=None)


def test_a_path_that_is_no_file_is_refused():
    with pytest.raises(UsageError, match="weights 'imagnet' is neither"):
        load_encoder_weights(network(), "imagnet", published=None)


def test_a_pickle_is_never_opened(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(ModelFileError, match="not a readable safetensors file") as caught:
        load_encoder_weights(network(), str(tmp_path / "w.pth"), published=None)
    assert "never opened" in caught.value.fix


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.pop("1.weight"), "1 are missing and 0 have another shape"),
        (
            lambda s: s.update({"1.weight": torch.ones(5)}),
            r"'1.weight' is \(5,\) there and \(4,\) here",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused_whole(tmp_path, change, reason):
    state = network().state_dict()
    change(state)
    save_file(state, tmp_path / "w.safetensors")
    encoder = network()
    before = encoder[0].weight.clone()
    with pytest.raises(ModelFileError, match=reason):
        load_encoder_weights(encoder, str(tmp_path / "w.safetensors"), published=None)
    assert torch.equal(encoder[0].weight, before)


def test_a_grey_image_answers_as_its_grey_triplet_would():
    weight_OIHW = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    grey = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    folded = nn.functional.conv2d(grey, adapt_input_channels(weight_OIHW, 1))
    torch.testing.assert_close(
        folded, nn.functional.conv2d(grey.expand(-1, 3, -1, -1), weight_OIHW)
    )


@pytest.mark.parametrize("channels", [2, 4, 7])
def test_other_channel_counts_keep_the_sum_on_a_constant_image(channels):
    weight_OIHW = torch.ones(2, 3, 1, 1)
    adapted = adapt_input_channels(weight_OIHW, channels)
    assert adapted.shape == (2, channels, 1, 1)
    torch.testing.assert_close(adapted.sum(1), weight_OIHW.sum(1))


def test_normalization_follows_the_channels():
    rgb = Normalization((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    assert rgb.for_channels(3) is rgb
    assert rgb.for_channels(1) == Normalization((pytest.approx(0.2),), (2.0,))
    assert rgb.for_channels(4).mean == (0.1, 0.2, 0.3, 0.1)
