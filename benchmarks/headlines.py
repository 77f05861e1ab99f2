"""Ten rows that say where segkit stands: each beside the best of its peers, and their picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from result_tables import device_name

from segkit.bench.comparison.baselines import with_ratios
from segkit.bench.display.labels import milliseconds, plain
from segkit.bench.pages.bars import at_end
from segkit.bench.pages.style import plain_numbers
from segkit.bench.records.row import Relative, Row
from segkit.bench.records.run import Run
from segkit.reporting.figures import DARK, LIGHT, Theme, dress, figure, png, title

HERE = Path(__file__).parent
PICTURE = "beside-peers"


@dataclass(frozen=True)
class Headline:
    """One comparison, chosen by what it is about and not by how it ends.

    what    in plain words
    result  the file in results/, without its ending
    ours    the benchmark, or the encoder, of our row
    peers   the benchmarks that it is held against; the quickest of them is shown
    where   settings that all these rows have
    """

    what: str
    result: str
    ours: str
    peers: tuple[str, ...]
    where: Mapping[str, Any] = field(default_factory=dict)


SMP_STEP = ("peers/smp_training(variant=default)", "peers/smp_training(variant=best)")
SMP_LABELS = ("peers/smp_labels(variant=default)", "peers/smp_labels(variant=best)")
LOSSES = ("peers/loss(library=smp)", "peers/loss(library=monai)")
TAILS = ("peers/loss_tail(library=smp)", "peers/loss_tail(library=monai)")
COUNTS = ("peers/counting(method=smp)", "peers/counting(method=torchmetrics)")
TILES = ("peers/tiles(method=monai)", "peers/tiles(method=monai-best)")
READING = ("peers/loading(pipeline=plain)", "peers/loading(pipeline=best)")
UNETS = ("peers/classic_unet(variant=default)", "peers/classic_unet(variant=best)")
HEADLINES = (
    Headline(
        "training step, DenseNet-121 U-Net, float32",
        *("train-step", "peers/segkit_training", SMP_STEP, {"precision": "fp32"}),
    ),
    Headline(
        "the same in bfloat16",
        *("train-step", "peers/segkit_training", SMP_STEP, {"precision": "bf16"}),
    ),
    Headline(
        "image to labels, the same network, float32",
        *("inference", "peers/segkit_labels", SMP_LABELS, {"precision": "fp32"}),
    ),
    Headline(
        "the same in bfloat16",
        *("inference", "peers/segkit_labels", SMP_LABELS, {"precision": "bf16"}),
    ),
    Headline(
        "training step, classic U-Net, small images",
        *("peers", "unet", (*UNETS, "peers/monai_unet(variant=default)"), {"precision": "fp32"}),
    ),
    Headline(
        "Dice + cross-entropy and its gradient, 21 classes",
        *("losses", "peers/loss", LOSSES, {"classes": 21, "batch": 8}),
    ),
    Headline(
        "the same from coarse logits, 150 classes",
        *("loss-tail", "peers/loss_tail", TAILS, {"classes": 150}),
    ),
    Headline(
        "counting a confusion matrix, 21 classes",
        *("metrics", "peers/counting", COUNTS, {"classes": 21}),
    ),
    Headline(
        "tiling a large image, beside the network",
        *("tiling", "peers/tiles", TILES, {"classes": 21, "size": 2048}),
    ),
    Headline(
        "decoding and augmenting from files",
        *("data", "peers/loading(pipeline=segkit)", READING),
    ),
)


@dataclass(frozen=True)
class Standing:
    """What became of a headline: our row, the best peer's, and the ratio."""

    headline: Headline
    run: Run
    ours: Row
    peer: Row
    relative: Relative


# As their names are spelt; what bears none of these is torchvision's.
LIBRARIES = {
    "smp": "SMP",
    "monai": "MONAI",
    "classic": "plain PyTorch",
    "torchmetrics": "torchmetrics",
}


def standings(runs: Mapping[str, Run], prefix: str = "") -> list[Standing]:
    """Of every headline whose result is there.

    runs     by name of their file, without its ending
    prefix   of the files: "gpu-" for those measured on a GPU
    """
    return [
        standing(headline, runs[prefix + headline.result])
        for headline in HEADLINES
        if prefix + headline.result in runs
    ]


