"""How far a training is: everything it remembers that is no tensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

Count = Annotated[int, Field(ge=0)]


@dataclass
class Position:
    """Where a training goes on.

    epoch, batch   the next to be trained, from 0
    step           steps done in all
    loss_sum       sum of the losses of this epoch's steps so far
    skipped        steps of this epoch so far that fp16's scaler skipped
    best           best value of the deciding score so far; None before the first
    best_epoch     the epoch it was reached in, from 1
    best_scores    all scores of that epoch, by name; None where not defined
    waited         evaluations since then
    """

    # How a checkpoint's is read.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False
    )

    epoch: Count = 0
    batch: Count = 0
    step: Count = 0
    loss_sum: float = 0.0
    skipped: Count = 0
    best: float | None = None
    best_epoch: Annotated[int, Field(ge=1)] | None = None
    best_scores: dict[str, float | None] = field(default_factory=dict)
    waited: Count = 0

    def next_batch(self) -> None:
        """Counts a step."""
        self.batch += 1
        self.step += 1

    def next_epoch(self) -> None:
        """Moves on to the next epoch's first batch."""
        self.epoch += 1
        self.batch = 0
        self.loss_sum = 0.0
        self.skipped = 0
