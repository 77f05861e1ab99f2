"""The report of a benchmark: its pictures, their labels, its page, which needs nothing else."""

import io
import re
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image

from segkit.bench.comparison.statistics import summarise
from segkit.bench.display.labels import plain, shared_and_own
from segkit.bench.pages.bars import segments
from segkit.bench.pages.page import page, tables
from segkit.bench.pages.plots import PICTURES
from segkit.bench.pages.result import write_report
from segkit.bench.pages.scatter import pareto
from segkit.bench.pages.style import name_points, settle
from segkit.bench.records.case import Case
from segkit.bench.records.controls import ControlPair, Controls
from segkit.bench.records.machine import Ceilings, Environment
from segkit.bench.records.row import (
    Achieved,
    Checkerboard,
    Correctness,
    Counts,
    Memory,
    Quality,
    Relative,
    Row,
)
from segkit.bench.records.run import Method, Run
from segkit.reporting.figures import DARK, LIGHT, dress, figure

UPSAMPLERS = ("bilinear", "nearest", "transposed")
ENCODERS = ("unet", "densenet121")


def row(encoder, upsampler, mode, seconds):
    rounds = [[seconds * 0.99, seconds], [seconds, seconds * 1.02]]
    phases = {"forward": 0.3, "backward": 0.6, "optimizer": 0.1} if mode == "train" else {}
    times = {"step": summarise(rounds)}
    times |= {n: summarise([[s * share for s in r] for r in rounds]) for n, share in phases.items()}
    return Row(
        case=Case(
            encoder=encoder,
            decoder="unet",
            upsampler=upsampler,
            loss="ce" if mode == "train" else None,
            mode=mode,
        ),
        status="ok",
        times=times,
        images_per_s=8 / seconds,
        memory=Memory(peak_bytes=int(3e9 * seconds), idle_bytes=0, method="VmHWM"),
        counts=Counts(
            parameters=31_000_000,
            multiply_adds=10**11,
            flops=2 * 10**11,
            fewest_bytes=10**9,
        ),
        achieved=Achieved(
            flops_share=0.5, bytes_share=0.1, bound="arithmetic", least_s=seconds / 2, times_limit=2
        ),
        correctness=Correctness(error=2e-7, tolerance=1e-4, against="logits"),
        noisy="p90 is 1.8 times p10" if upsampler == "nearest" else "",
        quality=Quality(
            score=0.5 + seconds / 10,
            metric="miou",
            convention="mean over classes",
            data="demo set",
            epochs=4,
            steps=40,
            seconds=9.0,
        ),
        checkerboard=Checkerboard(at_start=0.02, after_training=0.01, picture="lattice.png"),
    )


def run(**changes):
    rows = [
        row(encoder, upsampler, mode, seconds + 0.1 * number + 0.2 * (mode == "train"))
        for encoder, seconds in zip(ENCODERS, (0.4, 0.6), strict=True)
        for number, upsampler in enumerate(UPSAMPLERS)
        for mode in ("train", "infer")
    ]
    beside = Relative(baseline=rows[0].case.name, speed=0.8, low=0.7, high=0.9, paired=True)
    rows[2] = rows[2].model_copy(update={"relative": beside})
    failed = Row(case=Case(encoder="<huge>", size=4096), status="oom", reason="killed & gone")
    environment = Environment(
        processor="a processor",
        cores=2,
        memory_bytes=24 * 2**30,
        system="Linux",
        architecture="x86_64",
        device="cpu",
        threads=2,
        load_before=0.5,
        load_after=1.5,
        python="3.13",
        packages={"torch": "2.15"},
    )
    values = {
        "command": "segkit bench upsamplers --quality",
        "started": "2026-01-01T10:20:30+00:00",
        "seconds": 125.0,
        "suite": "upsamplers",
        "environment": environment,
        "method": Method(rounds=2, round_seconds=1, workers_alive=2, order="rotated", seed=0),
        "ceilings": Ceilings(
            matmul_flops={"fp32": 2e11}, convolution_flops={"fp32": 5e11}, copy_bytes=4e10
        ),
        "aa": Controls(pairs=(ControlPair(case="unet", ratio=1.01, low=0.98, high=1.04),)),
        "rows": (*rows, failed),
    }
    return Run(**values | changes)


def test_the_front_holds_what_no_other_beats():
    rng = np.random.default_rng(0)
    points = [tuple(each) for each in rng.integers(0, 12, (60, 2)).tolist()]
    beaten = {
        at
        for at, (speed, memory) in enumerate(points)
        for other_speed, other_memory in points
        if (other_speed >= speed and other_memory < memory)
        or (other_speed > speed and other_memory <= memory)
    }
    front = pareto(points, (1, -1))
    assert set(front) == set(range(60)) - beaten
    assert [points[at] for at in front] == sorted(points[at] for at in front)


