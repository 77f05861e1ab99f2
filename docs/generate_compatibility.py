"""Writes compatibility.md: every encoder with every decoder and upsampler, each one tried.

    python docs/generate_compatibility.py

A cell is one network, built by name, run forward and backward on images of odd size. It either
works or is refused when it is named (SK-C007); anything else is a bug, and
`tests/test_compatibility.py` fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

import segkit
from segkit.errors import UsageError
from segkit.registry.components import default_registry
from segkit.registry.index import Index

HEIGHT, WIDTH = 45, 71
CLASSES = 3
# Narrow, so that hundreds of networks are tried in minutes. The large families stand for themselves
# with a member for each way they differ: first stride, dilation, number of levels, transformer.
ENCODERS = (
    "unet(width=8)",
    "unet(width=8, padding=valid, norm=none)",
    "vgg11_bn",
    "densenet121",
    "timm/resnet18",
    "timm/resnet18(output_stride=16)",
    "timm/convnext_atto",
    "timm/mobilenetv3_small_050",
    "timm/vit_tiny_patch16_224",
    "smp/mobilenet_v2",
)
DECODER_OPTIONS = {"unet": ("unet", "unet(padding=valid, norm=none)")}


@dataclass(frozen=True)
class Cell:
    """One combination, and why it is refused, or "" where it works."""

    encoder: str
    decoder: str
    upsampler: str
    refusal: str


def decoders() -> tuple[str, ...]:
    """Every decoder installed, the members of families included."""
    registry = default_registry()
    names: list[str] = []
    for entry in registry.index.of_kind("decoders"):
        names += registry.members(entry) or DECODER_OPTIONS.get(entry.name, (entry.name,))
    return tuple(names)


def upsamplers() -> tuple[str, ...]:
    return tuple(entry.name for entry in Index.of_installed().of_kind("upsamplers"))


def try_cell(encoder: str, decoder: str, upsampler: str) -> Cell:
    """Builds the network and runs it forward and backward; only a refusal by name is caught."""
    torch.manual_seed(0)
    try:
        model = segkit.build_model(encoder, decoder, upsampler, num_classes=CLASSES)
    except UsageError as error:
        if error.code != "SK-C007":
            raise
        return Cell(encoder, decoder, upsampler, error.what)
    logits_BKHW = model(torch.randn(2, 3, HEIGHT, WIDTH))
    if logits_BKHW.shape != (2, CLASSES, HEIGHT, WIDTH):
        raise AssertionError(f"{encoder}, {decoder}, {upsampler}: {tuple(logits_BKHW.shape)}")
    logits_BKHW.mean().backward()
    lacking = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    if lacking:
        raise AssertionError(f"{encoder}, {decoder}, {upsampler}: no gradient for {lacking[:3]}")
    return Cell(encoder, decoder, upsampler, "")


def all_cells() -> Iterator[Cell]:
    for encoder in ENCODERS:
        for decoder in decoders():
            for upsampler in upsamplers():
                yield try_cell(encoder, decoder, upsampler)


def general(refusal: str) -> str:
    """A refusal without the names it quotes, so that one reason is one note."""
    return re.sub(r" '[^']*'", "", refusal)


def summary(cells: list[Cell]) -> str:
    """Which upsamplers work with one encoder and decoder, in the fewest words."""
    works = [f"`{cell.upsampler}`" for cell in cells if not cell.refusal]
    refused = [f"`{cell.upsampler}`" for cell in cells if cell.refusal]
    if not refused:
        return "all"
    if not works:
        return "none"
    return f"all but {', '.join(refused)}" if len(refused) < len(works) else ", ".join(works)


def as_markdown(cells: list[Cell]) -> str:
    """A table of decoders by encoders: the upsamplers that work, and notes on why others do not."""
    notes: dict[str, int] = {}
    lines = [
        "# Which parts go together",
        "",
        "Written by `python docs/generate_compatibility.py`: each combination was built by name",
        f"and run forward and backward on two images of {HEIGHT}x{WIDTH} pixels. A cell names the",
        "upsamplers that work; a number in brackets is the reason for which others are refused.",
        "",
        "| decoder | " + " | ".join(f"`{e}`" for e in ENCODERS) + " |",
        "|---" * (len(ENCODERS) + 1) + "|",
    ]
    for decoder in dict.fromkeys(cell.decoder for cell in cells):
        row = [f"`{decoder}`"]
        for encoder in ENCODERS:
            tried = [c for c in cells if (c.encoder, c.decoder) == (encoder, decoder)]
            reasons = dict.fromkeys(general(c.refusal) for c in tried if c.refusal)
            marks = [f"[{notes.setdefault(reason, len(notes) + 1)}]" for reason in reasons]
            row.append(" ".join([summary(tried), *marks]))
        lines.append("| " + " | ".join(row) + " |")
    lines += ["", f"The upsamplers: {', '.join(f'`{u}`' for u in upsamplers())}.", ""]
    lines += [f"{number}. {reason}" for reason, number in notes.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    target = Path(__file__).with_name("compatibility.md")
    target.write_text(as_markdown(list(all_cells())), encoding="utf-8")
    print(f"wrote {target}")  # noqa: T201
