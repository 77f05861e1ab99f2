"""What every path here has in common that can compute its stages again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from segkit.api import recomputed


class Checkpointing(nn.Module):
    """A path of stages, each of which is computed again for its gradient once that is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.checkpoints = False

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Has each stage keep nothing for the gradient but what it was given."""
        self.checkpoints = enable

    def run(
        self, stage: nn.Module, *inputs: Any, call: Callable[..., Tensor] | None = None
    ) -> Tensor:
        """stage(*inputs), or call(*inputs), which uses nothing that learns but the stage."""
        run = call or stage
        result_BCHW: Tensor = (
            recomputed(stage, *inputs, call=call) if self.checkpoints else run(*inputs)
        )
        return result_BCHW
