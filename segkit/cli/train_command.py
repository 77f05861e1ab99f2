"""`segkit train`: options to settings, then the engine, watched."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segkit.cli.completion import ComponentName

if TYPE_CHECKING:
    from segkit.training.events import Events

# What of a run may be changed on --resume.
CHANGEABLE = ("device", "workers", "epochs", "compile", "checkpoint_activations")


class IntegerOr(click.ParamType):
    """A whole number, or one of the words given."""

    name = "number"

    def __init__(self, *words: str) -> None:
        self.words = words

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        text = str(value).lower()
        if text in self.words:
            return text
        try:
            return int(text)
        except ValueError:
            self.fail(f"{value!r} is neither a whole number nor {' nor '.join(self.words)}.")


def _options(function: Callable[..., None]) -> Callable[..., None]:
    """The settings that have an option of their own; all others go by --set."""
    options = [
        click.option("--data", metavar="DIR", help="Images and masks. [default: the demo set]"),
        click.option(
            "--dataset", type=ComponentName("datasets"), help="Published set that --data holds."
        ),
        click.option("--encoder", type=ComponentName("encoders"), help="[default: densenet121]"),
        click.option("--decoder", type=ComponentName("decoders"), help="[default: unet]"),
        click.option("--upsampler", type=ComponentName("upsamplers"), help="[default: bilinear]"),
        click.option(
            "--loss", type=ComponentName("losses"), help="As 0.5*dice + ce. [default: dice+ce]"
        ),
        click.option(
            "--metric",
            type=ComponentName("metrics"),
            help="One or several, as miou,dice; the first decides. [default: miou]",
        ),
        click.option(
            "--weights",
            metavar="auto|imagenet|none|FILE",
            help="What the encoder starts from. [default: auto]",
        ),
        click.option(
            "--epochs", type=int, help="[default: 12 of the demo set, else enough for 1500 steps]"
        ),
        click.option("--batch", type=int, help="Images a step, all processes. [default: 8]"),
        click.option("--size", type=int, help="Side of the crop, pixels. [default: fits the data]"),
        click.option("--lr", type=float, help="Highest learning rate. [default: 0.001]"),
        click.option(
            "--augmentation",
            metavar="none|light|standard|strong|microscopy",
            help="[default: standard, light on the demo set]",
        ),
        click.option(
            "--crops",
            type=click.Choice(["anywhere", "foreground", "classes"]),
            help="Where crops are cut. [default: anywhere]",
        ),
        click.option(
            "--on-bad-sample",
            type=click.Choice(["error", "skip"]),
            help="Leave out damaged files, up to 5 %. [default: error]",
        ),
        click.option(
            "--ignore-index",
            type=IntegerOr("auto", "none"),
            help="Mask label that counts for nothing. [default: auto]",
        ),
        click.option(
            "--instances",
            type=click.Choice(["foreground", "boundary"]),
            help="Masks hold object numbers: learn foreground, or boundaries too.",
        ),
        click.option(
            "--binarize", type=int, help="Smeared masks: values from here on are foreground."
        ),
        click.option("--max-pixels", type=int, help="Largest image, pixels."),
        click.option("--in-channels", type=int, help="[default: as the images]"),
        click.option(
            "--intensity",
            metavar="range|percentile|per-image|fixed(BLACK, WHITE)",
            help="Which pixel values are black and white. [default: range]",
        ),
        click.option("--freeze", metavar="PART", help="Does not learn, such as encoder."),
        click.option("--thaw-epoch", type=int, help="Epoch in which it begins to learn."),
        click.option("--patience", type=int, help="Evaluations without a better score, then end."),
        click.option(
            "--precision",
            type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
            help="[default: auto]",
        ),
        click.option("--device", help="auto, cpu, cuda, cuda:N or mps. [default: auto]"),
        click.option(
            "--workers", type=IntegerOr("auto"), help="Reading processes. [default: auto]"
        ),
        click.option("--seed", type=int, help="[default: 0]"),
        click.option(
            "--compile",
            type=click.Choice(["no", "yes", "graph"]),
            help="torch.compile; graph: as a CUDA graph. [default: no]",
        ),
        click.option(
            "--checkpoint-activations",
            is_flag=True,
            default=None,
            help="Less memory, more time: activations are computed twice.",
        ),
        click.option("--deterministic", is_flag=True, default=None, help="Also on a GPU."),
        click.option("--tensorboard", is_flag=True, default=None, help="Write its events too."),
        click.option("--out", metavar="RUN", help="The run's folder. [default: runs/...]"),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.command("train")
@_options
@click.option("--config", "file", type=click.Path(path_type=Path), help="Settings as YAML.")
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Any setting.")
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="RUN", help="Continue a run exactly."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and stop.")
def command(
    file: Path | None,
    assignments: tuple[str, ...],
    resume: Path | None,
    dry_run: bool,
    **given: Any,
) -> None:
    """Train a network on the demo set, or on --data: a folder of images and masks.

    \b
    segkit train --encoder densenet121
    segkit train --encoder densenet121 --data DIR --out runs/street
    segkit train --config runs/street/config.yaml       the same again
    segkit train --resume runs/street                   from where it was interrupted
    torchrun --nproc-per-node 2 -m segkit train ...     on two GPUs, or two CPU processes

    Settings come from the defaults, --config, the options and --set, the later over the earlier;
    RUN/config.yaml explains every one.
    """
    options = {key: value for key, value in given.items() if value is not None}
    if resume:
        _resume(resume, file, assignments, options)
        return
    from segkit.config import layered

    if options.get("ignore_index") == "none":
        del options["ignore_index"]
        assignments = ("ignore_index=null", *assignments)
    config = layered(file, options, assignments)

    def run(events: Events) -> Path | None:
        from segkit.training.training import train

        result = train(config, events, dry_run=dry_run)
        return result.folder if result else None

    _watched(run, tensorboard=config.tensorboard)


def _resume(
    folder: Path, file: Path | None, assignments: tuple[str, ...], options: dict[str, Any]
) -> None:
    from segkit.config import read_config
    from segkit.errors import UsageError

    refused = [f"--{key.replace('_', '-')}" for key in options if key not in CHANGEABLE]
    refused += ["--config"] * bool(file) + ["--set"] * bool(assignments)
    if refused:
        raise UsageError(
            "SK-C009",
            f"{', '.join(refused)} cannot be changed while a run continues.",
            "Only --device, --workers, --epochs, --compile and --checkpoint-activations can. For "
            f"another run: segkit train --config {folder / 'config.yaml'} {' '.join(refused)} ...",
        )

    def run(events: Events) -> Path | None:
        from segkit.training.training import resume

        return resume(folder, options, events).folder

    config_file = folder / "config.yaml"
    shown = config_file.is_file() and read_config(config_file).tensorboard
    _watched(run, tensorboard=bool(shown))


def _watched(run: Callable[[Events], Path | None], *, tensorboard: bool) -> None:
    """Runs a training with a live display on a terminal, and with plain lines elsewhere."""
    from segkit.cpu.allocator import keep_freed_memory
    from segkit.training.events import Several, Silence
    from segkit.training.progress import LiveProgress, PlainProgress

    keep_freed_memory()

    class Place(Silence):
        folder: Path | None = None

        def started(self, folder: Path) -> None:
            self.folder = folder

    live, place = None, Place()
    watchers: list[Events] = [place]
    if sys.stdout.isatty():
        from rich.console import Console

        live = LiveProgress(Console())
        watchers.append(live)
    else:
        watchers.append(
            PlainProgress(click.echo, lambda text: click.secho(text, fg="yellow", err=True))
        )
    if tensorboard:
        from segkit.training.tensorboard import TensorBoardLog

        watchers.append(TensorBoardLog())
    try:
        run(Several(*watchers))
    except KeyboardInterrupt:
        if place.folder is not None:
            click.echo(f"Continue with: segkit train --resume {place.folder}", err=True)
        raise
    finally:
        if live is not None:
            live.close()
