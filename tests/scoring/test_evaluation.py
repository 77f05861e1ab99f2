"""Scores of whole images: one count for all, ignored pixels in none, files at fault named."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from sklearn.metrics import confusion_matrix

import segkit
from segkit.data.batches import Batch
from segkit.errors import DataError
from segkit.inference.predictor import Predictor
from segkit.interfaces import MetricTraits
from segkit.model.labels import most_likely
from segkit.model.network import CoarseLogits
from segkit.scoring.evaluation import evaluate, refuse_labels_out_of_range
from segkit.scoring.evaluator import Evaluator

CLASSES = 3


def batches(count=3, ignored=0.2):
    generator = torch.Generator().manual_seed(0)
    for number in range(count):
        shape = (2, 9, 7 + number)
        image_BCHW = torch.randint(0, 256, (2, 3, *shape[1:]), generator=generator).byte()
        target_BHW = torch.randint(0, CLASSES, shape, generator=generator)
        target_BHW[torch.rand(shape, generator=generator) < ignored] = 255
        yield Batch(image_BCHW, target_BHW, None, (f"{number}a", f"{number}b"))


class ByColour(torch.nn.Module):
    """Predicts the brightest channel."""

    record = SimpleNamespace(temperature=1.0)

    def normalize(self, image_BCHW, full_scale):
        return image_BCHW.float() / full_scale

    def forward(self, image_BCHW, enlarged=True):
        return image_BCHW if enlarged else CoarseLogits(image_BCHW, image_BCHW.shape[-2:], False)

    def enlarged(self, output, size):
        return output.logits_BKhw

    def labels(self, image_BCHW):
        return most_likely(image_BCHW)


def evaluator(expression, group):
    return Evaluator(expression, num_classes=CLASSES, ignore_index=255, group=group)


def score(expression, group, given=None, model=None):
    predictor = Predictor(model or ByColour(), group.device)
    evaluates = evaluator(expression, group) if isinstance(expression, str) else expression
    return evaluate(predictor, batches() if given is None else given, evaluates, full_scale=255)


def test_the_count_is_scikit_learns(alone):
    scores = score("miou", alone)
    truth, predicted = [], []
    for batch in batches():
        valid = batch.target_BHW != 255
        truth += batch.target_BHW[valid].tolist()
        predicted += batch.image_BCHW.argmax(dim=1)[valid].tolist()
    expected = confusion_matrix(truth, predicted, labels=range(CLASSES))
    assert scores.counts_KK.tolist() == expected.tolist()
    assert scores.images == 6


def test_metrics_together_score_as_they_do_alone(alone):
    names = ["miou", "dice", "pixel_accuracy", "ece"]
    together = score(",".join(names), alone)
    for name in names:
        by_itself = segkit.build_metric(name, num_classes=CLASSES, ignore_index=255)
        for batch in batches():
            logits_BKHW = batch.image_BCHW.float() / 255
            wanted = logits_BKHW if name == "ece" else logits_BKHW.argmax(dim=1)
            by_itself.update(wanted, batch.target_BHW)
        for key, value in by_itself.compute().items():
            assert together.values[key] == pytest.approx(float(value), nan_ok=True)


def test_the_first_metric_decides_and_every_one_states_its_convention(alone):
    scores = score("dice, miou", alone)
    assert scores.first.startswith("dice") or scores.first.startswith("mdice")
    assert scores.conventions.keys() == {"dice", "miou"}
    assert all(scores.conventions.values())


def test_a_class_absent_from_prediction_and_truth_is_not_scored(alone):
    nothing = [
        Batch(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, 4, 4).long(), None, ("a",))
    ]
    scores = score("iou", alone, nothing)
    assert math.isnan(scores.values["iou/1"])
    assert scores.values["iou/0"] == 1


def test_torchmetrics_scores_too(alone, install_fake):
    install_fake(
        "fake-tm",
        {"metrics": {"tmiou": "fake_tm"}},
        fake_tm="""
from segkit.api import hookimpl
@hookimpl
def segkit_metric(name):
    return make if name == "tmiou" else None
def make(num_classes, ignore_index):
    from torchmetrics.classification import MulticlassJaccardIndex
    return MulticlassJaccardIndex(num_classes, ignore_index=ignore_index)
