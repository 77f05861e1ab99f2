"""What is measured is what it says: phases, rotation of inputs, the gate and its limits."""

from itertools import pairwise

import pytest
import torch

from segkit.bench.instruments.instrument import ClockInstrument
from segkit.bench.instruments.memory import ResidentPeak, resident
from segkit.bench.records.case import Case
from segkit.bench.worker.trial import Trial, WrongOutput, failure, refuse_impossible
from segkit.bench.workloads.choice import workload_for
from segkit.bench.workloads.correctness import relative_error, tolerance
from segkit.bench.workloads.inputs import IGNORE_INDEX, random_targets, rotation
from segkit.errors import UsageError

TINY = {"decoder": "unet", "upsampler": "bilinear", "size": 16, "batch": 2, "classes": 3}
TINY_UNET = "unet(depth=2, width=4)"
STEP = ["forward", "backward", "optimizer"]


def marks_of(workload) -> list[str]:
    marks: list[str] = []
    workload.load()
    workload.work(marks.append)
    return marks


TASKS = [
    (TINY | {"encoder": TINY_UNET, "loss": "dice+ce"}, STEP),
    (TINY | {"encoder": TINY_UNET, "mode": "infer"}, []),
    (TINY | {"encoder": TINY_UNET, "loss": "ce", "precision": "bf16"}, STEP),
    ({"task": "encoder", "encoder": TINY_UNET, "size": 16, "batch": 2}, STEP[:2]),
    ({"task": "loss", "loss": "0.5*dice + ce", "size": 16, "batch": 2}, STEP[:2]),
    ({"task": "upsampler", "upsampler": "transposed", "size": 16, "channels": 4}, STEP[:2]),
    ({"task": "upsampler", "upsampler": "max_unpool", "size": 16, "mode": "infer"}, []),
    ({"task": "data", "size": 64, "batch": 2}, []),
]


@pytest.mark.parametrize(("settings", "phases"), TASKS)
def test_every_task_marks_its_phases_and_passes_its_gate(settings, phases):
    case = Case(**settings)
    workload = workload_for(case)
    workload.load_code()
    workload.set_up()
    assert marks_of(workload) == phases
    found = workload.check()
    assert (found is None) == (case.task == "data")
    assert found is None or found.error <= found.tolerance / 3
    assert marks_of(workload) == phases  # the gate leaves the workload as it was


def test_no_step_has_the_images_of_the_step_before():
    workload = workload_for(Case(encoder=TINY_UNET, loss="ce", **TINY))
    workload.set_up()
    used = []
    for _ in range(2 * len(workload.images)):
        workload.load()
        used.append(workload.image_BCHW.data_ptr())
    assert all(one != next_ for one, next_ in pairwise(used))
    assert len(set(used)) == len(workload.images) >= 2
    assert rotation(4 * 2**20) == 16 and rotation(100 * 2**20) == 2


def test_a_training_step_moves_every_weight():
    workload = workload_for(Case(encoder=TINY_UNET, loss="ce", **TINY))
    workload.set_up()
    before = [each.clone() for each in workload.model.parameters()]
    workload.load()
    workload.work(lambda phase: None)
    moved = [bool((a != b).any()) for a, b in zip(before, workload.model.parameters(), strict=True)]
    assert all(moved)


def test_the_gate_leaves_weights_and_running_means_as_they_were():
    workload = workload_for(Case(encoder=TINY_UNET, loss="ce", **TINY))
    workload.set_up()
    before = {name: each.clone() for name, each in workload.model.state_dict().items()}
    workload.check()
    after = workload.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_wrong_gradient_is_found_where_the_output_is_right():
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x.clone()

        @staticmethod
        def backward(context, gradient):
            return gradient * (2 if gradient.dtype == torch.float32 else 1)

    workload = workload_for(Case(encoder=TINY_UNET, loss="ce", **TINY))
    workload.set_up()
    workload.model.encoder.register_forward_hook(
        lambda module, given, features: features._replace(
            maps=tuple(Doubled.apply(each) for each in features.maps)
        )
    )
    found = workload.check()
    assert found.error > found.tolerance and found.against.startswith("gradient")


