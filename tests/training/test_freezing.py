"""What is frozen stands still, whatever is called on the model around it."""

import copy
import json

import pytest
import torch
from torch import nn

import segkit
from segkit.errors import UsageError
from segkit.model.network import SegmentationModel
from segkit.training.optimization.cached_features import CachedFeatures
from segkit.training.optimization.freezing import freeze, thaw
from segkit.training.training import train


def small_model():
    torch.manual_seed(0)
    return segkit.build_model(
        "unet(depth=3, width=4, dropout=0.5)", "unet(dropout=0.5)", num_classes=2
    )


def image():
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_a_frozen_encoder_keeps_evaluation_mode_through_train():
    model = small_model()
    freeze(model, "encoder")
    model.train()
    assert not any(module.training for module in model.encoder.modules())
    assert all(module.training for module in model.decoder.modules())


def test_dropout_and_statistics_of_a_frozen_encoder_stand_still():
    model = small_model()
    freeze(model, "encoder")
    model.train()
    before = copy.deepcopy(model.encoder.state_dict())
    first, second = (model.encoder(image()).maps[-1] for _ in range(2))
    assert torch.equal(first, second)
    assert all(torch.equal(before[name], t) for name, t in model.encoder.state_dict().items())


def test_dropout_moves_an_encoder_that_is_not_frozen():
    model = small_model().train()
    first, second = (model.encoder(image()).maps[-1] for _ in range(2))
    assert not torch.equal(first, second)


def test_frozen_parts_get_no_gradient_and_the_others_do():
    model = small_model()
    freeze(model, "encoder")
    model.train()(image()).sum().backward()
    assert all(each.grad is None for each in model.encoder.parameters())
    assert all(each.grad is not None for each in model.decoder.parameters())


def test_a_copy_of_a_frozen_model_is_frozen_by_itself():
    model = small_model()
    freeze(model, "encoder")
    twin = copy.deepcopy(model)
    thaw(twin)
    twin.train()
    assert twin.encoder.training
    assert not model.encoder.training
    assert not any(each.requires_grad for each in model.encoder.parameters())


def test_thawing_gives_back_class_gradient_and_mode_but_not_what_was_never_learning():
    model = small_model()
    kind = type(model.encoder)
    first = next(model.encoder.parameters()).requires_grad_(False)
    freeze(model, "encoder")
    assert isinstance(model.encoder, kind)
    thaw(model)
    model.train()
    assert type(model.encoder) is kind
    assert model.encoder.training
    assert not first.requires_grad
    assert all(each.requires_grad for each in list(model.encoder.parameters())[1:])


def test_a_stage_and_several_parts_can_be_named():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    assert freeze(model, "0, 2") == ("0", "2")
    assert [module[0].weight.requires_grad for module in [model[0:1], model[1:2]]] == [False, True]


def test_an_unknown_part_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError) as caught:
        freeze(small_model(), "encodr")
    assert str(caught.value) == (
        "SK-C009: freeze: the model has no part 'encodr'.\n"
        "         Did you mean 'encoder' or 'decoder'? "
        "The largest parts are encoder, decoder, head."
    )


def test_a_frozen_model_saves_and_loads_as_any_other(tmp_path):
    model = small_model()
    freeze(model, "encoder")
    loaded = segkit.load_model(segkit.save_model(model, tmp_path / "model"))
    assert torch.equal(loaded(image()), model.eval()(image()))


def recurring(settings, **changes):
    """Settings under which every epoch shows a frozen encoder the same pixels."""
    same = {"freeze": "encoder", "augmentation": "none", "crops": "middle", "size": 32}
    return settings(**same, **changes)


def encoded_images(monkeypatch) -> list[int]:
    """Filled, from here on, with how many images an encoder in training is given at a time."""
    seen: list[int] = []
    known = SegmentationModel.features

    def counting(model, padded_BCHW):
        if torch.is_grad_enabled():
            seen.append(len(padded_BCHW))
        return known(model, padded_BCHW)

    monkeypatch.setattr(SegmentationModel, "features", counting)
    of_one = CachedFeatures._of

    def counted(cached, image_1CHW):
        held = cached.held
        found = of_one(cached, image_1CHW)
        seen.extend([1] if cached.held > held else [])
        return found

    monkeypatch.setattr(CachedFeatures, "_of", counted)
    return seen


def test_a_frozen_encoder_sees_each_unchanging_image_once(settings, monkeypatch, tmp_path):
    seen = encoded_images(monkeypatch)
    # Twelve images, in each of four epochs.
    train(recurring(settings, out=str(tmp_path / "run")))
    assert seen == [1] * 12


@pytest.mark.parametrize("change", [{"crops": "anywhere"}, {"augmentation": "light"}])
def test_images_that_change_are_encoded_every_time(settings, monkeypatch, tmp_path, change):
    seen = encoded_images(monkeypatch)
    given = recurring(settings, out=str(tmp_path / "run"))
    train(given.model_copy(update=change))
    assert sum(seen) == 4 * 12


def test_cached_features_change_the_numbers_by_rounding_alone(settings, monkeypatch, tmp_path):
    def losses(name: str) -> list[float]:
        train(recurring(settings, out=str(tmp_path / name), decoder="linear"))
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]

    cached = losses("cached")
    monkeypatch.setattr("segkit.training.loop.learner.features_recur", lambda config: False)
    assert cached == pytest.approx(losses("plain"), rel=1e-4)


def test_features_beyond_the_memory_are_computed_again_and_are_the_same():
    model = small_model().eval()
    one = model.encoder(image()[:1]).maps
    limit = sum(each.nbytes for each in one)
    cached = CachedFeatures(model.encoder, limit)
    first, second = (cached.features(image()) for _ in range(2))
    assert cached.held <= limit
    for given, again, due in zip(first.maps, second.maps, model.encoder(image()).maps, strict=True):
        assert torch.equal(given, again)
        torch.testing.assert_close(given, due)


def test_a_copy_of_a_model_asks_its_own_encoder():
    model = small_model().eval()
    cached = CachedFeatures(model.encoder, 2**30)
    with cached.answering_for(model):
        model(image())
    twin = copy.deepcopy(model)
    with torch.no_grad():
        next(twin.encoder.parameters()).add_(1.0)
    assert not torch.equal(twin(image()), model(image())) and cached.held
