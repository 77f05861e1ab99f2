"""What the commands of `segkit data` share: options, progress, and where nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segkit.cli.options.completion import ComponentName

if TYPE_CHECKING:
    from segkit.data.options import DataOptions

dataset_option = click.option(
    "--dataset",
    type=ComponentName("datasets"),
    help="Published set that FOLDER holds. [default: none]",
)


def _ignore_index(_: click.Context, __: click.Parameter, value: str) -> int | str | None:
    if value in ("auto", "none"):
        return None if value == "none" else "auto"
    if value.lstrip("-").isdigit():
        return int(value)
    raise click.BadParameter("a whole number, auto or none")


def data_choices(function: Any) -> Any:
    """The options that say what images and masks mean, as `segkit train` has them."""
    return _with_choices(function, lambda default: default)


def choices_of_model(function: Any) -> Any:
    """The same for the data of a trained model, whose training says what is left out."""
    return _with_choices(function, lambda _: "as in training")


def data_of_model(function: Any) -> Any:
    """Which images a trained model is held against, and what their masks mean."""
    function = choices_of_model(function)
    for option in (
        click.option(
            "--split", default="val", show_default=True, help="Which part; all is taken too."
        ),
        click.option(
            "--dataset",
            type=ComponentName("datasets"),
            help="Published set that --data holds. [default: as in training, without --data]",
        ),
        click.option(
            "--data",
            type=click.Path(path_type=Path),
            help="Images and masks. [default: what RUN was trained on]",
        ),
    ):
        function = option(function)
    return function


def _with_choices(function: Any, default: Callable[[str], str]) -> Any:
    for option in (
        click.option(
            "--ignore-index",
            default="auto",
            callback=_ignore_index,
            metavar="NUMBER",
            help="Mask label that counts for nothing; none for no such label. "
            f"[default: {default('auto')}]",
        ),
        click.option(
            "--num-classes",
            type=click.IntRange(min=1),
            help=f"Classes the masks hold. [default: {default('as they show')}]",
        ),
        click.option(
            "--instances",
            type=click.Choice(["foreground", "boundary"]),
            help="Masks hold object numbers: learn foreground, or boundaries too. "
            f"[default: {default('masks hold classes')}]",
        ),
        click.option(
            "--binarize",
            type=click.IntRange(1, 65535),
            metavar="NUMBER",
            help=f"Smeared masks: values from here on are foreground. [default: {default('none')}]",
        ),
        click.option(
            "--max-pixels",
            type=click.IntRange(min=1),
            help="Largest image, pixels. [default: 178956970]",
        ),
        click.option(
            "--label-mapping",
            metavar="'{VALUE: LABEL, …}'",
            help="What mask values mean; a label may be ignore. "
            f"[default: {default('as they are')}]",
        ),
        click.option(
            "--declare",
            metavar="'KEY: VALUE'",
            help="What data.yaml would say, such as 'page: 1'. [default: nothing]",
        ),
        click.option(
            "--resize-masks",
            type=click.Choice(["nearest"]),
            help=f"Masks of other sizes are brought to their images'. [default: {default('none')}]",
        ),
        click.option(
            "--intensity",
            metavar="range|percentile|per-image|fixed(BLACK, WHITE)",
            help=f"Which pixel values are black and white. [default: {default('range')}]",
        ),
    ):
        function = option(function)
    return function


def data_options(dataset: str | None, asked: Mapping[str, Any]) -> DataOptions:
    """What the options of `data_choices` say."""
    from segkit.data.intensity import read_intensity
    from segkit.data.options import DataOptions
    from segkit.data.settings import read_label_mapping

    asked = dict(asked)
    intensity, mapping = asked.pop("intensity", None), asked.pop("label_mapping", None)
    return DataOptions(
        dataset=dataset,
        intensity=read_intensity(intensity) if intensity else None,
        label_mapping=read_label_mapping(mapping) if mapping else None,
        **asked,
    )


@contextmanager
def progress_bar(quiet: bool, doing: str) -> Iterator[Callable[[int, int], None] | None]:
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


def outside(out: Path, folder: Path | None) -> Path:
    """The path to write to, which may not lie in the data; raises UsageError SK-C009."""
    from segkit.errors import UsageError

    if folder is not None and out.resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            "SK-C009",
            f"{out} lies in the data folder, where nothing is ever written.",
            "Choose another place with --out.",
        )
    return out
