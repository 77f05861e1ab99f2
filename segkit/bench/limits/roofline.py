"""How near a row came to what its machine can do (the roofline of Williams et al. 2009)."""

from __future__ import annotations

from typing import Literal

from segkit.bench.records.machine import Ceilings
from segkit.bench.records.row import Achieved, Row


def achieved(row: Row, ceilings: Ceilings | None) -> Achieved | None:
    """Rates and their shares of the ceilings; the nearer ceiling is the one that takes longer.

    No shares where the case has other threads than the ceilings were measured with. None where the
    row has no times, or nothing was counted.
    """
    counts, step = row.counts, row.times.get("step")
    if step is None or counts is None or (counts.flops is None and counts.fewest_bytes is None):
        return None
    if ceilings is not None and row.case.threads != ceilings.threads:
        ceilings = None
    flops = counts.flops / step.median if counts.flops else None
    moved = counts.fewest_bytes / step.median if counts.fewest_bytes else None
    most = ceilings.flops(row.case.precision) if ceilings else None
    flops_share = flops / most if flops and most else None
    bytes_share = moved / ceilings.copy_bytes if moved and ceilings else None
    bound: Literal["arithmetic", "memory"] | None = None
    if flops_share is not None and bytes_share is not None:
        bound = "arithmetic" if flops_share >= bytes_share else "memory"
    shares = [share for share in (flops_share, bytes_share) if share]
    return Achieved(
        flops_per_s=flops,
        bytes_per_s=moved,
        flops_share=flops_share,
        bytes_share=bytes_share,
        bound=bound,
        least_s=max(shares) * step.median if shares else None,
        times_limit=1 / max(shares) if shares else None,
    )
