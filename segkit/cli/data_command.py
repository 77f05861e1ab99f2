"""`segkit data`: looks at a folder of images and masks before anything is trained on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segkit.cli.data_download import download_command

if TYPE_CHECKING:
    from segkit.data.checks.report import CheckReport

SHOWN = 20


def _ignore_index(_: click.Context, __: click.Parameter, value: str) -> int | str | None:
    if value in ("auto", "none"):
        return None if value == "none" else "auto"
    if value.lstrip("-").isdigit():
        return int(value)
    raise click.BadParameter("a whole number, auto or none")


def _labels(function: Any) -> Any:
    """The options that say what masks mean, as `segkit train` has them."""
    for option in (
        click.option(
            "--ignore-index",
            default="auto",
            show_default=True,
            callback=_ignore_index,
            metavar="NUMBER",
            help="Mask label that counts for nothing; none for no such label.",
        ),
        click.option(
            "--instances",
            type=click.Choice(["foreground", "boundary"]),
            help="Masks hold object numbers: learn foreground, or boundaries too.",
        ),
        click.option(
            "--binarize",
            type=click.IntRange(1, 255),
            metavar="NUMBER",
            help="Smeared masks: values from here on are foreground.",
        ),
        click.option("--max-pixels", type=click.IntRange(min=1), help="Largest image, pixels."),
    ):
        function = option(function)
    return function


@click.group("data")
def command() -> None:
    """Check, preview and measure a folder of images and masks. Nothing in it is ever changed."""


@command.command("check")
@click.argument("folder", type=click.Path(path_type=Path))
@_labels
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where the report goes. [default: check-FOLDER]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; write nothing without --out.")
@click.option(
    "--write-manifest",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the SHA-256 of every file, as sha256sum does.",
)
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Tell files that are not as this manifest says.",
)
@click.pass_context
def check(
    ctx: click.Context,
    folder: Path,
    out: Path | None,
    as_json: bool,
    write_manifest: Path | None,
    manifest: Path | None,
    **wishes: Any,
) -> None:
    """Decode every file of FOLDER and tell all that is wrong or odd; status 3 if anything is wrong.

    \b
    segkit data check photos                     to the terminal, and to check-photos/
    segkit data check cells --instances foreground
    segkit data check photos --write-manifest photos.sha256
    segkit data check photos --manifest photos.sha256
    """
    from dataclasses import asdict

    from segkit.data.checks.report import report_on
    from segkit.data.files.manifest import against_manifest
    from segkit.data.files.manifest import write_manifest as write
    from segkit.data.inspection import inspect
    from segkit.data.meaning.labels import Wishes

    if write_manifest is not None:
        _outside(write_manifest, folder)
    with _progress(as_json, "checking") as progress:
        seen = inspect(folder, Wishes(**wishes), progress=progress)
    with _progress(as_json, "comparing") as progress:
        differences = against_manifest(folder, manifest, progress) if manifest else []
    report = report_on(seen, differences)
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2))
    else:
        _show(report)
    if out is not None or not as_json:
        _write(report, seen, folder, out or Path(f"check-{folder.resolve().name}"))
    if write_manifest is not None:
        with _progress(as_json, "hashing") as progress:
            count = write(folder, write_manifest, progress)
        click.echo(f"{write_manifest}: {count} files.", err=as_json)
    ctx.exit(3 if report.has_errors else 0)


@command.command("preview")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@_labels
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
    metavar="anywhere|foreground|classes",
    help="Where crops are cut.",
)
@click.option("--size", type=click.IntRange(min=8), help="Crop side. [default: fits the images]")
@click.option("--count", type=click.IntRange(min=1), default=6, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("preview.png"))
def preview(
    folder: Path | None,
    augmentation: str,
    crops: str,
    size: int | None,
    count: int,
    seed: int,
    out: Path,
    **wishes: Any,
) -> None:
    """Write a picture of samples as training sees them (of the demo set without FOLDER)."""
    from segkit.data import open_data
    from segkit.data.augmentation.crops import training_ignore_index
    from segkit.data.augmentation.recipes import find_recipe
    from segkit.data.checks.sheets import sheet_of_samples
    from segkit.report.pictures import write_picture

    recipe = find_recipe(augmentation, crops)
    data = open_data(folder, **wishes)
    ignored = training_ignore_index(data)
    side = size or data.default_size
    picture = sheet_of_samples(data, recipe, side, ignored, count=count, seed=seed)
    write_picture(_outside(out, folder), picture)
    click.echo(f"{out}: each row is one sample, as stored and as three crops of {side} pixels.")


@command.command("stats")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@_labels
@click.option("--split", default="train", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stats(folder: Path | None, split: str, as_json: bool, **wishes: Any) -> None:
    """Mean and deviation per channel, and each class's share and balancing weight."""
    from dataclasses import asdict

    from segkit.data import open_data
    from segkit.data.checks.statistics import balanced_weights, measure
    from segkit.report.tables import aligned

    data = open_data(folder, **wishes)
    found = measure(data, split)
    weights = balanced_weights(found)
    if as_json:
        told = asdict(found) | {"classes": data.classes, "weights": weights}
        click.echo(json.dumps(told, indent=2))
        return
    channels = [[i, *both] for i, both in enumerate(zip(found.mean, found.std, strict=True))]
    click.echo(aligned(channels, ["channel", "mean", "std"]))
    columns = (data.classes, found.frequencies, found.images, weights)
    rows = [[name, *rest] for name, *rest in zip(*columns, strict=True)]
    click.echo("\n" + aligned(rows, ["class", "share", "images", "weight"]))
    listed = ", ".join(f"{weight:.4g}" for weight in weights)
    click.echo(f'\nTo weigh the classes by median frequency: --loss "ce(class_weights=[{listed}])"')


