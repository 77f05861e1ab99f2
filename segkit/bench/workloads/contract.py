"""The contract of what is measured."""

from __future__ import annotations

from typing import Protocol

from segkit.bench.instruments.instrument import Mark
from segkit.bench.records.case import Case
from segkit.bench.records.row import Correctness, Counts
from segkit.registry.components import default_registry
from segkit.registry.expression import parse_component, parse_sum


class Workload(Protocol):
    """One case's work.

    unit    what a step processes
    units   how many of them a step processes

    A step is `load` and then `work`; only `work` is recorded where a step is replayed as a graph.
    """

    unit: str
    units: int

    def load_code(self) -> None:
        """Imports what the case names, so that code does not count as the network's memory."""

    def set_up(self) -> None:
        """Builds everything that is not to be measured."""

    def load(self) -> None:
        """Puts the next of the rotating inputs in place."""

    def work(self, mark: Mark) -> None:
        """The work, once; marks the end of each phase."""

    def check(self) -> Correctness | None:
        """The output beside a float64 reference; None where there is none."""

    def count(self) -> Counts | None:
        """What a step amounts to on paper; None where that is not known."""

    def held_bytes(self) -> int:
        """Bytes of weights, gradients and optimizer states, which stay between steps."""


def load_components(case: Case) -> None:
    """Imports the plugins of all components that a case names; raises what the registry raises."""
    registry = default_registry()
    for kind, written in (
        ("encoders", case.encoder),
        ("decoders", case.decoder),
        ("upsamplers", case.upsampler),
        ("benchmarks", case.benchmark),
    ):
        if written:
            component = parse_component(written)
            registry.factory(registry.index.find(kind, component), component.name)
    for term in parse_sum(case.loss) if case.loss else ():
        registry.factory(registry.index.find("losses", term.component), term.component.name)
