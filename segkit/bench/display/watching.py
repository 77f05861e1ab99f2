"""What a benchmark tells whoever watches it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from segkit.bench.records.case import Case
from segkit.bench.records.machine import Ceilings, Environment
from segkit.bench.records.row import Row
from segkit.bench.records.run import Run


class Watcher(Protocol):
    """Told of everything as it happens; `Quiet` is one that does nothing."""

    def began(self, environment: Environment, ceilings: Ceilings | None) -> None: ...

    def planned(self, cases: Sequence[Case]) -> None: ...

    def working(self, case: Case, stage: str, share: float, seconds_left: float | None) -> None:
        """`share` of the whole benchmark that is done, 0 to 1."""

    def preliminary(self, row: Row) -> None:
        """What is known of a case so far: after it was prepared, and after each of its turns."""

    def finished_row(self, row: Row) -> None: ...

    def noticed(self, text: str) -> None: ...

    def finished(self, run: Run) -> None: ...


class Quiet:
    """Watches and says nothing; a base for watchers that say something."""

    def began(self, environment: Environment, ceilings: Ceilings | None) -> None:
        """Before the first case."""

    def planned(self, cases: Sequence[Case]) -> None:
        """What will be measured."""

    def working(self, case: Case, stage: str, share: float, seconds_left: float | None) -> None:
        """A case has entered a stage."""

    def preliminary(self, row: Row) -> None:
        """A case has first figures, or more of them."""

    def finished_row(self, row: Row) -> None:
        """A case is done, or will not be."""

    def noticed(self, text: str) -> None:
        """Something to know."""

    def finished(self, run: Run) -> None:
        """After everything."""
