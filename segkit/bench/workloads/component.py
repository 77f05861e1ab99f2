"""A component of kind `benchmarks`, from any plugin: peers' networks among them."""

from __future__ import annotations

from segkit.bench.instruments.instrument import Mark
from segkit.bench.records.case import Case
from segkit.bench.records.row import Correctness, Counts
from segkit.bench.workloads.contract import load_components
from segkit.interfaces import Benchmark
from segkit.registry.components import Component, default_registry
from segkit.registry.expression import parse_component
from segkit.registry.options import options_of

# Settings of a case that a benchmark receives where it has an option of that name.
SHARED = ("mode", "size", "batch", "classes", "precision", "channels_last", "compile", "loss")


class ComponentWorkload:
    """Whatever the component's run() does."""

    unit, units = "image", 1

    def __init__(self, case: Case) -> None:
        self.case = case

    def load_code(self) -> None:
        load_components(self.case)

    def set_up(self) -> None:
        named = named_benchmark(self.case)
        self.benchmark: Benchmark = named.built(device=self.case.device)
        self.benchmark.set_up()
        self.unit = self.benchmark.unit

    def load(self) -> None:
        """The component has its own inputs."""

    def work(self, mark: Mark) -> None:
        self.units = self.benchmark.run()

    def check(self) -> Correctness | None:
        """What the component's own optional check() says: (error, largest error allowed)."""
        check = getattr(self.benchmark, "check", None)
        if check is None:
            return None
        error, allowed = check()
        return Correctness(
            error=float(error), tolerance=float(allowed), against="the benchmark's own reference"
        )

    def count(self) -> Counts | None:
        """What the component's own optional attribute `counts` says, by the names in Counts."""
        counts = getattr(self.benchmark, "counts", None)
        return Counts.model_validate(counts) if counts is not None else None

    def held_bytes(self) -> int:
        return 0


def named_benchmark(case: Case) -> Component:
    """The component, given the case's settings where it has options of their names."""
    registry = default_registry()
    expression = parse_component(str(case.benchmark))
    entry = registry.index.find("benchmarks", expression)
    offered = {o.name for o in options_of(registry.factory(entry, expression.name), "benchmarks")}
    shared = {
        name: getattr(case, name)
        for name in SHARED
        if name in offered and name not in expression.options and getattr(case, name) is not None
    }
    return registry.component("benchmarks", expression, shared)
