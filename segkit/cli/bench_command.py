"""`segkit bench`: options to a grid, then the benchmark, watched; `bench compare` beside it."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from segkit.cli.options.completion import ComponentName
from segkit.cli.options.declaring import TorchCommand, say
from segkit.cli.running.launching import JOBS, launcher_options, needs_of, tell

BESIDE = {
    "compare": "segkit.cli.subcommands.bench_compare",
    "join": "segkit.cli.subcommands.bench_join",
    "quality": "segkit.cli.subcommands.bench_quality",
}
SUITES = "[default: the suite's]"
# The options whose values, separated by commas, replace those of every grid.
WORDS = ("encoder", "decoder", "upsampler", "loss", "onnx", "mode", "precision", "compile")
NUMBERS = ("size", "batch", "classes", "threads")


class BenchCommand(TorchCommand):
    """`segkit bench [SUITE]`, unless the first word is a command beside it."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        if args and args[0] in BESIDE:
            module: Any = import_module(BESIDE[args[0]])
            beside: click.Command = module.command
            return beside.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command("bench", cls=BenchCommand)
@click.argument("suite", default="quick")
@click.option("--encoder", metavar="NAMES", type=ComponentName("encoders"), help=SUITES)
@click.option("--decoder", metavar="NAMES", type=ComponentName("decoders"), help=SUITES)
@click.option("--upsampler", metavar="NAMES", type=ComponentName("upsamplers"), help=SUITES)
@click.option(
    "--loss", metavar="SUMS", type=ComponentName("losses"), help=f"As dice,ce,dice+ce. {SUITES}"
)
@click.option("--onnx", metavar="FILES", help="Exported files, on the CPU. [default: none]")
@click.option("--mode", metavar="train,infer", help=SUITES)
@click.option(
    "--size", metavar="PIXELS", help=f"Side of the image; auto fits the machine. {SUITES}"
)
@click.option("--batch", metavar="IMAGES", help=f"Images a step; auto fits the machine. {SUITES}")
@click.option("--classes", metavar="K", help="Classes of the logits. [default: 21]")
@click.option("--precision", metavar="fp32,bf16,fp16", help=SUITES)
@click.option("--compile", metavar="no,yes,graph", help=f"graph: as a CUDA graph. {SUITES}")
@click.option("--threads", metavar="N", help="Of torch, on a CPU. [default: torch's choice]")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps. [default: auto]")
@click.option("--rounds", type=click.IntRange(2), help="Turns of each case. [default: the suite's]")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    help="Length of a turn. [default: the suite's]",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="That all but --quality may take; what does not fit is left out, and said. "
    "[default: the suite's; 3 for quick]",
)
@click.option(
    "--baseline",
    metavar="NAME",
    help="The case, or its component, that all are held against. [default: the suite's]",
)
@click.option("--quality", is_flag=True, help="Train each network briefly and add its score.")
@click.option("--data", metavar="DIR", help="For --quality. [default: the demo set]")
@click.option("--epochs", type=click.IntRange(1), default=4, help="For --quality. [default: 4]")
@click.option("--checkerboard", is_flag=True, help="With --quality: artefacts of upsampling too.")
@click.option("--trace", is_flag=True, help="Write a profiler's trace of every case.")
@click.option(
    "--timeout", type=float, default=900.0, help="Seconds to prepare a case. [default: 900]"
)
@click.option("--out", metavar="DIR", help="Where results go. [default: bench-<time>]")
@launcher_options(None)
@JOBS
@click.option("--dry-run", is_flag=True, help="List the cases and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print results.json instead of the table.")
def command(suite: str, **given: Any) -> None:
    """Measure speed and memory of a SUITE's cases, each in a process of its own.

    \b
    segkit bench                              quick, sized to this machine
    segkit bench encoders                     a suite, or a YAML file
    segkit bench --encoder densenet121,unet --size 256,512 --precision fp32,bf16
    segkit bench upsamplers --quality         scores beside cost
    segkit bench compare A B                  two results, with intervals
    segkit bench quality                      score against minutes, beside peers
    segkit bench encoders --launcher slurm --jobs 8
                                              an idle job takes the next case

    Options take one value or several with commas, and replace those of the suite; names may be
    patterns, or all. Ctrl-C skips the case at work, twice ends with what there is.

    Without a SUITE it takes three minutes at most; cases that do not fit them are left out, which
    is said.
    """
    from segkit.bench.suites.grid import refuse_unknown_names
    from segkit.bench.suites.suite import QUICK, find_suite, suite_of_files
    from segkit.errors import UsageError
    from segkit.registry.index import Index

    axes = _axes(given)
    refuse_unknown_names(axes, Index.of_installed())
    files = axes.get("onnx")
    found = suite_of_files(files) if files else find_suite(suite, Index.of_installed())
    named = any(axis in axes for axis in ("encoder", "decoder", "upsampler", "loss"))
    if suite == QUICK and named:
        found = found.model_copy(
            update={"name": "options", "about": "", "grids": _plain_grid(), "minutes": None}
        )
    if given["checkerboard"] and not given["quality"]:
        raise UsageError("SK-C009", "--checkerboard was given without --quality.", "Add --quality.")
    if given["out"] and Path(given["out"]).is_file():
        raise UsageError("SK-C009", f"--out {given['out']} is a file.", "Give a folder's name.")
    given["needs"] = needs_of(given, None, given["launcher"])
    _refuse_quality_elsewhere(given)
    if given["dry_run"]:
        if given["device"] != "auto":
            _device(given["device"])
        _show_cases(found, axes, given["device"])
        return
    _measure(found, axes, given)


