"""Cases as bars: the median of a step with its 95 % interval, or the speed beside a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from segkit.bench.display.labels import memory_beside_baseline, plain, shared_and_own
from segkit.bench.pages.style import plain_numbers
from segkit.bench.records.row import Row
from segkit.reporting.figures import Theme, dress, figure, legend, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PHASES = ("forward", "backward", "optimizer")
MOST_STRETCH = 1.5
# What of a step lies in no phase: the next input put in place, and what is between the marks.
REST = "rest"


def bar_panels(panels: Sequence[tuple[str, list[Row]]], theme: Theme) -> Figure | None:
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
    scale, unit = (1e3, "ms") if max(map(seconds_of, rows)) < 1 else (1, "s")
    # Of two rounds an interval may reach beyond all sense: then it is cut, not the bars squeezed.
    widest = scale * min(
        max(row.times["step"].high for row in rows), MOST_STRETCH * max(map(seconds_of, rows))
    )
    phases = [name for name in PHASES if any(name in row.times for row in rows)]
    # A step without phases is one segment, and so are then all.
    phases *= all(name in row.times for row in rows for name in phases[:1])
    parts = [segments(row, phases) for row in rows]
    left = [0.0] * len(rows)
    for at, name in enumerate(parts[0]):
        widths = [scale * each[name] for each in parts]
        colour = theme.faint if name == REST else theme.colours[at]
        axes.barh(places, widths, 0.62, left, color=colour, label=name)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for place, row in zip(places, rows, strict=True):
        step = row.times["step"]
        end = _whisker(
            axes,
            place,
            [scale * each for each in (step.low, step.median, step.high)],
            widest,
            theme,
        )
        speed = f"{plain(row.images_per_s)} {row.unit}s/s" if row.images_per_s else ""
        cut = f"  interval to {plain(scale * step.high)} {unit}" * (scale * step.high > widest)
        mark = " *" if row.noisy else ""
        text = f"{plain(scale * step.median)} {unit}  {speed}{mark}{cut}"
        at_end(axes, end, place, text, theme)
    axes.set_yticks(places, [own[row.case.name] for row in rows])
    axes.invert_yaxis()
    noisy = ", * noisy" if any(row.noisy for row in rows) else ""
    axes.set_xlabel(f"{unit}, median of a step with its 95 % interval{noisy}")
    dress(axes, theme, grid="x")
    axes.tick_params(axis="y", labelcolor=theme.ink, length=0)
    axes.set_xlim(0, 1.28 * widest)
    if len(parts[0]) > 1:
        # Beside the title, where no bar can reach.
        legend(axes, theme, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4)


def segments(row: Row, phases: Sequence[str]) -> dict[str, float]:
    """Seconds of a step's phases and of the rest; they add up to the median of the step.

    Medians of parts need not add up to the median of the whole: where they come to more, each is
    drawn in proportion.
    """
    step = row.times["step"].median
    found = {name: row.times[name].median if name in row.times else 0.0 for name in phases}
    if len(found) < 2:
        return {"step": step}
    total = sum(found.values())
    share = min(step / total, 1.0)
    return {name: share * seconds for name, seconds in found.items()} | {
        REST: max(step - total, 0.0)
    }


def _whisker(
    axes: Axes, place: int, interval: Sequence[float], widest: float, theme: Theme
) -> float:
    """The line of an interval (low, median, high); an arrow where it is cut. Returns its end."""
    low, middle, high = interval
    end = min(high, widest)
    how = {"color": theme.ink, "lw": 1.1, "fmt": "none", "capsize": 2.5}
    axes.errorbar(middle, place, xerr=[[middle - low], [max(end - middle, 0.0)]], **how)  # type: ignore[arg-type]
    if high > widest:
        axes.plot([end], [place], marker=">", ms=5, color=theme.ink)
    return max(end, middle)


def speed_points(axes: Axes, rows: Sequence[Row], theme: Theme) -> None:
    """Each row's speed beside its baseline as a point with its interval; ties are hollow."""
    found = [(row, row.relative) for row in rows if row.relative]
    found.sort(key=lambda each: -each[1].speed)
    _, own = shared_and_own([row.case for row, _ in found])
    axes.set_xscale("log")
    axes.axvline(1.0, color=theme.faint, lw=1.0, zorder=1)
    for place, (row, relative) in enumerate(found):
        axes.errorbar(
            relative.speed,
            place,
            xerr=[[relative.speed - relative.low], [relative.high - relative.speed]],
            fmt="o",
            ms=6,
            color=theme.colours[0],
            mfc=theme.paper if relative.tie else theme.colours[0],
            lw=1.4,
            capsize=2.5,
        )
        memory = memory_beside_baseline(row)
        text = plain(relative.speed) + (f"  memory {memory}" if memory else "")
        at_end(axes, relative.high, place, text + "  tie" * relative.tie, theme)
    axes.set_yticks(range(len(found)), [own[row.case.name] for row, _ in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    lowest = min(1.0, *(relative.low for _, relative in found))
    highest = max(1.0, *(relative.high for _, relative in found))
    # Room at the right for the figures beside the points.
    axes.set_xlim(lowest / 1.1, highest * max(highest / lowest, 2) ** 0.35)
    plain_numbers(axes.xaxis)
    axes.set_xlabel("times as fast, with its 95 % interval")
    dress(axes, theme, grid="x")
    axes.tick_params(axis="y", labelcolor=theme.ink, length=0)


def at_end(axes: Axes, x: float, y: float, text: str, theme: Theme) -> None:
    axes.annotate(
        text,
        xy=(x, y),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=theme.faint,
    )


def seconds_of(row: Row) -> float:
    """The median of its step."""
    return row.times["step"].median
