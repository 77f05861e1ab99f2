"""A folder small enough to train on in a second, and settings for it."""

from collections.abc import Callable

import pytest

from segkit.config import TrainConfig
from segkit.training.monitoring.events import Silence, StepReport
from segkit.training.training import train


class Interrupted(Exception):
    """Stands for a process that is killed."""


class InterruptAt(Silence):
    """Ends a training after the report on a step: the process sees no step that follows."""

    def __init__(self, step: int) -> None:
        self.step = step

    def stepped(self, report: StepReport) -> None:
        if report.step >= self.step:
            raise Interrupted


@pytest.fixture(autouse=True)
def single_thread(one_thread: None) -> None:
    """Every test here."""


@pytest.fixture
def interrupted() -> Callable[..., None]:
    """interrupted(config, after=5): trains and dies after the report on that step."""

    def run(config: TrainConfig, after: int) -> None:
        with pytest.raises(Interrupted):
            train(config, InterruptAt(after))

    return run
