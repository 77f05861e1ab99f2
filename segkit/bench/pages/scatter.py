"""Cases as points: two figures of each against one another, coloured by what varies, and the front.

The Pareto front: the cases that no other beats in both figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segkit.bench.display.labels import shared_and_own
from segkit.bench.pages.style import MARKERS, name_points, plain_numbers, settle
from segkit.bench.records.case import Case
from segkit.bench.records.row import Row
from segkit.reporting.figures import Theme, dress, figure, legend, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GROUPS = ("encoder", "upsampler", "loss", "decoder", "precision", "benchmark", "compile", "size")
FEW_GROUPS = 4


@dataclass(frozen=True)
class Scatter:
    """Cases as points on axes of their own.

    front      those that no other beats, by index
    numbered   whether points bear numbers, told beside the axes, in place of names
    """

    axes: Axes
    rows: Sequence[Row]
    points: Sequence[tuple[float, float]]
    front: Sequence[int]
    numbered: bool = False

    def draw(self, theme: Theme) -> str:
        """Points coloured by what varies most, and the front; returns what all have in common."""
        axes, group = self.axes, group_of([row.case for row in self.rows])
        names = [value_of(row.case, group) for row in self.rows]
        for at, name in enumerate(dict.fromkeys(names)):
            chosen = [p for p, own in zip(self.points, names, strict=True) if own == name]
            xs, ys = coordinates(chosen)
            axes.scatter(
                xs,
                ys,
                s=46,
                marker=MARKERS[at % len(MARKERS)],
                color=theme.colours[at % len(theme.colours)],
                edgecolors=theme.paper,
                linewidths=0.8,
                label=name,
                zorder=3,
            )
        if len(self.front) > 1:
            line = [self.points[at] for at in self.front]
            axes.plot(*coordinates(line), color=theme.faint, lw=1.1, ls=(0, (4, 3)), zorder=2)
        dress(axes, theme)
        self._scale()
        if self.numbered:
            self._number(theme, group)
        elif len(set(names)) > 1:
            legend(axes, theme, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        shared, _ = shared_and_own([row.case for row in self.rows])
        beaten = "dashed: no other case is better in both" if len(self.front) > 1 else ""
        return "; ".join(part for part in (shared, beaten) if part)

    def _number(self, theme: Theme, group: str) -> None:
        """Beside the axes, what each number stands for."""
        from matplotlib.lines import Line2D

        _, own = shared_and_own([row.case for row in self.rows])
        values = [value_of(row.case, group) for row in self.rows]
        kinds = list(dict.fromkeys(values))
        handles, labels = [], []
        for at, (row, value) in enumerate(zip(self.rows, values, strict=True), start=1):
            kind = kinds.index(value)
            marker = MARKERS[kind % len(MARKERS)]
            colour = theme.colours[kind % len(theme.colours)]
            handles.append(Line2D([], [], marker=marker, color=colour, ls="", ms=6))
            labels.append(f"{at}  {own[row.case.name]}")
        where: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.03)}
        small: dict[str, Any] = {"fontsize": 7.5, "labelspacing": 0.25}
        legend(self.axes, theme, handles=handles, labels=labels, **where, **small)

    def _names(self) -> list[str]:
        _, own = shared_and_own([row.case for row in self.rows])
        group = group_of([row.case for row in self.rows])
        values = [value_of(row.case, group) for row in self.rows]
        names = [own[row.case.name] for row in self.rows]
        if len(set(values)) <= FEW_GROUPS:
            # The colour says the group.
            return [_without(name, value) for name, value in zip(names, values, strict=True)]
        return names

    def name(self, theme: Theme) -> bool:
        """Writes names, once the figure has its layout; False where one finds no room."""
        names = [str(at + 1) for at in range(len(self.rows))]
        if not self.numbered:
            names = self._names()
        left_out = name_points(
            self.axes,
            [
                (x, y, name, at in self.front)
                for at, ((x, y), name) in enumerate(zip(self.points, names, strict=True))
            ],
            theme,
            margin=3.0 if self.numbered else 7.0,
        )
        return self.numbered or not left_out

    def _scale(self) -> None:
        axes = self.axes
        xs, ys = zip(*self.points, strict=True)
        for values, scale, axis in (
            (xs, axes.set_xscale, axes.xaxis),
            (ys, axes.set_yscale, axes.yaxis),
        ):
            if min(values) > 0 and max(values) > 4 * min(values):
                scale("log")
                plain_numbers(axis)
        axes.margins(0.12)


@dataclass(frozen=True)
class Panel:
    """What one panel of points shows.

    labels   of the axes, x and y
    wanted   for each coordinate 1 where more is better, -1 where less is
    """

    title: str
    labels: tuple[str, str]
    rows: Sequence[Row]
    points: Sequence[tuple[float, float]]
    wanted: tuple[int, int]


def scatters(panels: Sequence[Panel], theme: Theme, *, numbered: bool = False) -> Figure | None:
    """Panels of points, one under the other; numbered where a name would find no room."""
    if not panels:
        return None
    heights = [max(4.6, 0.6 + 0.19 * len(each.rows) * numbered) for each in panels]
    made = figure(9.5, sum(heights), theme)
    grid = made.add_gridspec(len(panels), 1, height_ratios=heights)
    drawn = []
    for at, each in enumerate(panels):
        axes = made.add_subplot(grid[at])
        front = pareto(each.points, each.wanted)
        drawn.append(Scatter(axes, each.rows, each.points, front, numbered))
        note = drawn[-1].draw(theme)
        axes.set_xlabel(each.labels[0])
        axes.set_ylabel(each.labels[1])
        title(axes, each.title, note, theme)
    settle(made)
    if not all(each.name(theme) for each in drawn):
        return scatters(panels, theme, numbered=True)
    return made


def pareto(points: Sequence[tuple[float, float]], wanted: tuple[int, int]) -> list[int]:
    """The points that no other beats, by index, along the front.

    wanted   for each coordinate 1 where more is better, -1 where less is
    """
    signed = [(x * wanted[0], y * wanted[1]) for x, y in points]
    front = [
        at
        for at, (x, y) in enumerate(signed)
        if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in signed)
    ]
    return sorted(front, key=lambda at: points[at])


def coordinates(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """The points' first numbers, and their second."""
    return [x for x, _ in points], [y for _, y in points]