def test_what_cases_share_is_said_once():
    cases = [row("unet", name, "train", 1.0).case for name in UPSAMPLERS]
    shared, own = shared_and_own(cases)
    assert shared == "unet, decoder unet, ce, train, 256px, batch 8, fp32"
    assert list(own.values()) == list(UPSAMPLERS)


def test_cases_that_would_read_alike_keep_their_names():
    swapped = [
        Case(encoder="unet", decoder="unet", upsampler="bilinear", loss=loss, batch=batch)
        for loss, batch in (("ce", 8), ("dice", 8), ("ce", 4))
    ]
    _, own = shared_and_own(swapped)
    assert len(set(own.values())) == 3


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The files of a report, and its page's text."""
    folder = tmp_path_factory.mktemp("report")
    Image.new("RGB", (20, 10), "red").save(folder / "lattice.png")
    files = write_report(run(), folder)
    return files, (folder / "report.html").read_text(encoding="utf-8")


def test_every_picture_is_there_for_light_pages_and_for_dark_ones(report):
    _, text = report
    inline = re.findall(r"data:image/png;base64,([^\"]+)", text)
    pictures = [Image.open(io.BytesIO(b64decode(each))).convert("RGB") for each in inline]
    # One more than ours: the picture that the benchmark itself wrote, the same for both.
    assert len(pictures) == 2 * len(PICTURES) + 1
    for dark, light in zip(pictures[:-1:2], pictures[1:-1:2], strict=True):
        assert light.getpixel((0, 0)) == (255, 255, 255) == paper(LIGHT)
        assert dark.getpixel((0, 0)) == paper(DARK)
        assert light.size == dark.size
        assert len(light.getcolors(256)) > 50


def paper(theme):
    return tuple(int(theme.paper[at : at + 2], 16) for at in (1, 3, 5))


@pytest.mark.parametrize("name", PICTURES)
def test_no_picture_is_drawn_of_nothing(name):
    assert PICTURES[name](run(rows=run().rows[-1:]), LIGHT) is None


def test_names_of_points_cover_neither_each_other_nor_points():
    rng = np.random.default_rng(1)
    drawn = figure(9.5, 5, LIGHT)
    axes = drawn.add_subplot()
    points = [
        (x, y, f"a case number {at}", at < 5) for at, (x, y) in enumerate(rng.random((30, 2)))
    ]
    axes.scatter([x for x, *_ in points], [y for _, y, *_ in points])
    dress(axes, LIGHT)
    settle(drawn)
    left_out = name_points(axes, points, LIGHT)
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) + len(left_out) == 30
    assert len(boxes) >= 15
    overlapping = [
        (one, other)
        for at, one in enumerate(boxes)
        for other in boxes[at + 1 :]
        if one.overlaps(other)
    ]
    assert overlapping == []
    places = axes.transData.transform([(x, y) for x, y, *_ in points])
    assert not any(box.contains(*place) for box in boxes for place in places)


def test_the_report_is_pictures_and_a_page(report):
    files, _ = report
    assert [file.name for file in files] == [*(f"{name}.png" for name in PICTURES), "report.html"]
    assert all(file.stat().st_size > 1000 for file in files)


def test_the_page_needs_nothing_else(report):
    _, text = report
    assert not re.search(r"https?://|<script|<link|@import|url\(", text)


def test_the_page_says_conditions_ties_failures_and_how_to_repeat():
    text = page(run(), [])
    for part in (
        "Differences up to 4.0 % are ties.",
        "2026-01-01 10:20 UTC, 2 min 5 s, on a processor.",
        "0.50 before, 1.50 after",
        "500 GFLOP/s in fp32",
        "&lt;huge&gt;",
        "killed &amp; gone",
        "<pre>segkit bench upsamplers --quality</pre>",
        "miou after 4 epochs on",
    ):
        assert part in text
    assert "<huge>" not in text


def test_a_page_without_a_control_says_what_that_means():
    text = page(run(aa=None), [])
    assert "small differences cannot be told from noise" in text


def test_a_page_of_noise_says_that_it_tells_nothing_apart():
    controls = Controls(pairs=(ControlPair(case="unet", ratio=1.5, low=1e-8, high=3e7),))
    text = page(run(aa=controls), [])
    assert "Too few rounds, or too much noise, to tell the cases apart." in text
    assert "where\nthere is none: a factor of 100,000,000" in text


