"""The `segkit` command: finds the subcommand's file, runs it, turns errors into text and status."""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import click

# When the command began, on time.perf_counter(): before all that takes seconds to import.
BEGUN = time.perf_counter()

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.shell_completion import CompletionItem

# One sentence a command stands here, so that --help and shell completion import no command's file.
COMMANDS: dict[str, str] = {
    "train": "Train a network on the demo set or on a folder of images and masks.",
    "sweep": "Train every combination of settings, and compare them in one table.",
    "evaluate": "Score a trained model on a split of a data set.",
    "report": "Write report.html, the page of a training, again.",
    "calibrate": "Fit how certain a trained model is to how often it is right.",
    "ensemble": "Put several trained models into one folder that answers as one.",
    "predict": "Write masks, and overlays to look at, for images.",
    "export": "Write a trained model as ONNX, run beside it before it is kept.",
    "push": "Send a trained model to the Hugging Face hub, with a card of what it is.",
    "data": "Check, preview and measure a folder of images and masks.",
    "bench": "Measure speed, memory and quality of networks on this machine.",
    "plan": "Predict memory, largest batch and least time without running anything.",
    "list": "List the components that are installed.",
    "info": "Show one component: its options, shapes and size.",
    "plugins": "Show the installed plugins, or test each of them.",
    "install": "Install a plugin of the directory.",
    "new-plugin": "Write a new plugin package that passes its own checks.",
    "import": "Turn a checkpoint from elsewhere into a segkit model folder.",
    "doctor": "Check this machine and environment.",
    "explain": "Explain an error code.",
}


class LazyGroup(click.Group):
    """A group whose commands are files beside this one, imported when named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"segkit.cli.{cmd_name.replace('-', '_')}_command")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            from segkit.cli.mistakes.refusals import unknown_command

            raise unknown_command(name, ctx, COMMANDS)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        # The group's own way would import every command's file for its one-line help.
        commands = [
            CompletionItem(name, help=sentence)
            for name, sentence in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from segkit.version import __version__

        click.echo(f"segkit {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and stop.",
)
@click.option("--debug", is_flag=True, help="Show an error's traceback too; stands anywhere.")
@click.option("--no-plugins", is_flag=True, help="Switch every plugin off, to find a fault.")
def segkit(debug: bool, no_plugins: bool) -> None:
    """Semantic segmentation where every part is a plugin.

    \b
    segkit train --encoder densenet121              on the built-in demo set
    segkit train --encoder densenet121 --data DIR   on your own images and masks
    """
    if no_plugins:
        os.environ["SEGKIT_DISABLE"] = "*"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; the exit status is that of the error's class in `segkit.errors`.

    --debug shows the traceback, wherever it stands, and changes nothing else.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    _say_warnings_plainly()
    debug = "--debug" in given
    from segkit.errors import SegkitError

    try:
        words = [word for word in given if word != "--debug"]
        # The words themselves go along as the context's object: pages say what repeats them.
        status: Any = segkit.main(args=words, prog_name="segkit", standalone_mode=False, obj=words)
        sys.exit(status if isinstance(status, int) else 0)
    except click.exceptions.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.ClickException, SegkitError) as error:
        _end(error, debug=debug)
    except BrokenPipeError:
        # The reader of our output, such as `head`, has gone: not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        _end(error, debug=debug)


def _say_warnings_plainly() -> None:
    """Our warnings are sentences for people; those of libraries keep their place in the code."""
    import warnings

    from segkit.errors import SegkitWarning

    as_before = warnings.formatwarning
    if as_before.__name__ == "told":
        return

    def told(message: Any, category: type[Warning], *place: Any, **more: Any) -> str:
        if issubclass(category, SegkitWarning):
            return f"Warning: {message}\n"
        return as_before(message, category, *place, **more)

    warnings.formatwarning = told


def _end(error: Exception, *, debug: bool) -> NoReturn:
    """Says what went wrong, with the traceback where it was asked for, and leaves."""
    from segkit.cli.mistakes.refusals import as_ours

    ours = as_ours(error)
    if debug:
        import traceback

        traceback.print_exception(error)
    click.echo(f"Error: {ours}", err=True)
    sys.exit(ours.exit_code)
