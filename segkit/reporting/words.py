"""Numbers as people say them: so many of a thing, and how long it took."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """1 image, 1,500 images."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """1 h 5 min, 3 min 20 s, 4.2 s."""
    if seconds < 59.95:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
