"""`--mirror`: scores, masks and the saved model are those of the mean over mirrored images."""

import pytest
import torch

import segkit
from segkit.errors import UsageError
from segkit.model.folder import change_record
from segkit.scoring.evaluate_model import EvaluationSettings, evaluate_model
from segkit.training.training import train


def test_training_scores_the_masks_that_the_saved_model_writes(settings):
    how = {"mirror": True, "decoder": "unet", "augmentation": "light", "precision": "fp32"}
    result = train(settings(epochs=2, lr=0.02, **how))
    asked = EvaluationSettings(str(result.folder), device="cpu", precision="fp32")
    found = evaluate_model(asked)
    assert result.scores.items() <= found.scores.values.items()
    assert segkit.load_model(result.folder).record.mirrors == "horizontal"
    change_record(result.folder, mirrors="")
    without = evaluate_model(asked)
    assert not torch.equal(found.scores.counts_KK, without.scores.counts_KK)


def test_a_network_that_saw_no_mirrored_image_is_not_asked_of_any(settings):
    with pytest.raises(UsageError, match=r"SK-C009: --mirror asks .* shows it none to learn"):
        train(settings(mirror=True, augmentation="none"))
