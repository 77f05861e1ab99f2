"""A batch computed in parts: the same step where nothing looks at the batch as a whole."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from segkit.errors import UsageError
from segkit.training.loop.learner import Learner
from segkit.training.monitoring.events import Silence
from segkit.training.preparation.setup import set_up


def without_norms(model):
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, name, nn.Identity())


def after_a_step(config, group):
    setup = set_up(config, group, Silence())
    without_norms(setup.model)
    learner = Learner(setup)
    learner.start_epoch(0)
    [batch, *_] = setup.loader.epoch(0)
    outcome = learner.step(batch, 0)
    return outcome, {name: p.grad.clone() for name, p in setup.model.named_parameters()}


def test_the_gradient_of_a_mean_over_pixels_is_that_of_the_whole_batch(settings, alone):
    # Every pixel counts in this set, so that parts have equal weights.
    plain = {"loss": "ce", "decoder": "unet", "augmentation": "none", "size": 16, "lr": 0.01}
    whole, expected = after_a_step(settings(**plain), alone)
    parted, found = after_a_step(settings(**plain, accumulate=4), alone)
    assert float(parted.loss) == pytest.approx(float(whole.loss), rel=1e-6)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-7)


def test_a_part_holds_a_share_of_the_activations(settings, alone):
    seen = []

    class Watched(Learner):
        def _loss(self, batch):
            seen.append(len(batch))
            return super()._loss(batch)

    setup = set_up(settings(accumulate=2), alone, Silence())
    learner = Watched(setup)
    learner.start_epoch(0)
    [batch, *_] = setup.loader.epoch(0)
    learner.step(batch, 0)
    assert seen == [2, 2]
    assert batch.parts(2)[1].ids == batch.ids[2:]


def test_running_statistics_count_every_part(settings, alone):
    setup = set_up(settings(accumulate=2), alone, Silence())
    learner = Learner(setup)
    learner.start_epoch(0)
    [batch, *_] = setup.loader.epoch(0)
    learner.step(batch, 0)
    counts = {
        int(m.num_batches_tracked) for m in setup.model.modules() if isinstance(m, _BatchNorm)
    }
    assert counts == {2}


def test_parts_that_are_not_equal_are_refused(settings, alone):
    with pytest.raises(UsageError, match=r"SK-C009.*the 4 images of a step.*3 equal parts"):
        set_up(settings(accumulate=3), alone, Silence())
