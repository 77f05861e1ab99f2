"""The method on a real GPU: what it reads, beside what torch's own tools read."""

import time

import pytest
import torch

from segkit.bench.display.watching import Quiet
from segkit.bench.instruments.instrument import instrument_for
from segkit.bench.records.case import Case
from segkit.bench.runner.runner import Runner
from segkit.bench.runner.settings import Settings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture
def cuda():
    pytest.importorskip("segkit_bench_gpu")
    return instrument_for("cuda:0")


def test_events_read_what_a_synchronised_clock_reads(cuda):
    a = torch.randn(8192, 8192, device="cuda")
    cuda.measured(lambda mark: torch.mm(a, a))
    by_event = cuda.measured(lambda mark: [torch.mm(a, a) for _ in range(20)])["step"]
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(20):
        torch.mm(a, a)
    torch.cuda.synchronize()
    assert by_event == pytest.approx(time.perf_counter() - start, rel=0.1)


def test_100_mb_on_the_gpu_read_100_mb(cuda):
    cuda.release()
    held = torch.cuda.memory_allocated()
    cuda.reset_peak()
    torch.empty(100 * 10**6, dtype=torch.uint8, device="cuda")
    assert cuda.peak(0)["allocated_bytes"] - held == pytest.approx(100e6, rel=0.05)


@pytest.mark.parametrize("compiled", ["no", "graph"])
def test_a_network_is_measured_eager_and_as_a_graph(compiled, tmp_path):
    case = Case(
        encoder="unet", decoder="unet", upsampler="bilinear", loss="ce", size=64, batch=2,
        compile=compiled, device="cuda:0",
    )  # fmt: skip
    runner = Runner(Settings(rounds=2, round_seconds=0.2, trace_folder=tmp_path), Quiet())
    runner.run([case])
    row = runner.rows[case.name]
    assert row.status == "ok", row.reason
    assert row.clock == "CUDA events"
    assert row.memory.reserved_bytes >= row.memory.allocated_bytes > 0
    assert len(row.files) == 2 and all((tmp_path / name).is_file() for name in row.files)
