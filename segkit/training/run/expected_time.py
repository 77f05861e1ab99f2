"""How long a training on a CPU will take, said at its start where segkit chose its length."""

from __future__ import annotations

from segkit.reporting.words import duration
from segkit.training.monitoring.events import Events, Silence, StepReport
from segkit.training.preparation.setup import Setup

# The first steps are slower than the others.
STEPS = 3
LONG = 1800.0


class ExpectedTime(Silence):
    """Tells `events` once, after a few steps, where more than half an hour is left."""

    def __init__(self, setup: Setup, events: Events) -> None:
        chosen = bool(setup.length.reason) and setup.group.device.type == "cpu"
        self.waits, self.events = chosen, events

    def stepped(self, report: StepReport) -> None:
        if not self.waits or report.step < STEPS:
            return
        self.waits = False
        if report.seconds_left > LONG:
            told = f"about {duration(report.seconds_left)} at this speed; --minutes 30 makes it "
            told += "half an hour, with crops and a rate for that"
            self.events.decided([("time", told)])
