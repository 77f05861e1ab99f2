"""The settings of a training, layered from defaults, a file, options and --set, and written again.

Written beside the result as YAML with a comment per setting, so that `--config RUN/config.yaml`
repeats it. Configuration names registered components only; nothing in a file is ever executed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from segkit.config.settings import CHANGEABLE, TrainConfig
from segkit.errors import UsageError, did_you_mean, nearest

LARGEST_FILE = 1_000_000
DEEPEST = 20
TAG = "tag:yaml.org,2002:"
NUMBERS = ("int", "float", "bool", "null")
# A folder may be called 2026-01-31.
TEXTS = ("str", "timestamp")


@dataclass(frozen=True)
class Setting:
    """A value and where the user wrote it: `street.yaml:7`, `--lr`, `--set lr`."""

    value: Any
    where: str


def layered(
    file: Path | None = None,
    options: Mapping[str, Any] | None = None,
    assignments: Iterable[str] = (),
) -> TrainConfig:
    """Defaults, below the file, below the options that are not None, below `key=value` assignments.

    Raises UsageError: SK-C008 for an unknown key, SK-C009 for a wrong value, SK-C010 for a file
    that cannot be read.
    """
    settings = read_settings(file) if file else {}
    for key, value in (options or {}).items():
        if value is not None:
            settings[key] = Setting(value, _option(key))
    for text in assignments:
        key, value = _assignment(text)
        settings[key] = Setting(value, f"--set {key}")
    return _validated(settings)


def read_config(file: Path) -> TrainConfig:
    """The configuration in a file; raises UsageError as `layered` does."""
    return _validated(read_settings(file))


def with_changes(file: Path, changes: Mapping[str, Any]) -> TrainConfig:
    """The configuration in a run's file, changed by options that may differ when it goes on.

    Raises UsageError as `layered` does, and SK-C009 for a setting that may not differ.
    """
    fixed = [_option(key) for key in changes if key not in CHANGEABLE]
    if fixed:
        raise UsageError(
            "SK-C009",
            f"{', '.join(fixed)} cannot be changed while a run continues.",
            f"Only {', '.join(map(_option, CHANGEABLE))} can. For another run: "
            f"segkit train --config {file} {' '.join(fixed)} ...",
        )
    given = {key: Setting(value, _option(key)) for key, value in changes.items()}
    return _validated(read_settings(file) | given)


def read_settings(file: Path) -> dict[str, Setting]:
    """Keys and values of a YAML file, each with its line; raises UsageError SK-C010."""
    if not file.is_file():
        raise _no_file(file)
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise UsageError(
                "SK-C010",
                f"{file} has {file.stat().st_size:,} bytes, which is no configuration.",
                "Give the config.yaml of a run.",
            )
        text = file.read_text(encoding="utf-8")
        node = _compose(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            "SK-C010",
            f"{file} cannot be read as a configuration ({_one_line(error)}).",
            "Write one `key: value` a line, as in the config.yaml of a run.",
        ) from error
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(
            "SK-C010", f"{file} holds no `key: value` lines.", "See the config.yaml of a run."
        )
    settings: dict[str, Setting] = {}
    for key_node, value_node in node.value:
        where = f"{file}:{key_node.start_mark.line + 1}"
        key = str(key_node.value)
        if key in settings:
            raise UsageError(
                "SK-C009", f"{where}: '{key}' is given a second time.", "Keep one of the two."
            )
        settings[key] = Setting(_scalar(key, value_node, where), where)
    return settings


def _no_file(file: Path) -> UsageError:
    inside = file / "config.yaml"
    if inside.is_file():
        return UsageError("SK-C010", f"{file} is a folder.", f"Did you mean {inside}?")
    what = "is a folder, and a configuration is a file" if file.is_dir() else "does not exist"
    beside = sorted(file.parent.glob("*.y*ml")) if file.parent.is_dir() else []
    near = nearest(file.name, (each.name for each in beside))
    meant = f"Did you mean {file.with_name(near[0])}?" if near else ""
    return UsageError("SK-C010", f"{file} {what}.", meant or "Give the config.yaml of a run.")


def to_yaml(config: TrainConfig, only: Collection[str] | None = None) -> str:
    """The configuration as YAML, or `only` some of its settings, a comment above each."""
    lines = []
    for name, field in TrainConfig.model_fields.items():
        if only is not None and name not in only:
            continue
        entry = yaml.dump({name: getattr(config, name)}, Dumper=_Dumper, width=10_000)
        lines.append(f"# {field.description}\n{entry}")
    return "\n".join(lines)


class YamlLoader(yaml.SafeLoader):
    """Safe YAML 1.2: 1e-3 is a number, 010 is ten, and only true and false are truth values.

    YAML 1.1, PyYAML's own, reads 010 as 8 and on, off, yes and no as truth values.
    """

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        return int(text, 0) if text.lstrip("+-")[:2] in ("0x", "0o") else int(text)


class _Dumper(yaml.SafeDumper):
    """Quotes whatever YAML 1.1 or 1.2 would read as a number or truth value."""


YAML_1_2: tuple[tuple[str, str, str], ...] = (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?\d+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
)
YamlLoader.yaml_implicit_resolvers = {
    first: [(tag, known) for tag, known in pairs if tag not in {TAG + kind for kind in NUMBERS[:3]}]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _side in (YamlLoader, _Dumper):
    for _kind, _pattern, _first in YAML_1_2:
        _side.add_implicit_resolver(TAG + _kind, re.compile(f"(?:{_pattern})$"), list(_first))
YamlLoader.add_constructor(f"{TAG}int", YamlLoader.construct_yaml_int)


def load_yaml(text: str) -> Any:
    """The content of a text from a stranger; raises yaml.YAMLError for all that is wrong with it.

    Aliases are refused, since a few lines of them can fill the memory; so is what is too large or
    nested too deep.
    """
    _compose(text)
    try:
        return yaml.load(text, Loader=YamlLoader)
    # A date that there is not, a number of ten thousand digits.
    except ValueError as error:
        raise yaml.YAMLError(_one_line(error)) from error


def _compose(text: str) -> yaml.Node | None:
    """The document's nodes; raises yaml.YAMLError as `load_yaml` does."""
    if len(text) > LARGEST_FILE:
        raise yaml.YAMLError(f"it has {len(text):,} characters, and {LARGEST_FILE:,} are read")
    depth = 0
    for event in yaml.parse(text, Loader=YamlLoader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("it holds an alias, which segkit never follows")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.YAMLError(f"it is nested more than {DEEPEST} deep")
    node: yaml.Node | None = yaml.compose(text, Loader=YamlLoader)
    return node


def _scalar(key: str, node: yaml.Node, where: str) -> Any:
    kind = node.tag.removeprefix(TAG)
    if not isinstance(node, yaml.ScalarNode) or kind not in (*NUMBERS, *TEXTS):
        held = node.tag if isinstance(node, yaml.ScalarNode) else "several values"
        raise UsageError(
            "SK-C009", f"{where}: '{key}' holds {held}.", "A setting is one number, word or text."
        )
    if kind in TEXTS:
        return node.value
    try:
        return YamlLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(
            "SK-C009", f"{where}: '{key}' cannot be read ({_one_line(error)}).", "Correct it."
        ) from error


def _option(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _assignment(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.strip().replace("-", "_")
    if not equals or not key:
        raise UsageError("SK-C009", f"--set {text} is no assignment.", "Write --set key=value.")
    try:
        node = _compose(value)
    except yaml.YAMLError:
        node = None
    if node is None or not isinstance(node, yaml.ScalarNode):
        # An expression such as timm/x(out=[1, 2]) is text, whatever YAML would make of it.
        return key, value.strip()
    return key, _scalar(key, node, f"--set {key}")


def _validated(settings: Mapping[str, Setting]) -> TrainConfig:
    fields = TrainConfig.model_fields
    for key, setting in settings.items():
        if key not in fields:
            known = did_you_mean(key, fields) or f"The settings are {', '.join(fields)}."
            raise UsageError(
                "SK-C008", f"{setting.where}: there is no setting '{key}'.", known.strip()
            )
    try:
        return TrainConfig.model_validate({key: each.value for key, each in settings.items()})
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        setting = settings[key]
        raise UsageError(
            "SK-C009",
            f"{setting.where}: '{key}' cannot be {setting.value!r} ({_reasons(error, key)}).",
            f"{key}: {fields[key].description}. The default is {_word(fields[key].default)}.",
        ) from error


def _reasons(error: ValidationError, key: str) -> str:
    """What a union of types would have taken, in one sentence."""
    messages = [each["msg"] for each in error.errors() if each["loc"][0] == key]
    return "; or: ".join(dict.fromkeys(messages))


def _word(value: Any) -> str:
    return "null" if value is None else str(value)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
