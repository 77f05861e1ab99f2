"""How far a training is: everything it remembers that is no tensor."""

from __future__ import annotations

from dataclasses import dataclass, field


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

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    skipped: int = 0
    best: float | None = None
    best_epoch: int | None = None
    best_scores: dict[str, float | None] = field(default_factory=dict)
    waited: int = 0

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