def group_of(cases: Sequence[Case]) -> str:
    """The setting whose values are told apart by colour."""
    for group in GROUPS:
        if 1 < len({value_of(case, group) for case in cases}) <= len(MARKERS):
            return group
    return GROUPS[0] if len({value_of(case, GROUPS[0]) for case in cases}) == 1 else "task"


def value_of(case: Case, group: str) -> str:
    # Of a benchmark's component nothing but its name is known.
    name = case.benchmark.partition("(")[0] if case.benchmark else "none"
    return str(getattr(case, group) or name)


def extremes(
    rows: Sequence[Row], points: Sequence[tuple[float, float]]
) -> list[tuple[float, float, str, bool]]:
    """Of each group the lowest and the highest point, with the group's name; rates are y."""
    group = group_of([row.case for row in rows])
    found: dict[str, list[tuple[float, float]]] = {}
    for row, point in zip(rows, points, strict=True):
        found.setdefault(value_of(row.case, group), []).append(point)
    chosen = {
        (*point, name, False)
        for name, each in found.items()
        for point in (min(each, key=lambda p: p[1]), max(each, key=lambda p: p[1]))
    }
    return sorted(chosen)


def _without(name: str, part: str) -> str:
    """A name without one of its parts, unless that is all of it."""
    rest = [each for each in name.split(", ") if each not in (part, f"decoder {part}")]
    return ", ".join(rest) or name
