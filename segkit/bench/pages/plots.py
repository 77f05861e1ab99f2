"""The pictures of a benchmark: each takes the run's rows and returns a figure, or None without any.

Bars carry the 95 % interval of the median. The roofline stands on ceilings measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from segkit.bench.display.labels import shared_and_own
from segkit.bench.pages.bars import at_end, bar_panels, seconds_of, speed_points
from segkit.bench.pages.scatter import Panel, coordinates, extremes, scatters
from segkit.bench.pages.style import name_points, plain_numbers, settle
from segkit.bench.records.row import Row
from segkit.bench.records.run import Run
from segkit.reporting.figures import Theme, dress, figure, legend, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MIB = 2**20
MODES = {"train": "training", "infer": "inference"}
MOST_BARS, MOST_PANELS = 48, 6


def speed_and_memory(run: Run, theme: Theme) -> Figure | None:
    """Images a second against peak memory, a panel for training and one for inference."""
    panels = _by_mode([row for row in measured(run) if row.memory and row.images_per_s])
    plans = [
        Panel(
            title=f"Speed and memory in {MODES[mode]}",
            labels=(f"{_unit(rows)}s a second", "peak memory above idle, MiB"),
            rows=rows,
            points=[(_speed(row), _peak(row) / MIB) for row in rows],
            wanted=(1, -1),
        )
        for mode, rows in panels.items()
    ]
    return scatters(plans, theme)


def score_and_speed(run: Run, theme: Theme) -> Figure | None:
    """The score after a short training against images a second."""
    scored = [r for r in measured(run) if r.quality and r.quality.score is not None]
    plans = []
    for mode, rows in _by_mode([row for row in scored if row.images_per_s]).items():
        quality = rows[0].quality
        assert quality is not None
        plans.append(
            Panel(
                title=f"Score and speed in {MODES[mode]}",
                labels=(
                    f"{_unit(rows)}s a second",
                    f"{quality.metric} after {quality.epochs} epochs, {quality.data}",
                ),
                rows=rows,
                points=[(_speed(row), _score(row)) for row in rows],
                wanted=(1, 1),
            )
        )
    return scatters(plans, theme)


def step_times(run: Run, theme: Theme) -> Figure | None:
    """A bar a case: the median step with its interval; in training its phases."""
    panels = _by_mode(measured(run))
    panels = {mode: sorted(each, key=seconds_of)[:MOST_BARS] for mode, each in panels.items()}
    return bar_panels(
        [(f"Time of a step in {MODES[mode]}", each) for mode, each in panels.items()], theme
    )


def beside_baseline(run: Run, theme: Theme) -> Figure | None:
    """How many times as fast as its baseline each case is, a panel for each baseline."""
    panels: dict[str, list[Row]] = {}
    for row in measured(run):
        if row.relative and row.relative.baseline != row.case.name:
            panels.setdefault(row.relative.baseline, []).append(row)
    if not panels:
        return None
    shown = dict(list(panels.items())[:MOST_PANELS])
    heights = [1.0 + 0.3 * len(rows) for rows in shown.values()]
    made = figure(9.5, sum(heights) + 0.3, theme)
    grid = made.add_gridspec(len(shown), 1, height_ratios=heights)
    for at, (name, rows) in enumerate(shown.items()):
        axes = made.add_subplot(grid[at])
        speed_points(axes, rows[:MOST_BARS], theme)
        title(axes, "Times as fast as the baseline", name, theme)
    return made


def per_upsampler(run: Run, theme: Theme) -> Figure | None:
    """Upsamplers side by side, a panel for everything else that was the same."""
    groups: dict[str, list[Row]] = {}
    for row in measured(run):
        if row.case.upsampler:
            rest = row.case.model_copy(update={"upsampler": None})
            groups.setdefault(rest.name, []).append(row)
    panels = [sorted(each, key=seconds_of) for each in groups.values() if len(each) > 1]
    # Where nothing but the upsampler varies, the picture of all cases shows the same.
    if len(panels) < 2:
        return None
    named = [(f"Upsamplers in {MODES[each[0].case.mode]}", each) for each in panels]
    return bar_panels(named[:MOST_PANELS], theme)


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
            at_end(axes, value, place, f"{value:.2g}", theme)
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
    name_points(axes, extremes(rows, points), theme)
    return made


PICTURES: dict[str, Callable[[Run, Theme], Any]] = {
    "speed-and-memory": speed_and_memory,
    "score-and-speed": score_and_speed,
    "step-times": step_times,
    "beside-baseline": beside_baseline,
    "upsamplers": per_upsampler,
    "checkerboard": checkerboard,
    "roofline": roofline,
}


def measured(run: Run) -> list[Row]:
    """The rows that hold times."""
    return [row for row in run.rows if row.status == "ok" and "step" in row.times]


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


def _unit(rows: Sequence[Row]) -> str:
    return rows[0].unit


def _speed(row: Row) -> float:
    return row.images_per_s or math.nan


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
    return (flops or 0) / seconds_of(row)
