"""Templates for a new plugin package, and what fills them in."""

from segkit.scaffold.package import PluginNames, write_plugin

__all__ = ["PluginNames", "write_plugin"]
