"""`segkit plan`: does a combination fit a device, and how quick can it be? Nothing is run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segkit.cli.options.completion import ComponentName
from segkit.cli.options.declaring import TorchCommand
from segkit.errors import UsageError
from segkit.reporting.words import counted

if TYPE_CHECKING:
    from segkit.bench.limits.devices import Device
    from segkit.bench.limits.planner import Plan


@click.command("plan", cls=TorchCommand, context_settings={"show_default": True})
@click.option("--encoder", type=ComponentName("encoders"), default="densenet121")
@click.option("--decoder", type=ComponentName("decoders"), default="unet")
@click.option("--upsampler", type=ComponentName("upsamplers"), default="bilinear")
@click.option("--loss", type=ComponentName("losses"), default="dice+ce")
@click.option("--classes", type=click.IntRange(1), default=21, help="Of the masks.")
@click.option("--in-channels", type=click.IntRange(1), default=3, help="Channels of the image.")
@click.option(
    "--size", default="512", help="Of the image, pixels: 512, or 384x640 (height x width)."
)
@click.option("--batch", type=click.IntRange(1), help="[default: the largest that fits, or 8]")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    help="auto: bf16 where the GPU has it, else fp32.",
)
@click.option(
    "--mode", type=click.Choice(["train", "infer"]), default="train", help="What the step does."
)
@click.option("--checkpoint-activations", is_flag=True, help="As `segkit train` has it.")
@click.option(
    "--memory", metavar="GIB", help="What is to suffice: 24, 24GiB or 800MB. [default: the --gpu's]"
)
@click.option(
    "--gpu",
    metavar="NAME",
    help="Such as H200, A100, RTX-4090, T4: memory and times. [default: none]",
)
@click.option(
    "--measured",
    type=click.Path(path_type=Path),
    metavar="RESULT",
    help="Times from the ceilings that `segkit bench` measured. [default: none]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool, **given: Any) -> None:
    """Predict a step's memory, the largest batch that fits, and the least time; run nothing.

    \b
    segkit plan --gpu rtx-4090
    segkit plan --encoder timm/convnext_tiny --size 1024 --memory 24GB
    segkit plan --encoder unet --batch 4 --mode infer --json

    Memory is that of tensors, counted one by one on this CPU as the step would make them. Times are
    bounds: no step of this kind is quicker, and most take up to twice as long.
    """
    from segkit.bench.limits.planner import bytes_of, make_plan

    device = _device(given["gpu"], given["measured"])
    memory = bytes_of(given["memory"]) if given["memory"] else None
    plan = make_plan(_step(given, device), given["batch"], memory, device)
    click.echo(json.dumps(_facts(plan), indent=2) if as_json else _page(plan))


def _device(gpu: str | None, measured: Path | None) -> Device | None:
    from segkit.bench.limits.devices import find_device, measured_device
    from segkit.bench.records.run import read_run

    if gpu and measured:
        raise UsageError(
            "SK-C009", "both --gpu and --measured name a device.", "Give one of the two."
        )
    if measured:
        return measured_device(read_run(measured))
    return find_device(gpu) if gpu else None


def _step(given: dict[str, Any], device: Device | None) -> Any:
    from segkit.bench.limits.counting import Step

    precision = given["precision"]
    if precision == "auto":
        precision = "bf16" if device and "bf16" in device.flops else "fp32"
    height, width = _size(given["size"])
    training = given["mode"] == "train"
    return Step(
        encoder=given["encoder"],
        decoder=given["decoder"],
        upsampler=given["upsampler"],
        loss=given["loss"] if training else None,
        mode=given["mode"],
        classes=given["classes"],
        channels=given["in_channels"],
        height=height,
        width=width,
        precision=precision,
        average=training,
        device=device.type if device else "cuda",
        checkpoint_activations=training and given["checkpoint_activations"],
    )


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if match is None or 0 in (height := int(match[1]), width := int(match[2] or match[1])):
        raise UsageError(
            "SK-C009", f"'{text}' is no size.", "Write 512, or 384x640 for height x width."
        )
    return height, width


def _facts(plan: Plan) -> dict[str, Any]:
    from dataclasses import asdict

    count = plan.count
    by_phase = {
        phase: {
            "flops": count.flops(phase),
            "eager_bytes": count.eager_bytes(phase),
            "fewest_bytes": count.fewest_bytes[phase],
            "operations": count.launches(phase),
        }
        for phase in count.phases
    }
    return {
        "step": asdict(plan.step),
        "parameters": count.parameters,
        "multiply_adds": count.multiply_adds,
        "phases": by_phase,
        "peak_bytes": count.peak_bytes,
        "peak_phase": count.peak_phase,
        "model_bytes": count.model_bytes,
        "kept_bytes": count.kept_bytes,
        "saved_bytes": count.saved_bytes,
        "memory_bytes": plan.memory_bytes,
        "usable_bytes": plan.usable_bytes,
        "largest_batch": plan.largest_batch,
        "fits": plan.fits,
        "device": plan.device.name if plan.device else None,
        "device_source": plan.device.source if plan.device else None,
        "least_seconds": asdict(plan.bounds) if plan.bounds else None,
    }


def _page(plan: Plan) -> str:
    from segkit.bench.limits.planner import in_bytes
    from segkit.reporting.tables import aligned, in_units

    step, count = plan.step, plan.count
    parts = [step.encoder, step.decoder, step.upsampler, *([step.loss] if step.loss else [])]
    how = step.precision + ", activations computed twice" * step.checkpoint_activations
    task = {"train": "training", "infer": "inference"}[step.mode]
    rows: list[list[object]] = [
        ["step", f"{' + '.join(parts)}, {task}"],
        ["", f"{_images(step.batch)} of {step.height} x {step.width} (height x width), {how}"],
        ["parameters", in_units(count.parameters)],
        ["multiply-adds", f"{_large(count.multiply_adds)} forward"],
        ["arithmetic", f"{_large(count.flops())}FLOP in all"],
        ["peak memory", f"{in_bytes(count.peak_bytes)}, in the {count.peak_phase} pass"],
        ["  stays", f"{in_bytes(count.kept_bytes)}, {_kept(plan)}"],
    ]
    if step.mode == "train":
        rows.append(["  saved", f"{in_bytes(count.saved_bytes)}, for the backward pass"])
    return "\n".join([aligned(rows + _fit(plan)), *_times(plan)])


def _images(batch: int) -> str:
    return counted(batch, "image")


def _large(number: int) -> str:
    return f"{number / 1e12:.3g} T" if number >= 1e12 else f"{number / 1e9:.3g} G"


def _kept(plan: Plan) -> str:
    if plan.step.mode == "infer":
        return "weights"
    return "weights, average, gradients and optimizer"


def _fit(plan: Plan) -> list[list[object]]:
    from segkit.bench.limits.planner import in_bytes

    if plan.memory_bytes is None or plan.usable_bytes is None:
        return [["fits", "on --gpu NAME or in --memory 24GB?"]]
    aside = in_bytes(plan.memory_bytes - plan.usable_bytes)
    name = f" ({plan.device.name})" if plan.device else ""
    rows: list[list[object]] = [
        ["memory", f"{in_bytes(plan.memory_bytes)}{name}, of it {aside} set aside"],
    ]
    largest = f"{plan.largest_batch:,}" if plan.largest_batch else "none fits"
    return [*rows, ["largest batch", largest], ["fits", "yes" if plan.fits else "NO"]]


def _times(plan: Plan) -> list[str]:
    from segkit.reporting.tables import aligned

    if plan.bounds is None or plan.device is None:
        return []
    bounds, images = plan.bounds, plan.step.batch
    labelled = [
        ("all fused that can be", bounds.fused),
        ("  its arithmetic alone", bounds.arithmetic),
        ("  its memory traffic alone", bounds.memory),
        ("PyTorch as it is", bounds.eager),
    ]
    if bounds.launches:
        labelled.append(("  the host, to launch it", bounds.launches))
    rows = [[name, _time(s), f"{_rate(images / s)} images/s"] for name, s in labelled if s]
    table = aligned(rows, ["no step is quicker than", "a step", "at most"])
    return ["", table, "", f"rates: {plan.device.source}"]


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def _rate(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
