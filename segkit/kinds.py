"""The kinds of component, and how a component may be called.

Imported by every command, and so on its own: the contracts take 3 ms to import, the grammar of
expressions another 3.
"""

from __future__ import annotations

KINDS = (
    *("encoders", "decoders", "upsamplers", "losses", "metrics"),
    *("datasets", "benchmarks", "launchers"),
)
NAME = r"[a-z0-9][a-z0-9_.-]*"
