"""Score over minutes: a panel a set, a line a tool, with the intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from segkit.bench.pages.style import MARKERS
from segkit.reporting.figures import Theme, dress, figure, legend, png, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACROSS, WIDTH, HEIGHT = 3, 3.3, 2.7
# Tools side by side at one time are moved apart by this factor of the minutes.
APART = 1.04


def draw(found: Mapping[str, Any], theme: Theme) -> bytes:
    """The rows of a result as a picture; PNG."""
    sets, tools = list(found["sets"]), list(found["tools"])
    down = -(-len(sets) // ACROSS)
    made = figure(WIDTH * min(ACROSS, len(sets)), HEIGHT * down + 0.5, theme)
    for place, name in enumerate(sets):
        axes = made.add_subplot(down, min(ACROSS, len(sets)), place + 1)
        for number, tool in enumerate(tools):
            rows = _rows(found, name, tool)
            if rows:
                _line(axes, rows, number - (len(tools) - 1) / 2, _look(number, theme))
        about = found["sets"][name]
        axes.set_xscale("log")
        times = sorted({row["minutes"] for row in found["rows"]})
        axes.set_xticks(times, [f"{each:g}" for each in times], minor=False)
        axes.minorticks_off()
        axes.set_xlim(times[0] / 1.6, times[-1] * 1.6)
        axes.set_xlabel("minutes")
        dress(axes, theme)
        title(
            axes, name, f"{about['score']}, {about['train']} train, {about['test']} tested", theme
        )
        axes.set_ylim(0, 1)
        if place == 0:
            for number, tool in enumerate(tools):
                axes.plot([], [], label=tool, **_look(number, theme))
            legend(axes, theme, loc="best", fontsize=7)
    return png(made)


def _rows(found: Mapping[str, Any], name: str, tool: str) -> list[Mapping[str, Any]]:
    rows = [
        row
        for row in found["rows"]
        if row["set"] == name and row["tool"] == tool and "score" in row
    ]
    return sorted(rows, key=lambda row: row["minutes"])


def _line(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    aside: float,
    look: Mapping[str, Any],
) -> None:
    score = [row["score"] for row in rows]
    low = [row["score"] if row["low"] is None else row["low"] for row in rows]
    high = [row["score"] if row["high"] is None else row["high"] for row in rows]
    axes.errorbar(
        [row["minutes"] * APART**aside for row in rows],
        score,
        yerr=[
            [max(0.0, s - each) for s, each in zip(score, low, strict=True)],
            [max(0.0, each - s) for s, each in zip(score, high, strict=True)],
        ],
        capsize=2,
        **look,
    )


def _look(number: int, theme: Theme) -> dict[str, Any]:
    """Marker and colour of a tool, by its place."""
    colour = theme.colours[number % len(theme.colours)]
    return {"marker": MARKERS[number % len(MARKERS)], "ms": 5, "lw": 1.2, "color": colour}