def test_errors_are_relative_over_all_tensors_and_no_number_is_an_infinite_error():
    one, two = torch.ones(3), torch.tensor([1.0, 1.0, 2.0])
    assert relative_error([one, one], [two, one]) == pytest.approx((1 / 9) ** 0.5)
    assert relative_error([one * float("nan")], [one]) == float("inf")
    assert relative_error([one], [0 * one]) == float("inf")
    assert relative_error([0 * one], [0 * one]) == 0
    assert tolerance(Case(precision="fp32", device="cuda:0")) > tolerance(Case(precision="fp32"))


def test_label_maps_are_blocks_with_some_ignored():
    torch.manual_seed(0)
    (target_BHW,) = random_targets(Case(classes=5), 1, 8, 200)
    assert target_BHW.shape == (8, 200, 200) and target_BHW.dtype == torch.int64
    assert torch.equal(target_BHW[:, 0:192:16, 0:192:16], target_BHW[:, 15:192:16, 15:192:16])
    assert set(target_BHW.unique().tolist()) == {0, 1, 2, 3, 4, IGNORE_INDEX}
    assert 0.005 < float((target_BHW == IGNORE_INDEX).float().mean()) < 0.05


def test_phases_of_a_clock_add_up_to_the_step():
    clock = ClockInstrument("cpu")

    def step(mark):
        for phase in ("load", "forward", "backward"):
            torch.randn(100, 100).exp()
            mark(phase)

    seconds = clock.measured(step)
    parts = sum(seconds[phase] for phase in ("load", "forward", "backward"))
    assert parts <= seconds["step"] <= parts + 0.01


def test_a_peak_is_seen_though_its_memory_is_gone_when_asked():
    peak = ResidentPeak()
    before = resident()
    peak.reset()
    block = torch.ones(64 * 2**20, dtype=torch.uint8)
    del block
    assert peak.read() - before == pytest.approx(64 * 2**20, rel=0.1)


def test_a_sampled_peak_serves_where_the_kernel_tells_none(monkeypatch):
    import time

    monkeypatch.setattr("segkit.bench.instruments.memory._can_forget", lambda: False)
    peak = ResidentPeak()
    assert "sampled" in peak.method
    before = resident()
    peak.reset()
    block = torch.ones(64 * 2**20, dtype=torch.uint8)
    time.sleep(0.1)
    del block
    assert peak.read() - before == pytest.approx(64 * 2**20, rel=0.1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"precision": "fp16"}, "fp16 is emulated on a CPU and measures nothing."),
        ({"compile": "graph"}, "a CUDA graph cannot be replayed on cpu."),
        ({"compile": "yes", "task": "loss"}, "the task loss is not compiled."),
    ],
)
def test_settings_that_exclude_one_another_are_refused(settings, words):
    with pytest.raises(UsageError) as caught:
        refuse_impossible(Case(**settings))
    assert (caught.value.code, caught.value.what) == ("SK-C007", words)
    refuse_impossible(Case())


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (MemoryError("no room"), "oom", "no room"),
        (torch.OutOfMemoryError("CUDA out of memory.\nmore"), "oom", "CUDA out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "oom", "DefaultCPU"),
        (UsageError("SK-C007", "no.", "yes."), "refused", "SK-C007: no."),
        (WrongOutput("the error is 1"), "wrong", "the error is 1"),
        (ValueError(), "crashed", "ValueError: no message"),
    ],
)
def test_a_failure_has_a_status_and_its_first_line(error, status, reason):
    found = failure(error)
    assert found["status"] == status and found["reason"].startswith(reason)
    assert "\n" not in found["reason"]


def test_a_compiled_networks_memory_does_not_count_the_compiler(monkeypatch):
    """Idle is the level after compiling, less what the network holds."""
    monkeypatch.setattr(torch, "compile", lambda model: model)
    plain, compiled = (
        Trial(Case(encoder=TINY_UNET, mode="infer", compile=choice, **TINY)).prepare(lambda s: None)
        for choice in ("no", "yes")
    )
    assert plain["compile_s"] is None and compiled["compile_s"] >= 0
    assert compiled["memory"]["idle_bytes"] > 0


def test_every_worker_lives_alike_and_is_checked_and_counted():
    stages: list[str] = []
    case = Case(encoder=TINY_UNET, loss="ce", **TINY)
    found = Trial(case).prepare(stages.append)
    assert stages == ["building", "first step", "checking", "counting", "warming up"]
    assert "correctness" in found and "counts" in found