def test_speed_beside_a_baseline_has_a_panel_for_each_and_ties_are_hollow():
    rows = [row("unet", name, "infer", 0.4) for name in UPSAMPLERS]
    beside = Relative(
        baseline=rows[0].case.name, speed=2.0, low=1.8, high=2.2, memory=0.5, paired=True
    )
    rows[0] = rows[0].model_copy(update={"relative": beside.model_copy(update={"speed": 1.0})})
    rows[1] = rows[1].model_copy(update={"relative": beside})
    tie = beside.model_copy(update={"speed": 1.01, "low": 0.99, "high": 1.03, "tie": True})
    rows[2] = rows[2].model_copy(update={"relative": tie})
    axes = PICTURES["beside-baseline"](run(rows=rows), LIGHT).axes
    assert len(axes) == 1
    assert [label.get_text() for label in axes[0].get_yticklabels()] == [
        UPSAMPLERS[1],
        UPSAMPLERS[2],
    ]
    low, high = axes[0].get_xlim()
    assert low < 0.99 and high > 2.2
    table = tables(run(rows=rows))[0]
    shown = dict(
        zip(table.header, next(r for r in table.rows if UPSAMPLERS[1] in r[0]), strict=True)
    )
    assert (shown["times as fast"], shown["of its memory"]) == ("2 (1.8 to 2.2)", "0.5")
    assert f"baseline: {rows[0].case.name}." in page(run(rows=rows), [])
    assert PICTURES["beside-baseline"](run(rows=rows[:1]), LIGHT) is None


def test_an_interval_beyond_all_sense_does_not_squeeze_the_bars_and_is_said_to_be_cut():
    rows = [row("unet", name, "infer", 0.4) for name in UPSAMPLERS]
    wide = rows[0].times["step"].model_copy(update={"high": 3e4})
    rows[0] = rows[0].model_copy(update={"times": {"step": wide}})
    axes = PICTURES["step-times"](run(rows=rows), LIGHT).axes[0]
    assert axes.get_xlim()[1] < 1000  # ms, beside bars of 400
    cut = [text.get_text() for text in axes.texts if "interval to" in text.get_text()]
    assert cut == ["400 ms  20 images/s  interval to 30,000,000 ms"]
    assert [line.get_marker() for line in axes.lines].count(">") == 1


@pytest.mark.parametrize(
    ("parts", "drawn"),
    [
        ({"forward": 0.3, "backward": 0.6}, [0.3, 0.6, 0.1]),
        ({"forward": 0.5, "backward": 1.5}, [0.25, 0.75, 0.0]),
        ({"backward": 0.5}, [1.0]),
    ],
)
def test_the_segments_of_a_bar_add_up_to_the_step(parts, drawn):
    whole = row("unet", "bilinear", "train", 1.0)
    step = summarise([[1.0], [1.0]])
    times = {"step": step} | {name: summarise([[s], [s]]) for name, s in parts.items()}
    found = segments(whole.model_copy(update={"times": times}), list(parts))
    assert list(found.values()) == pytest.approx(drawn)
    assert sum(found.values()) == pytest.approx(1.0)


def test_points_that_lie_close_have_numbers_and_their_names_beside():
    names = [f"upsampler_of_a_long_name_{at}" for at in range(40)]
    rows = [row("unet", name, "infer", 0.4 + 1e-4 * at) for at, name in enumerate(names)]
    axes = PICTURES["speed-and-memory"](run(rows=rows), LIGHT).axes[0]
    told = [text.get_text() for text in axes.get_legend().get_texts()]
    assert told == [f"{at}  {name}" for at, name in enumerate(names, start=1)]
    apart = [row("unet", name, "infer", seconds) for name, seconds in (("a", 0.4), ("b", 4.0))]
    axes = PICTURES["speed-and-memory"](run(rows=apart), LIGHT).axes[0]
    assert {"a", "b"} <= {text.get_text() for text in axes.texts}


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (20331.4, "20,331"),
        (2.5, "2.5"),
        (99.95, "100"),
        (0.00012345, "0.000123"),
        (0, "0"),
        (6000000.0, "6,000,000"),
    ],
)
def test_numbers_are_written_without_powers_of_ten(number, text):
    assert plain(number) == text


def test_tables_show_the_quickest_first_and_no_empty_column():
    training, inference = tables(run())
    assert training.header == [
        *("", "images/s", "step ms", "95 % interval", "times as fast", "peak MiB"),
        "parameters M",
        *("multiply-adds G", "x fastest", "score"),
    ]
    assert {"of arithmetic", "of bandwidth", "bound by"} <= set(training.more_header)
    assert "backward ms" in training.more_header
    assert "backward ms" not in inference.more_header
    assert [each[0] for each in inference.rows][:2] == ["unet, bilinear", "unet, nearest *"]
    assert inference.rows[0][1:3] == ["20", "400"]
    low, high = map(float, inference.rows[0][3].split(" to "))
    assert low < 400 < high
