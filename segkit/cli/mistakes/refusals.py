"""What click refuses, said as every other error is: a code, the words typed, and what to do."""

from __future__ import annotations

import re
import traceback
from collections.abc import Collection, Iterator
from pathlib import Path

import click

from segkit.cli.mistakes.synonyms import COMMANDS, COMPONENTS, DATA_COMMANDS, OPTIONS, VALUES
from segkit.errors import SegkitError, UnknownComponent, UsageError, did_you_mean


def as_ours(error: Exception) -> SegkitError:
    """The error itself, click's in our form, or SK-X001 for what nobody foresaw."""
    if isinstance(error, UnknownComponent):
        return _nearest_component(error)
    if isinstance(error, SegkitError):
        return error
    if isinstance(error, click.UsageError):
        return refused(error)
    if isinstance(error, click.ClickException):
        return UsageError("SK-C013", _sentence(error.format_message()))
    from segkit.registry.faults import plugin_fault

    if fault := plugin_fault(error):
        return fault
    cause = " ".join(str(error).split()) or "no message"
    frames = traceback.extract_tb(error.__traceback__)
    place = f", {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return SegkitError(
        "SK-X001",
        f"segkit failed where it should not ({type(error).__name__}: {cause}{place}).",
        "The same command with --debug shows the whole traceback; please report it with that.",
    )


def _nearest_component(error: UnknownComponent) -> UsageError:
    """The refusal with what the name means elsewhere, else with the nearest of a family."""
    meant = COMPONENTS.get(error.kind, {}).get(error.name.lower().replace("_", "-"), "")
    see = f"`segkit list {error.kind}` shows all."
    if meant.endswith("."):
        return UsageError(error.code, error.what, f"{meant} {see}")
    if meant:
        named = " or ".join(repr(each) for each in meant.split())
        return UsageError(error.code, error.what, f"Did you mean {named}? {see}")
    from segkit.registry.families import with_nearest_members

    return with_nearest_members(error)


def unknown_command(name: str, context: click.Context, known: Collection[str]) -> UsageError:
    """SK-C013 for a word that is no command: the nearest by meaning, else by letters."""
    path = context.command_path
    meant = {"segkit": COMMANDS, "segkit data": DATA_COMMANDS}.get(path, {}).get(name.lower(), "")
    if meant.endswith("."):
        fix = meant
    elif meant:
        fix = f"Did you mean `segkit {meant}`?"
    else:
        fix = did_you_mean(name, known) or _if_a_place(name, path)
    see = f"`{path} --help` shows all {len(known)} commands."
    return UsageError(
        "SK-C013", f"`{path}` has no command '{name}'.", f"{fix.strip()}\n{see}".strip()
    )


def refused(error: click.UsageError) -> UsageError:
    """The same refusal as an error of ours."""
    context = error.ctx
    path = context.command_path if context else "segkit"
    see = f"`{path} --help` shows how it is called."
    match error:
        case click.NoSuchOption():
            return _unknown_option(error.option_name, context)
        case click.MissingParameter():
            return _missing(error, path)
        case click.BadParameter():
            return _bad_value(error)
        case click.BadOptionUsage():
            return _bad_use(error, path, see)
    extra = re.search(r"unexpected extra arguments? \((.*)\)", error.message)
    if extra is not None:
        return _extra(extra[1], context, see)
    return UsageError("SK-C013", _sentence(error.message), see)


def _unknown_option(option: str, context: click.Context | None) -> UsageError:
    path = context.command_path if context else "segkit"
    own = list(_options_of(context.command)) if context else []
    what = f"`{path}` has no option '{option}'."
    word = option.lstrip("-").lower().replace("_", "-")
    meant = OPTIONS.get(word, "")
    near = did_you_mean(option, own)
    if f"--{word}" in own:
        near = f"Did you mean '--{word}'? "
    named = [each for each in meant.split() if each in own] if meant.startswith("--") else []
    if meant and not meant.startswith("--") and context and context.command_path != "segkit":
        fix = meant
    elif named and near and named[0] not in near and near.startswith("Did you mean '--" + word[:4]):
        fix = near
    elif named:
        fix = f"Did you mean {' and '.join(repr(each) for each in reversed(named))}? "
    elif near:
        fix = near
    elif owners := _owners(context, option, meant):
        fix = f"{owners} has it: an option stands behind its command. "
    else:
        fix = ""
    see = f"`{path} --help` shows all of them."
    return UsageError("SK-C013", what, f"{fix.rstrip()}\n{see}".strip())


def _owners(context: click.Context | None, option: str, meant: str) -> str:
    """The command that has an option which this one lacks, the usual one first."""
    root = context.find_root() if context else None
    if root is None or not isinstance(root.command, click.Group):
        return ""
    wanted = {option, *(each for each in meant.split() if each.startswith("--"))}
    for name in root.command.list_commands(root):
        command = root.command.get_command(root, name)
        found = [each for each in _options_of(command) if each in wanted] if command else []
        if found:
            return f"`segkit {name} {found[0]}`"
    return ""


