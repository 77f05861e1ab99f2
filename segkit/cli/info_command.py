"""`segkit info`: one component in full."""

from __future__ import annotations

import json
import re
from typing import Any

import click

from segkit.cli.options.completion import ComponentName, Kind
from segkit.cli.options.declaring import TorchCommand, say
from segkit.errors import UsageError
from segkit.reporting.tables import aligned, in_units


@click.command("info", cls=TorchCommand, context_settings={"show_default": True})
@click.argument("kind_or_name", metavar="[KIND]", type=Kind())
@click.argument("name", required=False, type=ComponentName())
@click.option("--in-channels", default=3, type=click.IntRange(1), help="Channels of the image.")
@click.option(
    "--size", default="512", help="Of the image, pixels: 512, or 384x640 (height x width)."
)
@click.option(
    "--encoder",
    type=ComponentName("encoders"),
    help="Measure a decoder on this one. [default: the first that fits]",
)
@click.option(
    "--upsampler",
    type=ComponentName("upsamplers"),
    help="Measure a decoder with it. [default: the first that fits]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    kind_or_name: str,
    name: str | None,
    in_channels: int,
    size: str,
    encoder: str | None,
    upsampler: str | None,
    as_json: bool,
) -> None:
    """Show one component: its options, source, shapes, parameters and multiply-adds.

    \b
    segkit info densenet121
    segkit info encoder 'densenet121(depth=4)' --size 384x640
    segkit info decoder unet --encoder densenet121
    """
    from segkit.describe.looking import described
    from segkit.describe.setting import Setting

    height, width = _size(size)
    setting = Setting(in_channels, height, width, encoder, upsampler)
    kind, written = (None, kind_or_name) if name is None else (kind_or_name, name)
    facts = described(kind, written, setting)
    say(json.dumps(facts, indent=2) if as_json else _page(facts))


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if match is None or 0 in (height := int(match[1]), width := int(match[2] or match[1])):
        raise UsageError(
            "SK-C009", f"'{text}' is no size.", "Write 512, or 384x640 for height x width."
        )
    return height, width


def _page(facts: dict[str, Any]) -> str:
    source = f"{facts['distribution']} {facts['version']}, module {facts['module']}"
    parts = [f"{facts['name']}: {facts['kind']} of {source}", facts["summary"]]
    parts += [facts["description"], "\n".join(facts["papers"]), _options(facts)]
    if "levels" in facts:
        parts.append(_levels(facts))
    parts.append("\n".join(_measures(facts)))
    return "\n\n".join(part for part in parts if part)


def _options(facts: dict[str, Any]) -> str:
    if not facts["options"]:
        return "No options."
    rows = [
        [each["name"], each["type"], _default(each), each["description"]]
        for each in facts["options"]
    ]
    return aligned(rows, ["option", "type", "default", "what it is"])


def _default(option: dict[str, Any]) -> str:
    if option["required"]:
        return "required"
    return json.dumps(option["default"]).strip('"').replace("null", "none")


def _levels(facts: dict[str, Any]) -> str:
    rows = [
        [number, each["stride"], each["channels"], f"{each['height']} x {each['width']}"]
        for number, each in enumerate(facts["levels"])
    ]
    return aligned(rows, ["level", "stride", "channels", "height x width"])


def _measures(facts: dict[str, Any]) -> list[str]:
    lines = []
    if "image" in facts:
        channels, height, width = facts["image"]
        lines.append(
            f"measured on an image of {height} x {width} (height x width), {channels} "
            f"channel{'s' * (channels != 1)}"
        )
    if "encoder" in facts:
        lines.append(f"over the encoder {facts['encoder']}, upsampler {facts['upsampler']}")
        lines.append(f"gives {facts['channels']} channels at stride {facts['stride']}")
    if "step" in facts:
        lines.append(f"measured on {facts['step']}")
    if "parameters" in facts:
        lines.append(f"parameters     {facts['parameters']:,}")
        lines.append(
            f"multiply-adds  {in_units(facts['multiply_adds'])}  (of convolutions and matrix "
            "products; one is two FLOPs)"
        )
    lines += _properties(facts)
    if "unmeasured" in facts:
        lines.append(f"not measured: {facts['unmeasured']}")
    return lines


def _properties(facts: dict[str, Any]) -> list[str]:
    lines = []
    if facts.get("pool_indices"):
        lines.append("gives pooling indices, for the upsampler max_unpool")
    if facts.get("needs_pool_indices"):
        lines.append("needs the encoder's pooling indices")
    if facts.get("needs_instances"):
        lines.append("uses object masks where the data have them")
    if "weights" in facts:
        published = facts["weights"]
        lines.append(
            f"ImageNet weights: {published['repository']} ({published['licence']})"
            if published
            else "no ImageNet weights are published"
        )
    if facts.get("convention"):
        lines.append(f"convention: {facts['convention']}")
    if "higher_is_better" in facts:
        lines.append("higher is better" if facts["higher_is_better"] else "lower is better")
    return lines
