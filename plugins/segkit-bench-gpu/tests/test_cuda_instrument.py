"""The instrument's own logic, on a pretended torch.cuda; the real one is in tests/gpu."""

import contextlib
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from segkit_bench_gpu import instrument
from segkit_bench_gpu.energy import EnergyCounter
from segkit_bench_gpu.instrument import CudaInstrument
from segkit_bench_gpu.launches import LaunchBenchmark
from segkit_bench_gpu.timeline import allocated_over_time, draw_timeline, recorded_events

from segkit.api import UsageError


class PretendedCuda:
    """A GPU whose clock moves when told, and whose memory has fixed figures."""

    def __init__(self):
        self.milliseconds, self.waits, self.graphs = 0.0, 0, []
        self.memory = SimpleNamespace(
            _record_memory_history=lambda **options: None, _snapshot=lambda device: self.snapshot
        )

    def Event(self, enable_timing):
        cuda = self

        class Event:
            def record(self):
                self.at = cuda.milliseconds

            def elapsed_time(self, other):
                return other.at - self.at

            def synchronize(self):
                cuda.waits += 1

        return Event()

    def synchronize(self, device=None):
        self.waits += 1

    def reset_peak_memory_stats(self, device):
        self.reset = True

    def max_memory_allocated(self, device):
        return 300

    def max_memory_reserved(self, device):
        return 400

    def Stream(self, device):
        return SimpleNamespace(wait_stream=lambda other: None)

    current_stream = Stream

    def stream(self, stream):
        return contextlib.nullcontext()

    def CUDAGraph(self):
        self.graphs.append(SimpleNamespace(replays=0))
        graph = self.graphs[-1]
        graph.replay = lambda: setattr(graph, "replays", graph.replays + 1)
        return graph

    def graph(self, graph):
        return contextlib.nullcontext()


def test_phases_are_the_times_between_events_and_the_host_waits_once():
    cuda = PretendedCuda()

    def step(mark):
        for phase, milliseconds in (("forward", 3.0), ("backward", 5.0)):
            cuda.milliseconds += milliseconds
            mark(phase)
        cuda.milliseconds += 2

    seconds = CudaInstrument("cuda:0", cuda).measured(step)
    assert seconds == pytest.approx({"step": 0.010, "forward": 0.003, "backward": 0.005})
    assert cuda.waits == 1


def test_memory_is_allocated_and_reserved_since_the_reset():
    cuda = PretendedCuda()
    found = CudaInstrument("cuda:0", cuda)
    found.reset_peak()
    assert cuda.reset
    peak = found.peak(idle_bytes=7)
    assert (peak["peak_bytes"], peak["allocated_bytes"], peak["reserved_bytes"]) == (300, 300, 400)


def test_a_captured_step_is_replayed_and_not_run():
    cuda, ran = PretendedCuda(), []
    replay = CudaInstrument("cuda:0", cuda).captured(lambda mark: ran.append(1))
    before = len(ran)
    replay(lambda phase: None)
    replay(lambda phase: None)
    assert len(ran) == before == 4  # three to warm up, one to record
    assert cuda.graphs[0].replays == 2


def test_a_step_that_cannot_be_recorded_is_refused_with_the_reason():
    cuda, calls = PretendedCuda(), []

    def step(mark):
        calls.append(1)
        if len(calls) > 3:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    with pytest.raises(UsageError) as caught:
        CudaInstrument("cuda:0", cuda).captured(step)
    assert caught.value.code == "SK-C007"
    assert "(operation not permitted when stream is capturing)" in caught.value.what


def test_energy_is_the_counters_millijoules_or_nothing():
    nvml = SimpleNamespace(nvmlDeviceGetTotalEnergyConsumption=lambda handle: 2500)
    assert EnergyCounter(nvml, None).joules() == 2.5
    found = instrument("cuda:0")
    if not torch.cuda.is_available():
        assert found.energy_joules() is None


def test_memory_over_time_adds_what_is_allocated_and_takes_away_what_is_freed(tmp_path):
    events = [
        {"action": "alloc", "size": 100, "time_us": 5_000},
        {"action": "free_requested", "size": 100, "time_us": 6_000},
        {"action": "alloc", "size": 50, "time_us": 7_000},
        {"action": "free_completed", "size": 100, "time_us": 9_000},
    ]
    assert allocated_over_time(events, before=10) == (
        [0.0, 0.0, 2.0, 4.0],
        [10, 110, 160, 60],
    )
    cuda = PretendedCuda()
    cuda.snapshot = {"device_traces": [events]}
    assert recorded_events(lambda: None, torch.device("cuda:0"), cuda) == events
    pytest.importorskip("matplotlib")
    draw_timeline(events, 10, tmp_path / "memory.png")
    assert Image.open(tmp_path / "memory.png").size == (1200, 600)


def test_launches_are_counted_and_graphs_need_cuda():
    benchmark = LaunchBenchmark("cpu", kernels=7)
    benchmark.set_up()
    assert benchmark.run() == 7 and benchmark.run() == 7
    assert float(benchmark.number) == 14
    with pytest.raises(UsageError, match="there are no CUDA graphs on cpu"):
        LaunchBenchmark("cpu", graph=True)
    with pytest.raises(UsageError, match="kernels is 0"):
        LaunchBenchmark("cpu", kernels=0)
