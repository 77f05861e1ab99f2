"""What a rule may look at, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from segkit.recipes.fingerprint import Fingerprint

# A value with its reason as a half-sentence, or no opinion.
Decided = tuple[Any, str] | None


class Speed(Protocol):
    """What the minutes of a training allow on this machine."""

    def steps(self, size: int, stride: int) -> int:
        """How many steps with crops of this side, pixels, and the network that goes with them and
        starts at this stride."""


@dataclass(frozen=True)
class Known:
    """What a rule may look at.

    fingerprint  of the training images
    classes      their names
    settings     what is given or decided already, by setting
    pretrained   whether the encoder that plain has comes with pretrained weights here
    random       whether all of the network starts from random weights
    speed        of the training on this machine, where it is given minutes
    stride       of the network's finest map, where its encoder is decided
    """

    fingerprint: Fingerprint
    classes: tuple[str, ...]
    settings: dict[str, Any]
    pretrained: bool = False
    random: bool = False
    speed: Speed | None = None
    stride: int = 1

    def steps(self, size: int) -> int:
        """That fit the time, with crops of this side, pixels."""
        return self.speed.steps(size, self.stride) if self.speed else 0