def standing(headline: Headline, run: Run) -> Standing:
    """Our row beside the quickest peer's; raises ValueError where the result lacks one."""
    found = _rows(run, headline, (headline.ours,))
    peers = _rows(run, headline, headline.peers)
    if len(found) != 1 or not peers:
        raise ValueError(f"{run.suite} has no rows for {headline.what}: measure it again")
    ours = found[0]
    peer = min(peers, key=lambda row: row.times["step"].median)
    beside = with_ratios([peer, ours], {ours.case.name: peer.case.name}, run.aa)
    relative = beside[1].relative
    assert relative is not None
    return Standing(headline, run, ours, peer, relative)


def _rows(run: Run, headline: Headline, names: Sequence[str]) -> list[Row]:
    return [
        row
        for row in run.rows
        if row.status == "ok"
        and (row.case.benchmark or row.case.encoder) in names
        and all(getattr(row.case, key) == value for key, value in headline.where.items())
    ]


def headline_table(found: Sequence[Standing]) -> list[str]:
    """The rows in Markdown."""
    lines = [
        "| what | segkit ms | best peer ms | peer | times as fast | of its memory | processor |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in found:
        relative, size = each.relative, f"{each.ours.case.size} px"
        ratio = f"**{plain(relative.speed)}** ({plain(relative.low)} to {plain(relative.high)})"
        cells = [
            f"{each.headline.what}, {size}, batch {each.ours.case.batch}",
            *(_time(row) for row in (each.ours, each.peer)),
            peer_name(each.peer),
            ratio + ", a tie" * relative.tie,
            plain(relative.memory) if relative.memory else "",
            f"[{device_name(each.run.environment)}](tables/{each.run.suite}.md)",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _time(row: Row) -> str:
    return milliseconds(row.times["step"].median) + " *" * bool(row.noisy)


def peer_name(row: Row) -> str:
    """The library and its variant, in words: "SMP at its best"."""
    name, _, options = (row.case.benchmark or "").removeprefix("peers/").partition("(")
    words = [*name.split("_"), *options.strip(")").replace("=", " ").replace("-", " ").split()]
    library = next((LIBRARIES[word] for word in words if word in LIBRARIES), "torchvision")
    return library + " at its best" * ("best" in words)


def draw(found: Sequence[Standing], theme: Theme) -> bytes:
    """The ratios as points with their intervals, on a logarithmic axis; PNG."""
    made = figure(9.5, 1.2 + 0.34 * len(found), theme)
    axes = made.add_subplot()
    axes.set_xscale("log")
    axes.axvline(1.0, color=theme.ink, lw=1.0, zorder=1)
    for place, each in enumerate(found):
        relative, colour = each.relative, theme.colours[0]
        axes.errorbar(
            *(relative.speed, place),
            xerr=[[relative.speed - relative.low], [relative.high - relative.speed]],
            **{"fmt": "o", "ms": 6, "color": colour, "lw": 1.4, "capsize": 2.5},  # type: ignore[arg-type]
            mfc=theme.paper if relative.tie else colour,
        )
        at_end(
            axes, relative.high, place, f"{plain(relative.speed)}  {peer_name(each.peer)}", theme
        )
    axes.set_yticks(range(len(found)), [each.headline.what for each in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    lowest = min(0.8, *(each.relative.low for each in found))
    highest = max(2.0, *(each.relative.high for each in found))
    axes.set_xlim(lowest / 1.1, highest * (highest / lowest) ** 0.3)
    plain_numbers(axes.xaxis)
    axes.set_xlabel("times as fast as the best peer, with its 95 % interval; hollow: a tie")
    dress(axes, theme, grid="x")
    axes.tick_params(axis="y", labelcolor=theme.ink, length=0)
    title(axes, "segkit beside the best of its peers", "", theme)
    return png(made)


def pictures(found: Sequence[Standing], prefix: str = "") -> dict[str, bytes]:
    """By file name: the picture for light pages and for dark ones."""
    return {f"{prefix}{PICTURE}-{theme.name}.png": draw(found, theme) for theme in (LIGHT, DARK)}
