"""What predictions.json holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from segkit.inference.output import Failed, Predicted
from segkit.model.network import ModelRecord
from segkit.reporting.pictures import palette_for
from segkit.version import __version__


@dataclass
class Report:
    """What predictions.json holds."""

    model: str | tuple[str, ...]
    record: ModelRecord
    device: str
    precision: str
    images: list[Predicted] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Everything, in plain types."""
        record = self.record
        parts = {
            part: getattr(record, part).expression for part in ("encoder", "decoder", "upsampler")
        }
        return {
            "segkit": __version__,
            "model": {"path": self.model, **parts},
            "device": self.device,
            "precision": self.precision,
            "classes": list(record.label_names),
            "palette": [list(colour) for colour in palette_for(record.label_count, record.palette)],
            "images": [asdict(each) for each in self.images],
            "failed": [asdict(each) for each in self.failed],
        }