@command.command("convert")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@_labels
def convert_command(source: Path, out: Path, **wishes: Any) -> None:
    """Write SOURCE, in any layout segkit reads or as annotations, as images/ and masks/.

    \b
    segkit data convert coco street             annotations/*.json, train2017/, val2017/
    segkit data convert yolo street             images/, labels/ and data.yaml
    segkit data convert labelme street          a JSON file beside each image
    segkit data convert brushes street          Label Studio: a PNG per label, and the tasks' JSON
    segkit data convert VOC2012 street          indices, colours and object numbers become labels
    """
    from segkit.data.layouts.conversion import convert
    from segkit.data.meaning.labels import Wishes

    with _progress(False, "converting") as progress:
        written = convert(source, out, Wishes(**wishes), progress)
    counts = ", ".join(f"{count} {split}" for split, count in written.splits.items())
    click.echo(f"{written.kind}: {counts} written to {written.out}.")
    if written.note:
        click.echo(written.note)
    click.echo(f"segkit train --data {written.out}")


@contextmanager
def _progress(quiet: bool, doing: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress function that draws a bar on the terminal, or None where nobody watches."""
    import sys

    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, count: bar.update(task, completed=done, total=count)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _show(report: CheckReport) -> None:
    from segkit.report.tables import aligned

    for note in report.notes:
        click.echo(note)
    rows = [[row.label, row.values, row.name, row.pixels, row.masks] for row in report.classes]
    more = f"\n… and {len(rows) - SHOWN} more values." if len(rows) > SHOWN else ""
    header = ["label", "value", "class", "pixels", "masks"]
    click.echo("\n" + aligned(rows[:SHOWN], header) + more)
    for title, counts in (("sizes", report.sizes), ("kinds", report.kinds)):
        few = [f"{count} of {what}" for what, count in list(counts.items())[:5]]
        rest = f" and {len(counts) - 5} more" if len(counts) > 5 else ""
        click.echo(f"\n{title}: {', '.join(few)}{rest}" if few else "", nl=bool(few))
    for group in report.findings:
        _show_group(group)
    errors = sum(group["count"] for group in report.findings if group["level"] == "error")
    warnings = sum(group["count"] for group in report.findings if group["level"] != "error")
    verdict = "ready to train" if not errors else "not ready to train"
    click.echo(f"\n{verdict}: {_count(errors, 'error')}, {_count(warnings, 'warning')}.")


def _show_group(group: dict[str, Any]) -> None:
    click.echo(f"\n{group['level']} {group['code']}: {group['meaning']}")
    for finding in group["findings"][:SHOWN]:
        for line in finding["what"].splitlines():
            click.echo(f"  {line}")
    if group["count"] > SHOWN:
        click.echo(f"  … and {group['count'] - SHOWN} more, in check.json.")
    for fix in dict.fromkeys(f["fix"] for f in group["findings"] if f["fix"]):
        for line in fix.splitlines():
            click.echo(f"  -> {line}")


def _write(report: CheckReport, seen: Any, folder: Path, out: Path) -> None:
    from dataclasses import asdict

    from segkit.data.checks.sheets import sheet_of_files
    from segkit.report.pictures import write_picture

    _outside(out, folder).mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(report), indent=2)
    (out / "check.json").write_text(text + "\n", encoding="utf-8")
    sheet = sheet_of_files(seen)
    if sheet is not None:
        write_picture(out / "sheet.png", sheet)
    written = [out / "check.json"] + ([out / "sheet.png"] if sheet is not None else [])
    click.echo(f"All of it: {', '.join(str(path) for path in written)}")


def _outside(out: Path, folder: Path | None) -> Path:
    """The path to write to, which may not lie in the data; raises UsageError SK-C009."""
    from segkit.errors import UsageError

    if folder is not None and out.resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            "SK-C009",
            f"{out} lies in the data folder, where nothing is ever written.",
            "Choose another place with --out.",
        )
    return out


command.add_command(download_command)