def _refuse_quality_elsewhere(given: dict[str, Any]) -> None:
    from segkit.errors import UsageError

    if given["launcher"] is not None and given["quality"]:
        raise UsageError(
            "SK-C009",
            "--quality trains here, one case after the other, and --launcher measures elsewhere.",
            "Leave one of them out; `segkit sweep --launcher` trains many.",
        )


def _axes(given: dict[str, Any]) -> dict[str, list[Any]]:
    from segkit.bench.suites.grid import split_list
    from segkit.errors import UsageError

    axes: dict[str, list[Any]] = {}
    for name in (*WORDS, *NUMBERS):
        if given[name] is None:
            continue
        values: list[Any] = split_list(given[name])
        if name in NUMBERS:
            wrong = [each for each in values if not (each.isdigit() and int(each) > 0)]
            wrong = [each for each in wrong if each != "auto" or name not in ("size", "batch")]
            if wrong:
                square = "Images are square: one number is their height and width. "
                raise UsageError(
                    "SK-C009",
                    f"--{name} cannot be '{wrong[0]}'.",
                    (square if name == "size" and "x" in wrong[0] else "")
                    + "Give whole numbers from 1, with commas between.",
                )
            values = [each if each == "auto" else int(each) for each in values]
        axes[name] = values
    _refuse_unknown(axes)
    return axes


def _refuse_unknown(axes: dict[str, list[Any]]) -> None:
    from segkit.errors import UsageError, did_you_mean

    choices = {
        "mode": ("train", "infer"),
        "precision": ("fp32", "bf16", "fp16"),
        "compile": ("no", "yes", "graph"),
    }
    for axis, known in choices.items():
        for each in axes.get(axis, ()):
            if each not in known:
                raise UsageError(
                    "SK-C009",
                    f"--{axis} cannot be '{each}'.",
                    f"{did_you_mean(each, known)}Choose among {', '.join(known)}.",
                )


def _plain_grid() -> tuple[Any, ...]:
    from segkit.bench.suites.grid import Grid

    return (Grid(size=("auto",), batch=("auto",), mode=("train", "infer")),)


def _device(asked: str) -> str:
    from segkit.device import choose_device

    return str(choose_device(asked))


def _show_cases(suite: Any, axes: dict[str, list[Any]], device: str) -> None:
    from segkit.bench.suites.grid import cases_of, overridden
    from segkit.registry.index import Index

    index = Index.of_installed()
    kind = "cpu" if device == "auto" else device
    names = dict.fromkeys(
        case.name
        for grid in overridden(suite.grids, axes)
        for case in cases_of(grid, device=kind, flops=None, index=index)
    )
    for name in names:
        say(name)
    say(f"{len(names)} cases, {suite.rounds} rounds of {suite.round_seconds:g} s.")


def _first_line(suite: Any, minutes: float | None) -> str:
    """Said before anything that takes seconds is imported."""
    within = "" if minutes is None else f", within {minutes:g} minute" + "s" * (minutes != 1)
    return f"Suite {suite.name}{within}. First, what this machine can do at its best."


def _measure(suite: Any, axes: dict[str, list[Any]], given: dict[str, Any]) -> None:
    from segkit.bench.runner.budget import Budget

    budget = Budget.starting(given["minutes"] or suite.minutes)
    if not given["as_json"] and not given["launcher"]:
        say(_first_line(suite, budget.minutes))
    from segkit.bench.display.watching import Quiet
    from segkit.bench.order import Order
    from segkit.bench.runner.settings import Settings
    from segkit.bench.runner.short_trainings import QualitySettings

    # Where jobs have GPUs, whether this machine has one does not matter.
    elsewhere = given["device"] == "auto" and given["launcher"] and given["needs"].gpus
    device = "cuda" if elsewhere else _device(given["device"])
    folder = Path(given["out"] or time.strftime("bench-%Y%m%d-%H%M%S")).expanduser()
    settings = Settings(
        rounds=given["rounds"] or suite.rounds,
        round_seconds=given["seconds"] or suite.round_seconds,
        prepare_timeout=given["timeout"],
        trace_folder=folder.resolve() if given["trace"] else None,
    )
    quality = None
    if given["quality"]:
        quality = QualitySettings(
            data=given["data"],
            epochs=given["epochs"],
            device=device,
            checkerboard=given["checkerboard"],
        )
    order = Order(suite, device, axes, settings, quality, baseline=given["baseline"], budget=budget)
    live, watcher = None, Quiet()
    if sys.stdout.isatty() and not given["as_json"]:
        from rich.console import Console

        from segkit.bench.display.terminal import LiveDisplay

        live = watcher = LiveDisplay(Console())
    elif not given["as_json"]:
        from segkit.bench.display.terminal import PlainDisplay

        watcher = PlainDisplay(say)
    try:
        run = _run(order, watcher, folder, given)
    finally:
        if live is not None:
            live.close()
    if given["as_json"]:
        click.echo(run.to_json())
        return
    for name in ("results.json", "results.csv", "report.html"):
        if (folder / name).is_file():
            say(str(folder / name))


def _run(order: Any, watcher: Any, folder: Path, given: dict[str, Any]) -> Any:
    """Measured here, or by the jobs of a launcher."""
    if given["launcher"] is None:
        from segkit.bench.benchmark import run_benchmark

        return run_benchmark(order, watcher, folder)
    from segkit.bench.shared.launching import run_shared

    return run_shared(
        order,
        watcher,
        folder,
        launcher=given["launcher"],
        jobs=given["jobs"] or 2,
        needs=given["needs"],
        told=(lambda news: None) if given["as_json"] else tell,
    )
