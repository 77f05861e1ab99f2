"""Figures of an evaluation and of a training, each in a theme: confusion, certainty, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segkit.reporting.figures import Theme, dress, figure, legend, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

Numbers = Sequence[float] | NDArray[np.float64]
# Classes whose cells are large enough to write the share into; curves that a legend can name.
MOST_WRITTEN, MOST_NAMED, MOST_LINES = 16, 40, 8
LONGEST_NAME = 22
# A share of the pixels at which a curve may begin.
COARSE = 0.02


def confusion(counts_KK: NDArray[np.int64], classes: Sequence[str], theme: Theme) -> Figure:
    """Of each true class (row) the share given each class, in percent."""
    total_K1 = counts_KK.sum(axis=1, keepdims=True)
    share_KK = np.divide(counts_KK, total_K1, out=np.zeros(counts_KK.shape), where=total_K1 > 0)
    count = len(classes)
    side = min(11.0, max(4.6, 2.0 + 0.42 * count))
    made = figure(side + 0.8, side, theme)
    axes = made.add_subplot()
    axes.imshow(share_KK, cmap=_from_paper(theme), vmin=0, vmax=1, interpolation="nearest")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    dress(axes, theme)
    axes.grid(visible=False)
    if count <= MOST_NAMED:
        names = [_short(name) for name in classes]
        axes.set_xticks(range(count), names, rotation=90 if count > 3 else 0)
        axes.set_yticks(range(count), names)
    axes.tick_params(labelcolor=theme.ink, length=0)
    if count <= MOST_WRITTEN:
        for (row, column), share in np.ndenumerate(share_KK):
            if counts_KK[row, column]:
                strong = theme.paper if share > 0.7 else theme.ink
                text = _percent(share)
                axes.text(column, row, text, ha="center", va="center", fontsize=8, color=strong)
    title(axes, "Confusion", "percent of the true class's pixels", theme)
    return made


def calibration(
    pixels_X: NDArray[np.int64],
    certainty_X: Numbers,
    right_X: Numbers,
    error: float,
    theme: Theme,
    name: str = "Calibration",
) -> Figure:
    """The share of right pixels against the certainty, above how the pixels are spread."""
    made = figure(5.4, 4.6, theme)
    grid = made.add_gridspec(2, 1, height_ratios=[3.4, 1])
    axes, below = made.add_subplot(grid[0]), made.add_subplot(grid[1])
    axes.plot([0, 1], [0, 1], color=theme.faint, lw=1, ls="--", label="as right as certain")
    held = np.asarray(pixels_X) > 0
    x, y = np.asarray(certainty_X)[held], np.asarray(right_X)[held]
    axes.plot(x, y, color=theme.colours[0], marker="o", ms=4, lw=1.6, label="found")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), ylabel="share of right pixels")
    legend(axes, theme, loc="best")
    edges = np.linspace(0, 1, len(pixels_X) + 1)
    share_X = np.asarray(pixels_X) / max(int(np.sum(pixels_X)), 1)
    below.bar(edges[:-1], share_X, np.diff(edges) * 0.92, align="edge", color=theme.colours[0])
    below.set(xlim=(0, 1.02), xlabel="certainty: probability of the class given", ylabel="pixels")
    for each in (axes, below):
        dress(each, theme)
    _percent_axis(below)
    note = f"expected calibration error {error:.3f}; below the line: too certain"
    title(axes, name, note, theme)
    return made


def risk_coverage(coverage_X: Numbers, risk_X: Numbers, theme: Theme) -> Figure:
    """The share of wrong pixels among the surest ones, against how many of these are kept."""
    made = figure(5.4, 4.6, theme)
    axes, note = made.add_subplot(), "a model that knows its doubts starts low"
    axes.plot(coverage_X, risk_X, color=theme.colours[1], lw=1.8)
    if len(coverage_X) and coverage_X[0] > COARSE:
        # Any part of pixels that are all equally sure is wrong as often as all of them.
        axes.plot([0, coverage_X[0]], [risk_X[0]] * 2, color=theme.colours[1], lw=1.2, ls=":")
        note += f"; dotted: the surest {_percent(coverage_X[0])} % are equally sure"
    axes.set(xlim=(0, 1.01), xlabel="share of the pixels kept, the surest first")
    axes.set_ylim(0, max(1.08 * float(np.max(risk_X, initial=0.0)), 1e-3))
    axes.set_ylabel("share of wrong ones among them")
    dress(axes, theme)
    _percent_axis(axes)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    title(axes, "Risk and coverage", note, theme)
    return made


def intervals(
    rows: Sequence[tuple[str, float, float, float]],
    theme: Theme,
    *,
    name: str,
    note: str = "",
    zero: bool = False,
) -> Figure:
    """(name, value, low, high) below one another, the value a point on its interval.

    zero   whether an upright line stands at 0
    """
    made = figure(6.4, 1.5 + 0.38 * len(rows), theme)
    axes = made.add_subplot()
    if zero:
        axes.axvline(0, color=theme.faint, lw=1.2, ls="--")
    for place, (_, value, low, high) in enumerate(rows):
        colour = theme.colours[0]
        if zero and low == low:
            colour = theme.colours[2] if low > 0 else theme.colours[1] if high < 0 else theme.faint
        axes.plot([low, high], [place, place], color=colour, lw=2.4, solid_capstyle="butt")
        axes.plot([value], [place], "o", color=colour, ms=6)
    axes.set_yticks(range(len(rows)), [_short_end(each[0]) for each in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    dress(axes, theme, grid="x")
    axes.tick_params(axis="y", labelcolor=theme.ink, length=0)
    title(axes, name[0].upper() + name[1:], note, theme)
    return made


def image_scores(score_N: Numbers, name: str, theme: Theme) -> Figure:
    """How many images have which score."""
    made = figure(5.4, 4.6, theme)
    axes = made.add_subplot()
    found = np.asarray(score_N)[~np.isnan(score_N)]
    axes.hist(found, bins=20, range=(0, 1), color=theme.colours[2], rwidth=0.92)
    axes.axvline(float(np.median(found)), color=theme.ink, lw=1.2, ls="--")
    axes.set(xlim=(0, 1), xlabel=name, ylabel="images")
    dress(axes, theme, grid="y")
    _whole_numbers(axes.yaxis)
    title(axes, "Images", f"dashed: the median, {np.median(found):.3f}", theme)
    return made


def curves(
    x: Numbers,
    lines: Mapping[str, Numbers],
    theme: Theme,
    *,
    name: str,
    unit: str,
    note: str = "",
    mark: float | None = None,
) -> Figure:
    """Lines over the epochs; NaN leaves a gap that is bridged.

    mark   an epoch to draw an upright line at
    """
    made = figure(6.4, 3.9, theme)
    axes = made.add_subplot()
    if mark is not None:
        axes.axvline(mark, color=theme.faint, lw=1, ls=":")
    for place, (label, values) in enumerate(lines.items()):
        known = ~np.isnan(np.asarray(values, dtype=float))
        colour = theme.colours[place % len(theme.colours)]
        style = "-" if place < len(theme.colours) else "--"
        points = {"marker": "o", "ms": 3} if known.sum() < 30 else {}
        at, found = np.asarray(x)[known], np.asarray(values, dtype=float)[known]
        axes.plot(at, found, style, color=colour, lw=1.6, label=_short(label), **points)  # type: ignore[arg-type]
    axes.set(xlabel="epoch", ylabel=unit)
    if len(x) == 1:
        axes.set_xlim(x[0] - 1, x[0] + 1)
    _whole_numbers(axes.xaxis)
    dress(axes, theme)
    if len(lines) > 1:
        many = len(lines) > MOST_LINES
        place_of = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if many else {}
        legend(axes, theme, **place_of)
    title(axes, name, note, theme)
    return made


def _percent_axis(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")


def _whole_numbers(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def _from_paper(theme: Theme) -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("share", [theme.paper, theme.colours[0]])


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.005 else "<1"


def _short_end(name: str) -> str:
    """The end of a path, which tells runs apart."""
    cut = name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"
    return _short(cut)


def _short(name: str) -> str:
    """A class's name as matplotlib draws it as it is: no mathematics, no hidden label."""
    cut = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    return (f" {cut}" if cut.startswith("_") else cut).replace("$", r"\$")
