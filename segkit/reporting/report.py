"""A report as sections of text, tables and pictures, and the one page that shows them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from segkit.reporting.figures import DARK, LIGHT, Theme, inline, png
from segkit.reporting.pages import Figure, pages
from segkit.reporting.pictures import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

# Pixels across, at most, of a picture inside a page: its file beside the page has them all.
WIDEST = 2000


@dataclass(frozen=True)
class Section:
    """A part of a report; what is empty is left out.

    pairs     (name, text); a name that several in a row have is shown once
    header    of the rows, the first column being names
    figures   shown beside each other where there is room
    cases     pictures of images, one under the other
    command   to be pasted into a terminal
    folded    the command is shown when asked for
    links     (text, address relative to the page)
    """

    title: str
    note: str = ""
    pairs: Sequence[tuple[str, str]] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    figures: Sequence[Figure] = ()
    cases: Sequence[Figure] = ()
    command: str = ""
    folded: bool = False
    links: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Report:
    """What a page says.

    lead       a sentence below the title
    headline   (name, value, explanation) of the few numbers that matter most
    warnings   what nobody should overlook, before everything else
    """

    title: str
    lead: str
    headline: Sequence[tuple[str, str, str]]
    warnings: Sequence[str]
    sections: Sequence[Section]

    def as_html(self) -> str:
        """The page: everything in one file, nothing fetched, every word escaped."""
        return pages("segkit.reporting").get_template("report.html").render(report=self)


def drawn(name: str, draw: Callable[[Theme], Drawing], caption: str = "") -> Figure:
    """A figure in both themes."""
    light, dark = (inline(png(draw(theme))) for theme in (LIGHT, DARK))
    return Figure(name, light, dark, caption)


def case(name: str, picture_HWC: Picture, caption: str = "") -> Figure:
    """A picture of an image, which is the same on light and dark pages."""
    picture = Image.fromarray(picture_HWC)
    if picture.width > WIDEST:
        height = round(picture.height * WIDEST / picture.width)
        picture = picture.resize((WIDEST, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=88)
    address = inline(buffer.getvalue(), "webp")
    return Figure(name, address, address, caption)


def score_text(value: float | None) -> str:
    """0.8123; n/a where a score is not defined."""
    return "n/a" if value is None or value != value else f"{value:.4f}"


def with_interval(value: float, low: float, high: float) -> str:
    """0.812 (0.790 to 0.834)."""
    if value != value:
        return "n/a"
    return f"{value:.3f}" + (f" ({low:.3f} to {high:.3f})" if low == low else "")
