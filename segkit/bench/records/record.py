"""What all records of a benchmark have in common."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
