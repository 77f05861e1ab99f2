"""What a training continues from, read from its checkpoint and checked field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from segkit.distributed import Group
from segkit.errors import ModelFileError
from segkit.training.checkpoint.checkpoints import Checkpoint, CheckpointFolder
from segkit.training.checkpoint.position import Position
from segkit.training.resuming.identity import Identity


class RunState(BaseModel):
    """The content of a checkpoint's state.json.

    weights      what the encoder started from, once
    scaler       of fp16's gradient scaler; empty for other precisions
    world_size   processes that trained together
    loss_sums    of each of them: the sum of the losses of this epoch's steps so far
    forced       differences that were accepted with --force, a sentence each
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    position: Position
    weights: dict[str, str]
    scaler: dict[str, int | Annotated[float, Field(allow_inf_nan=False)]]
    world_size: int = Field(ge=1)
    loss_sums: list[float] = []
    identity: Identity
    forced: list[str] = []

    def record(self) -> dict[str, Any]:
        """As a checkpoint holds it."""
        return self.model_dump()

    def position_for(self, group: Group) -> Position:
        """The position of this process: as it was, or with its share of all processes' losses."""
        sums = self.loss_sums or [self.position.loss_sum]
        if self.world_size == group.world_size:
            own = sums[group.rank % len(sums)]
        else:
            own = sum(sums) / len(sums)
        return replace(self.position, loss_sum=own)

    def moved_to(self, group: Group) -> list[str]:
        """A sentence for each thing about where it now runs that costs the exact bits."""
        was, is_ = self.world_size, group.world_size
        moved = [f"The run had {was} processes and now has {is_}"] * (was != is_)
        if self.identity.device != group.device.type:
            moved.append(f"The run was on {self.identity.device} and is on {group.device.type} now")
        return [f"{each}: it continues, but not bit by bit as it would have." for each in moved]


@dataclass(frozen=True)
class Resumed:
    """What a run goes on from.

    tensors   by group and name
    folder    the checkpoint's own
    damaged   by folder, why a newer checkpoint was left
    """

    tensors: Mapping[str, Mapping[str, Tensor]]
    state: RunState
    folder: Path
    damaged: Mapping[Path, str]


def read_resumed(checkpoints: CheckpointFolder) -> Resumed:
    """The newest whole checkpoint of a run; raises ModelFileError SK-M002, SK-M004."""
    found = checkpoints.find()
    state = checked(found.checkpoint, found.folder)
    return Resumed(found.checkpoint.tensors, state, found.folder, found.damaged)


def checked(checkpoint: Checkpoint, folder: Path) -> RunState:
    """The state, every field of the right kind; raises ModelFileError SK-M002 naming the first."""
    try:
        return RunState.model_validate_json(json.dumps(dict(checkpoint.state)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ModelFileError(
            "SK-M002",
            f"{folder} holds a state of another kind (state.json, {where}: "
            f"{first['msg'].lower()}).",
            f"Remove that folder to go on from the checkpoint before it: rm -r {folder}",
        ) from error
