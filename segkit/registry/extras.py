"""Entry points that are no components: loggers, readers of large images, instruments of a device.

A distribution declares them in a group of its own, by name; nothing is imported before it is used.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

from segkit.errors import PluginError, SegkitError, first_line
from segkit.registry.index import canonical, switched_off


def declared(group: str) -> dict[str, metadata.EntryPoint]:
    """What installed distributions declare in a group, by name, but for those switched off."""
    off = switched_off()
    return {
        point.name: point
        for point in metadata.entry_points(group=group)
        if "*" not in off and (point.dist is None or canonical(point.dist.name) not in off)
    }


def imported(point: metadata.EntryPoint, what: str, *, call: bool = False) -> Any:
    """What an entry point names, called without arguments where `call` is set.

    what   what it is for, to follow "which": "offers the logger neptune"
    Raises PluginError SK-P001 where it cannot be used, or what segkit itself says of it.
    """
    try:
        loaded = point.load()
        return loaded() if call else loaded
    except SegkitError:
        raise
    # A plugin's import and constructor may fail in any way.
    except Exception as error:
        whose = f"{point.dist.name} {point.dist.version}" if point.dist else "an installed plugin"
        raise PluginError(
            "SK-P001",
            f"{whose}, which {what}, cannot be used from {point.value} "
            f"({type(error).__name__}: {first_line(error)}).",
            "Install it again, or switch it off with SEGKIT_DISABLE.",
        ) from error
