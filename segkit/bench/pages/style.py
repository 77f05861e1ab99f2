"""Points with names beside them, and logarithmic axes in plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from segkit.bench.display.labels import plain
from segkit.reporting.figures import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")


def settle(made: Figure) -> None:
    """Finds the layout and keeps it, so that names can be placed by what they would cover."""
    made.draw_without_rendering()
    made.set_layout_engine("none")


def plain_numbers(axis: Any) -> None:
    """Ticks of a logarithmic axis as 1, 2, 5, 10, 20, 50, without powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axis.set_minor_formatter(NullFormatter())


# Where a label may stand beside its point: offset in points, alignment; the nearest first.
_PLACES = tuple(
    (dx * reach, dy * reach, horizontal, vertical)
    for reach in (1, 2, 3.2, 5, 7.5)
    for dx, dy, horizontal, vertical in (
        (6, 3, "left", "bottom"),
        (6, -3, "left", "top"),
        (-6, 3, "right", "bottom"),
        (-6, -3, "right", "top"),
        (0, 7, "center", "bottom"),
        (0, -7, "center", "top"),
    )
)


def name_points(
    axes: Axes,
    points: Sequence[tuple[float, float, str, bool]],
    theme: Theme,
    *,
    margin: float = 7.0,
) -> list[str]:
    """Writes each point's name where it covers neither point nor name; returns those left out.

    The figure must have its final layout (`settle`).
    points   x, y, name, and whether it matters: these come first and in a stronger colour
    margin   kept between a name and every other point, pixels
    """
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    where = [axes.transData.transform((x, y)) for x, y, _, _ in points]
    frame = axes.get_window_extent()
    taken: list[Any] = []
    left_out = []
    for at in sorted(range(len(points)), key=lambda at: not points[at][3]):
        x, y, name, matters = points[at]
        others = [*where[:at], *where[at + 1 :]]
        for dx, dy, horizontal, vertical in _PLACES:
            text = axes.annotate(
                name,
                xy=(x, y),
                xytext=(dx, dy),
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                fontsize=8,
                color=theme.ink if matters else theme.faint,
                bbox={"facecolor": theme.paper, "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
                arrowprops={"arrowstyle": "-", "color": theme.faint, "lw": 0.6}
                if abs(dx) + abs(dy) > 12
                else None,
            )
            text.set_in_layout(False)
            box = text.get_window_extent(renderer)
            if _is_free(box, frame, others, taken, margin):
                taken.append(box)
                break
            text.remove()
        else:
            left_out.append(name)
    return left_out


def _is_free(
    box: Any, frame: Any, points: Sequence[Any], taken: Sequence[Any], margin: float
) -> bool:
    """Whether a name's box lies within the frame and covers neither a point nor another name."""
    if box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1:
        return False
    if any(box.overlaps(other) for other in taken):
        return False
    return not any(
        box.x0 - margin < x < box.x1 + margin and box.y0 - margin < y < box.y1 + margin
        for x, y in points
    )
