"""What a case does: set up once, then the same step again and again."""

from segkit.bench.workloads.contract import Workload, workload_for

__all__ = ["Workload", "workload_for"]
