"""The pictures of a benchmark: each takes the run's rows and returns a figure, or None without any.

Speed against memory and score against speed show their Pareto front: the cases that no other beats
in both. Bars carry the 95 % interval of the median. The roofline stands on ceilings measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segkit.bench.records import Case, Row, Run
from segkit.report.benchmark_labels import shared_and_own
from segkit.report.benchmark_style import (
    MARKERS,
    Theme,
    dress,
    figure,
    legend,
    name_points,
    plain_numbers,
    settle,
    title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MIB = 2**20
MODES = {"train": "training", "infer": "inference"}
PHASES = ("forward", "backward", "optimizer")
GROUPS = ("encoder", "upsampler", "loss", "decoder", "precision", "benchmark", "compile", "size")
MOST_BARS, MOST_PANELS, FEW_GROUPS = 48, 6, 4
MOST_STRETCH = 1.5


def speed_and_memory(run: Run, theme: Theme) -> Figure | None:
    """Images a second against peak memory, a panel for training and one for inference."""
    rows = [row for row in measured(run) if row.memory and row.images_per_s]
    panels = _by_mode(rows)
    if not rows:
        return None
    made = figure(9.5, 4.6 * len(panels), theme)
    scatters = []
    for at, (mode, each) in enumerate(panels.items()):
        axes = made.add_subplot(len(panels), 1, at + 1)
        points = [(_speed(row), _peak(row) / MIB) for row in each]
        front = pareto(points, (1, -1))
        scatters.append(Scatter(axes, each, points, front))
        note = scatters[-1].draw(theme)
        axes.set_xlabel(f"{_unit(each)}s a second")
        axes.set_ylabel("peak memory above idle, MiB")
        title(axes, f"Speed and memory in {MODES[mode]}", note, theme)
    settle(made)
    for scatter in scatters:
        scatter.name(theme)
    return made


def score_and_speed(run: Run, theme: Theme) -> Figure | None:
    """The score after a short training against images a second."""
    rows = [r for r in measured(run) if r.quality and r.quality.score is not None]
    panels = _by_mode([row for row in rows if row.images_per_s])
    if not panels:
        return None
    made = figure(9.5, 4.6 * len(panels), theme)
    scatters = []
    for at, (mode, each) in enumerate(panels.items()):
        axes = made.add_subplot(len(panels), 1, at + 1)
        points = [(_speed(row), _score(row)) for row in each]
        scatters.append(Scatter(axes, each, points, pareto(points, (1, 1))))
        note = scatters[-1].draw(theme)
        quality = each[0].quality
        assert quality is not None
        axes.set_xlabel(f"{_unit(each)}s a second")
        axes.set_ylabel(f"{quality.metric} after {quality.epochs} epochs, {quality.data}")
        title(axes, f"Score and speed in {MODES[mode]}", note, theme)
    settle(made)
    for scatter in scatters:
        scatter.name(theme)
    return made


def step_times(run: Run, theme: Theme) -> Figure | None:
    """A bar a case: the median step with its interval; in training its phases."""
    panels = _by_mode(measured(run))
    panels = {mode: sorted(each, key=_step)[:MOST_BARS] for mode, each in panels.items()}
    return _bar_panels(
        [(f"Time of a step in {MODES[mode]}", each) for mode, each in panels.items()], theme
    )


def per_upsampler(run: Run, theme: Theme) -> Figure | None:
    """Upsamplers side by side, a panel for everything else that was the same."""
    groups: dict[str, list[Row]] = {}
    for row in measured(run):
        if row.case.upsampler:
            rest = row.case.model_copy(update={"upsampler": None})
            groups.setdefault(rest.name, []).append(row)
    panels = [sorted(each, key=_step) for each in groups.values() if len(each) > 1]
    # Where nothing but the upsampler varies, the picture of all cases shows the same.
    if len(panels) < 2:
        return None
    named = [(f"Upsamplers in {MODES[each[0].case.mode]}", each) for each in panels]
    return _bar_panels(named[:MOST_PANELS], theme)


def checkerboard(run: Run, theme: Theme) -> Figure | None:
    """How much of the spectrum lies at the upsampling frequencies, before and after training."""
    rows = [row for row in run.rows if row.checkerboard]
    if not rows:
        return None
    rows = sorted(rows, key=lambda row: _artefact(row, "at_start"))
    shared, own = shared_and_own([row.case for row in rows])
    made = figure(9.5, 1.3 + 0.42 * len(rows), theme)
    axes = made.add_subplot()
    for at, (key, name) in enumerate((("at_start", "at random"), ("after_training", "trained"))):
        values = [100 * _artefact(row, key) for row in rows]
        offset = 0.2 - 0.4 * at
        places = [number + offset for number in range(len(rows))]
        axes.barh(places, values, height=0.36, color=theme.colours[at], label=name)
        for place, value in zip(places, values, strict=True):
            _at_end(axes, value, place, f"{value:.2g}", theme)
    axes.set_yticks(range(len(rows)), [own[row.case.name] for row in rows])
    axes.set_xlabel("energy at the upsampling frequencies, % of the spectrum")
    dress(axes, theme, grid="x")
    axes.tick_params(axis="y", labelcolor=theme.ink, length=0)
    axes.margins(x=0.1)
    legend(axes, theme, loc="lower right")
    title(axes, "Checkerboard artefacts", shared, theme)
    return made


def roofline(run: Run, theme: Theme) -> Figure | None:
    """FLOP/s achieved against FLOPs a byte, under the ceilings of this machine."""
    rows = [row for row in measured(run) if _intensity(row)]
    if not rows or run.ceilings is None:
        return None
    ceilings = run.ceilings
    precisions = sorted({row.case.precision for row in rows})
    points = [(_intensity(row), _rate(row) / 1e9) for row in rows]
    made = figure(9.5, 5.4, theme)
    axes = made.add_subplot()
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = min(x for x, _ in points) / 4, max(x for x, _ in points) * 4
    tops = {p: (ceilings.flops(p) or 0.0) / 1e9 for p in precisions}
    high = max([high, *(4e9 * top / ceilings.copy_bytes for top in tops.values())])
    for at, (precision, top) in enumerate(tops.items()):
        if not top:
            continue
        knee = 1e9 * top / ceilings.copy_bytes
        colour = theme.colours[at]
        slope = [low * ceilings.copy_bytes / 1e9, top]
        axes.plot([low, knee], slope, color=theme.faint, lw=1.2, zorder=1)
        axes.plot([knee, high], [top, top], color=colour, lw=1.4, zorder=1)
        _over_line(axes, (high, top), f"{precision}: {top:,.0f} GFLOP/s", colour)
    axes.set_xlim(low, high)
    axes.set_ylim(min(y for _, y in points) / 3, max([*tops.values(), *(y for _, y in points)]) * 2)
    for at, precision in enumerate(precisions):
        for mode, marker in (("train", "o"), ("infer", "^")):
            chosen = [
                point
                for point, row in zip(points, rows, strict=True)
                if (row.case.precision, row.case.mode) == (precision, mode)
            ]
            if chosen:
                xs, ys = coordinates(chosen)
                axes.scatter(
                    xs,
                    ys,
                    s=42,
                    marker=marker,
                    color=theme.colours[at],
                    label=f"{precision}, {MODES[mode]}",
                    zorder=3,
                )
    plain_numbers(axes.xaxis)
    plain_numbers(axes.yaxis)
    axes.set_xlabel("FLOPs for each byte that must move (everything fused that can be)")
    axes.set_ylabel("GFLOP/s achieved")
    dress(axes, theme)
    legend(axes, theme, loc="lower right")
    note = f"the slope: {ceilings.copy_bytes / 1e9:,.0f} GB/s, a large copy; both measured before"
    title(axes, "Roofline: how near to what this machine can do", note, theme)
    settle(made)
    name_points(axes, _extremes(rows, points), theme)
    return made


PICTURES: dict[str, Callable[[Run, Theme], Any]] = {
    "speed-and-memory": speed_and_memory,
    "score-and-speed": score_and_speed,
    "step-times": step_times,
    "upsamplers": per_upsampler,
    "checkerboard": checkerboard,
    "roofline": roofline,
}


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


def measured(run: Run) -> list[Row]:
    """The rows that hold times."""
    return [row for row in run.rows if row.status == "ok" and "step" in row.times]


@dataclass(frozen=True)
class Scatter:
    """Cases as points on axes of their own; front: those that no other beats, by index."""

    axes: Axes
    rows: Sequence[Row]
    points: Sequence[tuple[float, float]]
    front: Sequence[int]

    def draw(self, theme: Theme) -> str:
        """Points coloured by what varies most, and the front; returns what all have in common."""
        axes, group = self.axes, _group([row.case for row in self.rows])
        names = [_value(row.case, group) for row in self.rows]
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
        if len(set(names)) > 1:
            legend(axes, theme, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        shared, _ = shared_and_own([row.case for row in self.rows])
        beaten = "dashed: no other case is better in both" if len(self.front) > 1 else ""
        return "; ".join(part for part in (shared, beaten) if part)

    def name(self, theme: Theme) -> None:
        """Writes the cases' names; only once the whole figure has its layout."""
        _, own = shared_and_own([row.case for row in self.rows])
        group = _group([row.case for row in self.rows])
        values = [_value(row.case, group) for row in self.rows]
        names = [own[row.case.name] for row in self.rows]
        if len(set(values)) <= FEW_GROUPS:
            # The colour says the group.
            names = [_without(name, value) for name, value in zip(names, values, strict=True)]
        name_points(
            self.axes,
            [
                (x, y, name, at in self.front)
                for at, ((x, y), name) in enumerate(zip(self.points, names, strict=True))
            ],
            theme,
        )

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


