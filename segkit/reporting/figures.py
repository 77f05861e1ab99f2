"""How pictures of figures look: two themes, colours that colour-blind readers tell apart.

Colours are those of Okabe and Ito (2008, "Color Universal Design"), lightened for dark pages.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150


@dataclass(frozen=True)
class Theme:
    """Colours of one page."""

    name: str
    paper: str
    ink: str
    faint: str
    grid: str
    colours: tuple[str, ...]


LIGHT = Theme(
    name="light",
    paper="#ffffff",
    ink="#1f2430",
    faint="#6b7280",
    grid="#e5e7eb",
    colours=(
        *("#0072b2", "#d55e00", "#009e73", "#cc79a7"),
        *("#b88a00", "#56b4e9", "#5b5f97", "#7f7f7f"),
    ),
)
DARK = Theme(
    name="dark",
    paper="#16181d",
    ink="#e6e8ee",
    faint="#9aa1ad",
    grid="#2c3038",
    colours=(
        *("#4aa8e0", "#f0803c", "#2fc49a", "#e29cc2"),
        *("#e6b93c", "#8fd0f5", "#a3a7e0", "#b0b0b0"),
    ),
)


def figure(width: float, height: float, theme: Theme) -> Figure:
    """An empty figure, inches; no global state of matplotlib is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), dpi=DPI, facecolor=theme.paper, layout="constrained")
    FigureCanvasAgg(made)
    return made


def dress(axes: Axes, theme: Theme, *, grid: str = "both") -> None:
    """Frame, ticks and grid."""
    axes.set_facecolor(theme.paper)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(theme.faint)
        axes.spines[side].set_linewidth(0.8)
    axes.tick_params(colors=theme.faint, labelsize=8.5, width=0.8, length=3)
    axes.tick_params(which="minor", length=0)
    axes.xaxis.label.set(color=theme.ink, size=9.5)
    axes.yaxis.label.set(color=theme.ink, size=9.5)
    axes.set_axisbelow(True)
    axes.grid(visible=True, which="major", axis=grid, color=theme.grid, linewidth=0.8)  # type: ignore[arg-type]


def title(axes: Axes, text: str, note: str, theme: Theme) -> None:
    """A title at the left, and a smaller line under it."""
    both = f"{text}\n" if note else text
    axes.set_title(both, loc="left", fontsize=11, color=theme.ink, fontweight="bold", pad=8)
    if note:
        axes.annotate(
            note,
            xy=(0, 1),
            xycoords="axes fraction",
            xytext=(0, 7),
            textcoords="offset points",
            fontsize=8.5,
            color=theme.faint,
            annotation_clip=False,
        )


def legend(axes: Axes, theme: Theme, **where: Any) -> None:
    """The axes' legend, without a frame."""
    shown = axes.legend(**({"frameon": False, "fontsize": 8.5} | where))
    for text in shown.get_texts():
        text.set_color(theme.ink)


def png(figure: Figure) -> bytes:
    """The picture in 256 colours: a third of the bytes, and no difference to be seen."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", facecolor=figure.get_facecolor())
    Image.open(drawn).convert("RGB").quantize(256).save(small, format="PNG", optimize=True)
    return small.getvalue()


def inline(picture: bytes, kind: str = "png") -> str:
    """A picture as an address that holds it, for pages that open without a network."""
    return f"data:image/{kind};base64," + base64.b64encode(picture).decode("ascii")
