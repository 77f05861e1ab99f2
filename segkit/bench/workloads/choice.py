"""Which class measures which case."""

from __future__ import annotations

from segkit.bench.records.case import Case
from segkit.bench.workloads.contract import Workload


def workload_for(case: Case) -> Workload:
    """The workload of a case."""
    if case.task == "network":
        from segkit.bench.workloads.network import NetworkWorkload

        return NetworkWorkload(case)
    if case.task == "encoder":
        from segkit.bench.workloads.encoder import EncoderWorkload

        return EncoderWorkload(case)
    if case.task in ("loss", "upsampler"):
        from segkit.bench.workloads.parts import LossWorkload, UpsamplerWorkload

        return LossWorkload(case) if case.task == "loss" else UpsamplerWorkload(case)
    if case.task == "data":
        from segkit.bench.workloads.data import DataWorkload

        return DataWorkload(case)
    if case.task == "onnx":
        from segkit.bench.workloads.onnx_file import OnnxWorkload

        return OnnxWorkload(case)
    from segkit.bench.workloads.component import ComponentWorkload

    return ComponentWorkload(case)