def _bar_panels(panels: Sequence[tuple[str, list[Row]]], theme: Theme) -> Figure | None:
    """Titles with their rows, one panel under the other."""
    if not panels:
        return None
    heights = [1.0 + 0.3 * len(rows) for _, rows in panels]
    made = figure(9.5, sum(heights) + 0.3, theme)
    grid = made.add_gridspec(len(panels), 1, height_ratios=heights)
    for at, (name, rows) in enumerate(panels):
        axes = made.add_subplot(grid[at])
        _bars(axes, rows, theme)
        shared, _ = shared_and_own([row.case for row in rows])
        title(axes, name, shared, theme)
    return made


def _bars(axes: Axes, rows: Sequence[Row], theme: Theme) -> None:
    _, own = shared_and_own([row.case for row in rows])
    places = range(len(rows))
    scale, unit = (1e3, "ms") if max(map(_step, rows)) < 1 else (1, "s")
    left = [0.0] * len(rows)
    # Of two rounds an interval may reach beyond all sense: then it is cut, not the bars squeezed.
    widest = scale * min(
        max(row.times["step"].high for row in rows), MOST_STRETCH * max(map(_step, rows))
    )
    phases = [p for p in PHASES if all(p in row.times for row in rows)]
    for at, phase in enumerate(phases if len(phases) > 1 else ["step"]):
        widths = [scale * row.times[phase].median for row in rows]
        axes.barh(places, widths, 0.62, left, color=theme.colours[at], label=phase)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for place, row in zip(places, rows, strict=True):
        step = row.times["step"]
        low, high = scale * (step.median - step.low), scale * (step.high - step.median)
        axes.errorbar(
            scale * step.median,
            place,
            xerr=[[low], [min(high, widest - scale * step.median)]],
            color=theme.ink,
            lw=1.1,
            capsize=2.5,
            fmt="none",
        )
        speed = f"{row.images_per_s:.3g} {row.unit}s/s" if row.images_per_s else ""
        mark = " *" if row.noisy else ""
        end = min(max(scale * step.high, left[place]), widest)
        _at_end(axes, end, place, f"{scale * step.median:.3g} {unit}  {speed}{mark}", theme)
    axes.set_yticks(places, [own[row.case.name] for row in rows])
    axes.invert_yaxis()
    noisy = ", * noisy" if any(row.noisy for row in rows) else ""
    axes.set_xlabel(f"{unit}, median of a step with its 95 % interval{noisy}")
    dress(axes, theme, grid="x")
    axes.tick_params(axis="y", labelcolor=theme.ink, length=0)
    axes.set_xlim(0, 1.28 * widest)
    if len(phases) > 1:
        # Beside the title, where no bar can reach.
        legend(axes, theme, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3)


