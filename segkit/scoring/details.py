"""What an evaluation finds beyond its scores: every image's count, certainty, and cases to see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from segkit.data.batches import Batch
from segkit.scoring.calibration import Calibration
from segkit.scoring.cases import Case
from segkit.scoring.per_image import ImageCounts, PerImage


@dataclass(frozen=True)
class Details:
    """What is kept of an evaluation.

    images       every image's count
    calibration  None where the model's certainty is not known: of tiles, and of a single class
    untempered   the same at temperature 1; None of a model that has no other
    cases        the worst images and those in the middle, as pictures
    seconds      that the evaluation took, pictures left out
    """

    images: ImageCounts
    calibration: Calibration | None
    untempered: Calibration | None
    cases: tuple[Case, ...]
    seconds: float


class Keeper:
    """Is shown every batch of an evaluation, and gathers what `Details` holds.

    takes_logits   whether it asks how sure the model is
    temperature    the model's
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None,
        *,
        takes_logits: bool,
        temperature: float = 1.0,
    ) -> None:
        self.takes_logits = takes_logits
        self.per_image = PerImage(num_classes, ignore_index)
        self.calibration = Calibration(ignore_index, temperature) if takes_logits else None
        self.untempered = None
        if takes_logits and temperature != 1:
            self.untempered = Calibration(ignore_index)

    def update(self, label_BHW: Tensor, batch: Batch, logits_BKHW: Tensor | None) -> None:
        """Adds a batch; logits are needed where `takes_logits`."""
        target_BHW = batch.target_BHW.to(label_BHW.device, non_blocking=True)
        confidence_B = np.full(len(batch), np.nan)
        if self.calibration is not None and logits_BKHW is not None:
            confidence_B = self.calibration.update(logits_BKHW, label_BHW, target_BHW)
            if self.untempered is not None:
                self.untempered.update(logits_BKHW, label_BHW, target_BHW)
        self.per_image.update(batch.ids, label_BHW, target_BHW, confidence_B)
