"""`segkit import`: a checkpoint trained elsewhere becomes a segkit model folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segkit.cli.options.completion import ComponentName
from segkit.cli.options.declaring import TorchCommand, say
from segkit.errors import UsageError

if TYPE_CHECKING:
    from segkit.importers.importing import Imported


@click.command("import", cls=TorchCommand, context_settings={"show_default": True})
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "source",
    default="auto",
    type=click.Choice(["auto", "smp", "torchvision", "milesial"]),
    help="Where it was trained; auto tells by the tensors' names.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New model folder.")
@click.option(
    "--encoder",
    type=ComponentName("encoders"),
    help="smp: the encoder it has. [default: as save_pretrained wrote]",
)
@click.option(
    "--decoder",
    help="smp: the architecture, as 'unet(decoder_channels=[64, 32, 16])'. [default: as written]",
)
@click.option(
    "--classes", help="The classes' names in label order: 'ground, road, sky'. [default: none]"
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    file: Path,
    source: str,
    out: Path,
    encoder: str | None,
    decoder: str | None,
    classes: str | None,
    as_json: bool,
) -> None:
    """Turn FILE, a checkpoint from elsewhere, into a model folder that gives the same outputs.

    Where they are the same at some image sizes only, the report says at which.

    \b
    segkit import unet.pth --from milesial --out model

    \b
    smp          segmentation-models-pytorch: state dict, save_pretrained's folder
    torchvision  deeplabv3_resnet50 and deeplabv3_resnet101
    milesial     U-Nets with the parts inc, down1..4, up1..4, outc

    FILE is .safetensors, or what torch.save wrote of tensors: code in it is never run.
    """
    from segkit.importers.importing import Wish, import_checkpoint
    from segkit.model.folder import save_model

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            "SK-C012", f"{out} exists and is not empty.", "Give a new folder with --out."
        )
    imported = import_checkpoint(file, source, Wish(encoder, decoder))
    named = _names(classes, imported.plan.num_classes)
    save_model(imported.model, out, **({"classes": named} if named else {}))
    report = imported.as_json()
    say(json.dumps(report, indent=2) if as_json else _told(imported, report, out))


def _names(classes: str | None, count: int) -> tuple[str, ...]:
    if classes is None:
        return ()
    names = tuple(name.strip() for name in classes.split(","))
    if count == 1:
        names, count = (("background", *names) if len(names) == 1 else names), 2
    if len(names) != count or not all(names):
        raise UsageError(
            "SK-C009",
            f"--classes names {len(names)} classes, and the checkpoint has {count}.",
            "Give one name for each, in label order.",
        )
    return names


def _told(imported: Imported, report: dict[str, Any], out: Path) -> str:
    plan = imported.plan
    lines = [
        f"{plan.source}",
        f"encoder {plan.encoder}, decoder {plan.decoder}, upsampler {plan.upsampler}",
        f"{plan.in_channels} channels in, {plan.num_classes} "
        f"{'output' if plan.num_classes == 1 else 'classes out'}",
        f"{report['tensors']} tensors taken over ({report['parameters']:,} numbers)",
    ]
    for reason in dict.fromkeys(plan.left_out.values()):
        keys = [key for key, why in plan.left_out.items() if why == reason]
        lines.append(f"{len(keys)} left out, such as {keys[0]}: {reason}")
    if imported.filled:
        lines.append(f"{len(imported.filled)} step counters of batch norms set to 0")
    return "\n".join([*lines, *plan.notes, f"model folder: {out}"])