def _options_of(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield from (name for name in (*parameter.opts, *parameter.secondary_opts))


def _missing(error: click.MissingParameter, path: str) -> UsageError:
    parameter = error.param
    name = (parameter.opts[0] if isinstance(parameter, click.Option) else "") or (
        parameter.make_metavar(error.ctx).strip("[].") if parameter and error.ctx else "a value"
    )
    help_text = getattr(parameter, "help", None)
    meaning = f" ({help_text.split(' [')[0].rstrip('.')})" if help_text else ""
    return UsageError("SK-C013", f"`{path}` needs {name}{meaning}.", _how(error.ctx))


def _how(context: click.Context | None) -> str:
    """How the command is called: its usage, and the first example that its help gives."""
    if context is None:
        return "`segkit --help` shows the commands."
    usage = " ".join(context.command.collect_usage_pieces(context)).replace("[OPTIONS] ", "")
    for parameter in context.command.params:
        if isinstance(parameter, click.Option) and parameter.required:
            usage += f" {parameter.opts[0]} {parameter.make_metavar(context)}"
    lines = (context.command.help or "").splitlines()
    examples = [line.strip() for line in lines if line.strip().startswith(context.command_path)]
    shown = f"\nFor example: {re.split(r'  +', examples[0])[0]}" if examples else ""
    return (
        f"Usage: {context.command_path} {usage}{shown}\n`{context.command_path} --help` says more."
    )


def _bad_value(error: click.BadParameter) -> UsageError:
    parameter, context = error.param, error.ctx
    path = context.command_path if context else "segkit"
    name = "The value"
    if isinstance(parameter, click.Option):
        name = parameter.opts[-1] if parameter.opts[-1].startswith("--") else parameter.opts[0]
    elif parameter is not None and context is not None:
        name = parameter.make_metavar(context).strip("[].")
    message = error.message.rstrip(".")
    given = re.match(r"'(.*?)' is not", message)
    near = ""
    if given and isinstance(parameter, click.Option) and isinstance(parameter.type, click.Choice):
        meant = VALUES.get(name, {}).get(given[1].lower(), "")
        near = did_you_mean(given[1], [str(each) for each in parameter.type.choices])
        near = f"Did you mean {meant!r}? " if meant else near
    meaning = (getattr(parameter, "help", None) or "").strip()
    see = f"{name}: {meaning}" if meaning else f"`{path} --help` shows what it takes."
    if name == "--size" and re.match(r"'\d+\s*[x,]\s*\d+'", message):
        see = f"Crops are square, so one number says their height and width. {see}"
    return UsageError("SK-C009", f"{name}: {message}.", f"{near}{see}")


def _extra(words: str, context: click.Context | None, see: str) -> UsageError:
    path = context.command_path if context else "segkit"
    first = words.split()[0]
    own = set(_options_of(context.command)) if context else set()
    fix = see
    if first in ("help", "?"):
        return UsageError("SK-C013", f"`{path}` cannot place '{words}'.", see)
    if re.fullmatch(r"[a-z_]+=\S+", first) and "--set" in own:
        fix = f"Did you mean --set {first}? {see}"
    elif f"--{first}" in own:
        fix = f"Did you mean --{first}? {see}"
    elif "--data" in own and Path(first).is_dir():
        fix = f"Did you mean --data {first}? {see}"
    elif OPTIONS.get(first, "").startswith("--"):
        named = [each for each in OPTIONS[first].split() if each in own]
        fix = f"Did you mean {named[0]}? {see}" if named else see
    return UsageError("SK-C013", f"`{path}` cannot place '{words}'.", fix)


def _bad_use(error: click.BadOptionUsage, path: str, see: str) -> UsageError:
    """A value is missing behind an option, or stands behind a flag."""
    name, help_text = error.option_name, ""
    for parameter in error.ctx.command.params if error.ctx else ():
        if isinstance(parameter, click.Option) and name in parameter.opts:
            help_text = parameter.help or ""
    if "requires" in error.message:
        what = f"`{path}`: {name} stands without a value."
    else:
        what = f"`{path}`: {_sentence(error.message)}"
    return UsageError("SK-C013", what, f"{name}: {help_text}" if help_text else see)


def _if_a_place(name: str, path: str) -> str:
    """A folder or a file where a command was expected."""
    if path != "segkit" or not Path(name).exists():
        return ""
    if (Path(name) / "config.yaml").is_file():
        return f"It is a run: `segkit evaluate {name}` or `segkit predict {name} IMAGES`. "
    return f"It is there as a file or folder: `segkit train --data {name}`? "


def _sentence(message: str) -> str:
    text = " ".join(message.split())
    return f"{text[:1].lower()}{text[1:]}".rstrip(".") + "."