def _at_end(axes: Axes, x: float, y: float, text: str, theme: Theme) -> None:
    axes.annotate(
        text,
        xy=(x, y),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=theme.faint,
    )


def _over_line(axes: Axes, end: tuple[float, float], text: str, colour: str) -> None:
    axes.annotate(
        text,
        xy=end,
        xytext=(-3, 4),
        textcoords="offset points",
        ha="right",
        fontsize=8.5,
        color=colour,
    )


def _by_mode(rows: Sequence[Row]) -> dict[str, list[Row]]:
    panels = {mode: [row for row in rows if row.case.mode == mode] for mode in MODES}
    return {mode: each for mode, each in panels.items() if each}


def _group(cases: Sequence[Case]) -> str:
    """The setting whose values are told apart by colour."""
    for group in GROUPS:
        if 1 < len({_value(case, group) for case in cases}) <= len(MARKERS):
            return group
    return GROUPS[0] if len({_value(case, GROUPS[0]) for case in cases}) == 1 else "task"


def _value(case: Case, group: str) -> str:
    return str(getattr(case, group) or "none")


def _extremes(
    rows: Sequence[Row], points: Sequence[tuple[float, float]]
) -> list[tuple[float, float, str, bool]]:
    """Of each group the lowest and the highest point, with the group's name; rates are y."""
    group = _group([row.case for row in rows])
    found: dict[str, list[tuple[float, float]]] = {}
    for row, point in zip(rows, points, strict=True):
        found.setdefault(_value(row.case, group), []).append(point)
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


def _unit(rows: Sequence[Row]) -> str:
    return rows[0].unit


def _speed(row: Row) -> float:
    return row.images_per_s or math.nan


def _step(row: Row) -> float:
    return row.times["step"].median


def _peak(row: Row) -> float:
    return row.memory.peak_bytes if row.memory else math.nan


def _score(row: Row) -> float:
    found = row.quality.score if row.quality else None
    return math.nan if found is None else found


def _artefact(row: Row, key: str) -> float:
    return (getattr(row.checkerboard, key) if row.checkerboard else None) or 0.0


def _intensity(row: Row) -> float:
    """FLOPs for each byte that must move; 0 where not known."""
    counts = row.counts
    if counts is None or not counts.flops or not counts.fewest_bytes:
        return 0.0
    return counts.flops / counts.fewest_bytes


def _rate(row: Row) -> float:
    flops = row.counts.flops if row.counts else None
    return (flops or 0) / _step(row)
