"""The validation loss: each image's own, against torch's; whatever the batches, in one pass."""

import math

import pytest
import torch
from torch.nn import functional as F

import segkit
from segkit.data.batches import Batch
from segkit.inference.predictor import Predictor
from segkit.scoring.evaluation import evaluate
from segkit.scoring.evaluator import Evaluator
from segkit.scoring.mean_loss import MeanLoss

CLASSES, IGNORED = 3, 255


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    decoder = "unet(output_stride=2)"
    return segkit.build_model("unet(depth=3,width=4)", decoder, num_classes=CLASSES).eval()


@pytest.fixture(scope="module")
def images():
    """(image_1CHW, target_1HW) of two sizes; of the last every pixel is ignored."""
    generator = torch.Generator().manual_seed(1)
    drawn = []
    for height, width, ignored in ((20, 13, 0.2), (20, 13, 0.9), (20, 13, 0), (9, 31, 0.1)):
        target_1HW = torch.randint(0, CLASSES, (1, height, width), generator=generator)
        drop_1HW = torch.rand(target_1HW.shape, generator=generator) < ignored
        image_1CHW = torch.randint(0, 256, (1, 3, height, width), generator=generator).byte()
        drawn.append((image_1CHW, target_1HW.masked_fill(drop_1HW, IGNORED)))
    image_1CHW, target_1HW = drawn[-1]
    return [*drawn, (image_1CHW, torch.full_like(target_1HW, IGNORED))]


def batched(images, most):
    waiting = []
    for image in [*images, None]:
        alike = image and waiting and waiting[0][0].shape == image[0].shape
        if waiting and (not alike or len(waiting) == most):
            image_BCHW, target_BHW = (torch.cat(each) for each in zip(*waiting, strict=True))
            yield Batch(image_BCHW, target_BHW, None, tuple("ab cd ef"[: len(waiting)]))
            waiting = []
        waiting.append(image)


def measured(model, images, group, *, expression="ce", most=1, metric="miou"):
    loss = segkit.build_loss(expression, num_classes=CLASSES, ignore_index=IGNORED)
    losses = MeanLoss(loss, IGNORED)
    scored = Evaluator(metric, num_classes=CLASSES, ignore_index=IGNORED, group=group)
    predictor = Predictor(model, group.device, rewrites=False)
    found = evaluate(predictor, batched(images, most), scored, full_scale=255, loss=losses)
    return losses.value(group), found


def test_it_is_the_mean_of_each_images_own_cross_entropy(model, images, alone):
    each = []
    with torch.no_grad():
        for image_1CHW, target_1HW in images[:-1]:
            logits_1KHW = model(model.normalize(image_1CHW)).double()
            each.append(F.cross_entropy(logits_1KHW, target_1HW, ignore_index=IGNORED))
    assert len({round(float(value), 3) for value in each}) == len(each)
    found, _ = measured(model, images, alone)
    assert found == pytest.approx(float(sum(each) / len(each)), rel=1e-6)


@pytest.mark.parametrize("expression", ["dice+ce", "lovasz", "focal + 0.01*boundary"])
@pytest.mark.parametrize("metric", ["miou", "ece"])
def test_batches_change_neither_it_nor_the_scores(model, images, alone, expression, metric):
    one, scores = measured(model, images, alone, expression=expression, metric=metric)
    three, _ = measured(model, images, alone, expression=expression, metric=metric, most=3)
    assert three == pytest.approx(one, rel=1e-5)
    predictor = Predictor(model, alone.device, rewrites=False)
    scored = Evaluator(metric, num_classes=CLASSES, ignore_index=IGNORED, group=alone)
    without = evaluate(predictor, batched(images, 1), scored, full_scale=255)
    assert without.values == scores.values


def test_it_costs_no_pass_of_the_network(model, images, alone):
    passes = []
    hook = model.encoder.register_forward_hook(lambda *_: passes.append(1))
    measured(model, images, alone)
    hook.remove()
    assert len(passes) == len(images)


def test_where_nothing_counts_it_is_not_defined(model, images, alone):
    found, _ = measured(model, images[-1:], alone)
    assert math.isnan(found)
