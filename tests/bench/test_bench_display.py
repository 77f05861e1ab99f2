"""What is shown while a benchmark runs, and after: on a terminal, and in plain lines."""

import io

from rich.console import Console

from segkit.bench.display.terminal import (
    LiveDisplay,
    PlainDisplay,
    controls_line,
    plain_table,
    quieter,
)
from segkit.bench.records.case import Case
from segkit.bench.records.controls import ControlPair, Controls
from segkit.bench.records.machine import Ceilings, Environment
from segkit.bench.records.row import Checkerboard, Counts, Memory, Quality, Row, Summary
from segkit.bench.records.run import Method, Run

CASES = [
    Case(encoder=name, decoder="unet", upsampler="bilinear", loss="dice+ce")
    for name in ("unet", "densenet121", "vgg16_bn")
]
STEP = Summary(n=5, median=0.0123, p10=0.01, p90=0.02, p99=0.03, low=0.012, high=0.2)
ENVIRONMENT = Environment(
    processor="a processor",
    cores=2,
    memory_bytes=2**34,
    system="Linux",
    architecture="x86_64",
    device="cpu",
    threads=2,
    load_before=0.5,
    python="3.13",
    packages={"torch": "2.15", "segkit-core": "0.1"},
)
ROWS = [
    Row(
        case=CASES[0],
        status="ok",
        times={"step": STEP},
        images_per_s=650.4,
        memory=Memory(peak_bytes=300 * 2**20, idle_bytes=1, method="pretended"),
        counts=Counts(parameters=31_000_000),
        noisy="interval 40% of the median; rounds 30% apart",
        quality=Quality(
            score=0.71234, metric="miou", convention="", data="demo", epochs=1, steps=1, seconds=1
        ),
        checkerboard=Checkerboard(at_start=0.5, after_training=0.25),
    ),
    Row(case=CASES[1], status="oom", reason="too large"),
    Row(case=CASES[2], status="wrong", reason="the error is 1"),
]


def example_run() -> Run:
    return Run(
        command="segkit bench",
        started="2026-01-01T00:00:00+00:00",
        seconds=75,
        suite="quick",
        environment=ENVIRONMENT,
        method=Method(rounds=5, round_seconds=1, workers_alive=2, order="rotated", seed=0),
        ceilings=Ceilings(
            matmul_flops={"fp32": 1e11}, convolution_flops={"fp32": 2.5e11}, copy_bytes=4e10
        ),
        rows=tuple(ROWS),
    )


def watched(display) -> None:
    run = example_run()
    display.began(run.environment, run.ceilings)
    display.planned(CASES)
    display.working(CASES[0], "building", 0.0, None)
    display.working(CASES[0], "checking", 0.05, 100)
    display.working(CASES[0], "round 1 of 5", 0.5, 60)
    display.working(CASES[1], "round 1 of 5", 0.5, 60)
    display.noticed("something to know")
    for row in ROWS:
        display.finished_row(row)
    display.finished(run)


def test_plain_lines_say_each_stage_once_and_end_with_the_table():
    lines: list[str] = []
    watched(PlainDisplay(lines.append))
    text = "\n".join(lines)
    assert "a processor, 2 cores, 16 GiB, x86_64, cpu; load 0.5" in text
    assert "fp32 250 GFLOP/s, copy 40.0 GB/s" in text
    assert text.count("preparing") == 1 and text.count("round 1 of 5, 1 min 0 s left") == 1
    assert "1 row is noisy" in text and "3 cases in 1 min 15 s." in text
    assert lines[-1] == "3 cases in 1 min 15 s."


def test_the_table_says_once_what_all_share_and_why_a_row_has_no_figures():
    shared, _, header, first, second, third = plain_table(ROWS).splitlines()
    assert shared.startswith("all: ") and "bilinear" in shared and "dice+ce" in shared
    assert header.split()[:2] == ["case", "ms/step"]
    assert first.split()[:5] == ["unet", "12.3", "12", "to", "200"]
    assert " 650 " in first and " 300 " in first and "31.0" in first
    assert "miou 0.712; noisy: interval 40% of the median; checkerboard 50.0%" in first
    assert second.endswith("oom: too large") and "12.3" not in second
    assert third.endswith("wrong: the error is 1")


def test_the_live_table_fits_its_window_and_shows_the_case_at_work():
    cases = [CASES[0].model_copy(update={"batch": batch}) for batch in range(1, 41)]
    console = Console(file=io.StringIO(), width=150, height=20)
    display = LiveDisplay(console)
    display.planned(cases)
    display.working(cases[30], "round 1 of 5", 0.5, 60)
    console.print(display.view())
    display.close()
    text = console.file.getvalue()
    assert (
        "round 1 of 5" in text and "50%  1 min 0 s left" in text and "Ctrl-C skips the case" in text
    )
    assert len(text.splitlines()) <= 20


def test_the_live_table_ends_as_the_whole_table():
    console = Console(file=io.StringIO(), force_terminal=True, width=150)
    display = LiveDisplay(console)
    watched(display)
    text = console.file.getvalue()
    assert "something to know" in text and "oom: too large" in text
    assert text.rstrip().endswith("3 cases in 1 min 15 s.")
    assert not display.live.is_started


def test_the_a_a_line_names_the_ratios_and_the_band():
    pairs = (ControlPair(case="a", ratio=1.012, low=0.99, high=1.04),)
    assert controls_line(Controls(pairs=pairs)) == (
        "Same case twice (A/A): two processes of one and the same case gave ratios of 1.012; rows "
        "within 4.0% of one another are a tie."
    )
    told = (pairs[0].model_copy(update={"memory_bytes": (5 * 2**20, 3 * 2**20)}),)
    assert controls_line(Controls(pairs=told)).endswith("are a tie; of memory, within 2.0 MiB.")
    assert controls_line(None).startswith("Same case twice (A/A): none was,")


def test_noisy_rows_come_with_what_can_be_done():
    cpu = example_run()
    assert quieter(cpu).startswith("close other programs and repeat; with --threads 1 ")
    alone = cpu.rows[0].case.model_copy(update={"threads": 1})
    rows = (cpu.rows[0].model_copy(update={"case": alone}),)
    assert quieter(cpu.model_copy(update={"rows": rows})).endswith("with more --rounds.")
