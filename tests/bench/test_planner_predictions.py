"""Plans: the largest batch against brute force, least times by hand, the table of devices."""

import json

import pytest
from click.testing import CliRunner

from segkit.bench.limits.counting import Step, StepCount
from segkit.bench.limits.devices import DEVICES, Device, find_device, measured_device
from segkit.bench.limits.planner import (
    CONTEXT_BYTES,
    GAPS,
    LAUNCH_SECONDS,
    bytes_of,
    in_bytes,
    largest_batch,
    make_plan,
    time_bounds,
    usable_bytes,
)
from segkit.bench.limits.tracing import Operation
from segkit.bench.records.machine import Ceilings, Environment
from segkit.bench.records.run import Method, Run
from segkit.cli.main import main
from segkit.cli.main import segkit as command
from segkit.errors import UsageError

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("usable", [5, 112, 119, 120, 121, 200, 999, 1000, 1013, 99999])
def test_the_largest_batch_is_that_of_brute_force(usable):
    def peak(images):
        return max(100 + 10 * images, 50 + 13 * images, 20 * images - 300)

    counted = []
    found = largest_batch(lambda images: counted.append(images) or peak(images), usable)
    assert found == max((b for b in range(1, 8000) if peak(b) <= usable), default=0)
    assert len(counted) <= 6


def test_a_batch_that_cannot_be_trained_on_is_none_that_fits():
    def peak(images):
        if images == 1:
            raise UsageError("SK-C007", "one value per channel.")
        return 100 * images

    assert largest_batch(peak, 150) == 0


def test_the_largest_batch_of_a_network_fits_and_one_more_does_not():
    step = Step("unet(width=4)", loss="ce", height=64, width=64)
    memory = bytes_of("800MB")
    plan = make_plan(step, None, memory, None)
    beyond = make_plan(step, plan.largest_batch + 1, memory, None)
    assert plan.fits and plan.step.batch == plan.largest_batch > 1
    assert not beyond.fits
    assert plan.count.peak_bytes <= plan.usable_bytes < beyond.count.peak_bytes


def test_memory_is_set_aside_for_what_no_tensor_sees():
    assert usable_bytes(24 * 2**30) == int((24 * 2**30 - CONTEXT_BYTES) * (1 - GAPS))
    assert usable_bytes(1) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("24", 24 * 2**30), ("24GB", 24 * 2**30), ("1.5 gib", 3 * 2**29), ("800mb", 800 * 2**20)],
)
def test_amounts_of_memory_are_read_as_on_a_gpus_box(text, expected):
    assert bytes_of(text) == expected


@pytest.mark.parametrize("text", ["much", "24 apples", "0GB", "-3GB"])
def test_what_is_no_amount_of_memory_is_refused(text):
    with pytest.raises(UsageError) as caught:
        bytes_of(text)
    assert str(caught.value) == (
        f"SK-C009: '{text}' is no amount of memory.\n         Write 24 (GiB), 24GB or 800MB."
    )


def test_bytes_are_shown_as_people_say_them():
    assert (in_bytes(812 * 2**20), in_bytes(23.5 * 2**30)) == ("812 MiB", "23.5 GiB")


@pytest.mark.parametrize(
    ("typed", "name"),
    [("H200", "H200"), ("rtx 4090", "RTX-4090"), ("NVIDIA A100", "A100-80GB"), ("t4", "T4")],
)
def test_a_gpu_is_found_however_it_is_spelt(typed, name):
    assert find_device(typed).name == name


def test_an_unknown_gpu_is_refused_with_those_that_are_known():
    with pytest.raises(UsageError) as caught:
        find_device("RTX-4091")
    assert caught.value.what == "no GPU called 'RTX-4091' is in segkit's table."
    assert caught.value.fix.startswith("Did you mean 'RTX-4090'")
    assert caught.value.fix.endswith("For another one: --memory 24GB.")


def test_every_device_has_plausible_figures_and_a_source():
    for device in DEVICES:
        assert 8e12 <= device.flops["fp32"] <= device.flops["fp16"] <= 2.5e15
        assert 3e11 <= device.bytes_per_second <= 8e12
        assert 9 * 2**30 < device.memory_bytes < 200 * 2**30
        assert device.source.startswith("NVIDIA")


def example_count():
    return StepCount(
        parameters=0,
        operations=(
            Operation("forward", 4_000, 10),
            Operation("forward", 0, 300),
            Operation("backward", 8_000, 400),
        ),
        fewest_bytes={"forward": 100, "backward": 900},
        saved_bytes=0,
        model_bytes=0,
        kept_bytes=0,
        peak_bytes=0,
        peak_phase="forward",
    )


def test_time_bounds_are_those_of_hand_calculation():
    device = Device("hand-made", 0, {"fp32": 1000.0}, 100.0, "none")
    bounds = time_bounds(example_count(), "fp32", device)
    assert bounds.arithmetic == 4 + 8
    assert bounds.memory == 1 + 9
    assert bounds.fused == max(4, 1) + max(8, 9)
    assert bounds.eager == max(4, 0.1) + 3 + max(8, 4)
    assert bounds.launches == 3 * LAUNCH_SECONDS


def test_a_precision_that_the_device_lacks_is_refused():
    with pytest.raises(UsageError) as caught:
        time_bounds(example_count(), "bf16", find_device("T4"))
    assert str(caught.value) == (
        "SK-C009: the T4 has no hardware for bf16.\n         Use --precision fp32 or fp16."
    )


