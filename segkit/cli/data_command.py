"""`segkit data`: looks at a folder of images and masks before anything is trained on it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click

from segkit.cli.options.data_options import (
    data_choices,
    data_options,
    dataset_option,
    outside,
    progress_bar,
)
from segkit.cli.options.declaring import TorchCommand, say
from segkit.cli.subcommands.data_check import check_command
from segkit.cli.subcommands.data_download import download_command
from segkit.reporting.words import counted


class DataGroup(click.Group):
    """Refuses what is no command of it as `segkit` does."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not args[0].startswith("-"):
            from segkit.cli.mistakes.refusals import unknown_command

            raise unknown_command(args[0], ctx, self.commands)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The first sentence of each command, whole: click cuts it at 45 letters."""
        first = {name: (each.help or "").split("\n\n")[0] for name, each in self.commands.items()}
        with formatter.section("Commands"):
            formatter.write_dl([(name, " ".join(text.split())) for name, text in first.items()])


@click.group("data", cls=DataGroup)
def command() -> None:
    """Check, preview and measure a folder of images and masks. Nothing in it is ever changed."""


@command.command("preview", cls=TorchCommand)
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@dataset_option
@data_choices
@click.option(
    "--augmentation",
    default="standard",
    show_default=True,
    metavar="none|light|standard|strong|microscopy",
)
@click.option(
    "--crops",
    default="anywhere",
    show_default=True,
    metavar="anywhere|foreground|classes|middle",
    help="Where crops are cut.",
)
@click.option(
    "--size",
    type=click.IntRange(8, 8192),
    help="Side of a crop, pixels. [default: fits the images]",
)
@click.option(
    "--count", type=click.IntRange(min=1), default=6, show_default=True, help="Samples shown."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draw.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("preview.png"),
    show_default=True,
    help="The picture to write.",
)
def preview(
    folder: Path | None,
    dataset: str | None,
    augmentation: str,
    crops: str,
    size: int | None,
    count: int,
    seed: int,
    out: Path,
    **asked: Any,
) -> None:
    """Write a picture of samples as training sees them (of the demo set without FOLDER)."""
    from segkit.data.augmentation.crops import training_ignore_index
    from segkit.data.augmentation.presets import find_preset
    from segkit.data.checks.sheets import sheet_of_samples
    from segkit.data.opening.open import open_data
    from segkit.errors import UsageError
    from segkit.reporting.pictures import write_picture
    from segkit.storage import storage_errors

    if out.suffix.lower() != ".png":
        raise UsageError("SK-C009", f"--out {out} is no .png file.", "Give a name that ends so.")
    preset = find_preset(augmentation, crops)
    data = open_data(folder, data_options(dataset, asked))
    ignored = training_ignore_index(data)
    side = size or data.default_size
    picture = sheet_of_samples(data, preset, side, ignored, count=count, seed=seed)
    with storage_errors(outside(out, folder)):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_picture(out, picture)
    say(f"{out}: each row is one sample, as stored and as three crops of {side} pixels.")


@command.command("stats", cls=TorchCommand)
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@dataset_option
@data_choices
@click.option("--split", default="train", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stats(
    folder: Path | None, dataset: str | None, split: str, as_json: bool, **asked: Any
) -> None:
    """Mean and deviation per channel, and each class's share and balancing weight."""
    from dataclasses import asdict

    from segkit.data.checks.statistics import balanced_weights, measure
    from segkit.data.opening.open import open_data
    from segkit.reporting.tables import aligned

    data = open_data(folder, data_options(dataset, asked))
    found = measure(data, split)
    weights = balanced_weights(found)
    if as_json:
        told = asdict(found) | {"classes": data.classes, "weights": weights}
        say(json.dumps(told, indent=2))
        return
    channels = [[i, *both] for i, both in enumerate(zip(found.mean, found.std, strict=True))]
    say(aligned(channels, ["channel", "mean", "std"]))
    columns = (data.classes, found.frequencies, found.images, weights)
    rows = [[name, *rest] for name, *rest in zip(*columns, strict=True)]
    say("\n" + aligned(rows, ["class", "share", "images", "weight"]))
    listed = ", ".join(f"{weight:.4g}" for weight in weights)
    say(f'\nTo weigh the classes by median frequency: --loss "ce(class_weights=[{listed}])"')


@command.command("convert", cls=TorchCommand)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@data_choices
def convert_command(source: Path, out: Path, **asked: Any) -> None:
    """Write SOURCE, in any layout segkit reads or as annotations, as images/ and masks/.

    \b
    segkit data convert coco street     annotations/*.json, train2017/, val2017/
    segkit data convert yolo street     images/, labels/ and data.yaml
    segkit data convert labelme street  a JSON file beside each image
    segkit data convert brushes street  Label Studio: a PNG per label, tasks' JSON
    segkit data convert VOC2012 street  indices, colours, objects become labels
    """
    from segkit.data.conversion import convert

    with progress_bar(False, "converting") as progress:
        written = convert(source, out, data_options(None, asked), progress)
    counts = ", ".join(_images(count, split) for split, count in written.splits.items())
    say(f"{written.kind}: {counts} written to {written.out}.")
    if written.note:
        say(written.note)
    say(f"segkit train --data {shlex.quote(str(written.out))}")


def _images(count: int, split: str) -> str:
    """As 20 train; 1 image where there are no splits."""
    return f"{count} {split}" if split != "all" else counted(count, "image")


command.add_command(check_command)
command.add_command(download_command)
