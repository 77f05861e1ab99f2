"""What is frozen stands still, whatever is called on the model around it."""

import copy

import pytest
import torch
from torch import nn

import segkit
from segkit.errors import UsageError
from segkit.training.optimization.freezing import freeze, thaw


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