""",
    )
    from segkit.registry.components import default_registry

    default_registry.cache_clear()
    try:
        scores = score("tmiou, miou", alone)
    finally:
        default_registry.cache_clear()
    assert scores.values["tmiou"] == pytest.approx(scores.values["miou"], abs=1e-6)


def test_a_label_out_of_range_names_its_file(alone):
    batch = next(batches())
    batch.target_BHW[1, 0, :4] = 7
    with pytest.raises(DataError) as caught:
        score("miou", alone, [batch])
    assert str(caught.value) == (
        "SK-D012: 0b: 4 pixels hold label 7, which is none of the 3 classes (0 to 2) and not the "
        "ignored label (255). The first lies in row 0, column 0 (from 0).\n"
        "         Ignore it: --label-mapping '{7: ignore}', or say which class it is: "
        "--label-mapping '{7: 0}'. In the data's own data.yaml, `label_mapping: {7: ignore}` says "
        "the same."
    )


def test_no_image_is_an_error(alone):
    with pytest.raises(DataError, match="there is no image to score"):
        score("miou", alone, [])


@pytest.mark.parametrize("target_type", [torch.uint8, torch.int64])
@pytest.mark.parametrize(("ignore_index", "label"), [(255, 3), (None, 255), (255, 254), (1, 200)])
def test_a_label_out_of_range_is_found_in_any_type(alone, target_type, ignore_index, label):
    target_BHW = torch.zeros(2, 5, 7, dtype=target_type)
    fine = Batch(torch.zeros(2, 3, 5, 7).byte(), target_BHW.clone(), None, ("a", "b"))
    refuse_labels_out_of_range(fine, CLASSES, ignore_index)
    target_BHW[1, 2, 3] = label
    target_BHW[0, 0, 0] = 1 if ignore_index is None else ignore_index
    faulty = Batch(torch.zeros(2, 3, 5, 7).byte(), target_BHW, None, ("a", "b"))
    where = rf"b: 1 pixel holds label {label}, which is .*\. It lies in row 2, column 3 \(from 0\)"
    with pytest.raises(DataError, match=where):
        refuse_labels_out_of_range(faulty, CLASSES, ignore_index)


def test_labels_beyond_a_byte_are_looked_at_too(alone):
    target_BHW = torch.tensor([[[0, 299, -1]]])
    batch = Batch(torch.zeros(1, 3, 1, 3).byte(), target_BHW, None, ("a",))
    refuse_labels_out_of_range(batch, 300, -1)
    with pytest.raises(DataError, match="a: 1 pixel holds label -1"):
        refuse_labels_out_of_range(batch, 300, None)


class Recording:
    """A metric that keeps the types it is called with."""

    def __init__(self):
        self.seen = []

    def update(self, label_BHW, target_BHW):
        self.seen += [label_BHW.dtype, target_BHW.dtype]

    def compute(self):
        return {"seen": 1.0}

    def reset(self):
        self.seen = []


def test_metrics_are_called_with_whole_numbers_of_64_bits(alone):
    evaluates = evaluator("miou", alone)
    evaluates.metrics["recording"] = recording = Recording()
    evaluates.traits["recording"] = MetricTraits()
    narrow = [replace(b, target_BHW=b.target_BHW.byte()) for b in batches()]
    score(evaluates, alone, narrow)
    assert set(recording.seen) == {torch.int64}


def test_scores_of_a_coarse_decoder_are_those_of_its_whole_logits(alone):
    """Enlarged logits are held only where a metric takes them; the counts are the same."""
    torch.manual_seed(0)
    model = segkit.build_model("densenet121", "unet(output_stride=4)", num_classes=CLASSES).eval()
    assert model.decoder.stride > 1
    several = [
        Batch(
            torch.randint(0, 256, (2, 3, 70, 90)).byte(),
            torch.randint(0, 3, (2, 70, 90)),
            None,
            ("a", "b"),
        )
    ]
    labels_only = score("miou", alone, several, model)
    with_logits = score("miou, ece", alone, several, model)
    assert (labels_only.counts_KK - with_logits.counts_KK).abs().sum() <= 2


def test_labels_alone_are_no_scores_for_a_metric_of_logits(alone):
    with pytest.raises(ValueError, match="a metric takes logits"):
        evaluator("ece", alone).update(torch.zeros(2, 9, 7).byte(), next(batches()))