def test_the_ceilings_of_a_benchmark_make_a_device():
    run = example_run(
        Ceilings(
            matmul_flops={"fp32": 100.0},
            convolution_flops={"fp32": 250.0, "bf16": 500.0},
            copy_bytes=40.0,
        )
    )
    device = measured_device(run)
    assert (device.flops, device.bytes_per_second) == ({"fp32": 250.0, "bf16": 500.0}, 40.0)
    assert (device.name, device.type) == ("a processor", "cpu")
    with pytest.raises(UsageError, match="holds no ceilings"):
        measured_device(example_run(None))


def example_run(ceilings):
    environment = Environment(
        processor="a processor",
        cores=2,
        memory_bytes=24 * 2**30,
        system="Linux",
        architecture="x86_64",
        device="cpu",
        threads=2,
        python="3.13",
        packages={},
    )
    return Run(
        command="segkit bench",
        started="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        suite="quick",
        environment=environment,
        method=Method(rounds=2, round_seconds=1, workers_alive=2, order="rotated", seed=0),
        ceilings=ceilings,
        rows=(),
    )


TINY = ["plan", "--encoder", "unet(width=4)", "--size", "48x64", "--loss", "ce"]


def test_the_command_prints_a_plan():
    shown = CliRunner().invoke(
        command, [*TINY, "--gpu", "t4", "--batch", "2"], catch_exceptions=False
    )
    assert shown.exit_code == 0
    assert "2 images of 48 x 64 (height x width), fp32" in shown.output
    assert "14.6 GiB (T4)" in shown.output
    assert "rates: NVIDIA T4 data sheet" in shown.output


def test_the_command_prints_json():
    shown = CliRunner().invoke(
        command, [*TINY, "--mode", "infer", "--memory", "2GB", "--json"], catch_exceptions=False
    )
    facts = json.loads(shown.stdout)
    assert facts["fits"] is True
    assert facts["step"]["batch"] == facts["largest_batch"] > 100
    assert set(facts["phases"]) == {"forward"}
    assert facts["least_seconds"] is None


def test_the_command_refuses_two_devices(capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        main([*TINY, "--gpu", "t4", "--measured", str(tmp_path)])
    assert stopped.value.code == 2
    assert "both --gpu and --measured name a device." in capsys.readouterr().err


# Multiprocessors, boost clock in GHz, FLOPs a clock of one in half precision on tensor cores
# (float32 sums) and in float32 as torch convolves, bits of the memory bus, Gbit/s a pin: the
# makers' figures.
SHEETS = {
    "H200": (132, 1.830, 4096, 2048, 6144, 6.25),
    "H100-SXM": (132, 1.830, 4096, 2048, 5120, 5.23),
    "H100-PCIe": (114, 1.620, 4096, 2048, 5120, 3.19),
    "A100-80GB": (108, 1.410, 2048, 1024, 5120, 3.19),
    "A100-40GB": (108, 1.410, 2048, 1024, 5120, 2.43),
    "L40S": (142, 2.490, 1024, 512, 384, 18.0),
    "L4": (58, 2.040, 1024, 512, 192, 12.5),
    "A10": (72, 1.695, 1024, 512, 384, 12.5),
    "RTX-5090": (170, 2.407, 512, 256, 512, 28.0),
    "RTX-4090": (128, 2.520, 512, 256, 384, 21.0),
    "RTX-4080": (76, 2.505, 512, 256, 256, 22.4),
    "RTX-4070": (46, 2.475, 512, 256, 192, 21.0),
    "RTX-3090": (82, 1.695, 512, 256, 384, 19.5),
    "RTX-3080": (68, 1.710, 512, 256, 320, 19.0),
    "RTX-3060": (28, 1.777, 512, 256, 192, 15.0),
    "V100-32GB": (80, 1.530, 1024, 128, 4096, 1.752),
    "V100-16GB": (80, 1.530, 1024, 128, 4096, 1.752),
    "T4": (40, 1.590, 1024, 128, 256, 10.0),
}


def test_every_gpus_rates_follow_from_its_multiprocessors_clock_and_bus():
    for device in DEVICES:
        if device.name == "B200":
            continue  # its clock is not published: below
        units, gigahertz, half, single, bits, gigabits = SHEETS[device.name]
        clock = units * gigahertz * 1e9
        assert device.flops["fp16"] == pytest.approx(half * clock, rel=0.015), device.name
        assert device.flops["fp32"] == pytest.approx(single * clock, rel=0.03), device.name
        assert device.bytes_per_second == pytest.approx(bits * gigabits / 8 * 1e9, rel=0.025)
    # HGX B200, eight of them: 18 and 36 PFLOP/s with sparsity, 62 TB/s.
    b200 = next(device for device in DEVICES if device.name == "B200")
    assert (b200.flops["fp32"], b200.flops["bf16"]) == (18e15 / 16, 36e15 / 16)
    assert b200.bytes_per_second == pytest.approx(62e12 / 8, rel=0.01)


def test_every_gpu_names_its_source_and_memory_is_below_its_name():
    for device in DEVICES:
        assert device.source.startswith("NVIDIA ") and "not compared with a device" in device.source
        assert ("bf16" in device.flops) == (device.name.partition("-")[0] not in ("V100", "T4"))
