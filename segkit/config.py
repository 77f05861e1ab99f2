"""The settings of a training: one frozen object, layered from defaults, a file, options and --set.

Written beside the result as YAML with a comment per setting, so that `--config RUN/config.yaml`
repeats it. Configuration names registered components only; nothing in a file is ever executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segkit.errors import UsageError, did_you_mean, nearest

LARGEST_FILE = 1_000_000
DEEPEST = 20
TAG = "tag:yaml.org,2002:"
NUMBERS = ("int", "float", "bool", "null")
# What of a run may differ when it goes on: where and how it computes, and how long.
CHANGEABLE = (
    "device",
    "workers",
    "epochs",
    "compile",
    "checkpoint_activations",
    "keep_freed_memory",
)
# A folder may be called 2026-01-31.
TEXTS = ("str", "timestamp")


class TrainConfig(BaseModel):
    """Everything that decides a training; what is left to segkit is written "auto" or none."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    data: str | None = Field(
        default=None, description="folder of images and masks; null is the built-in demo set"
    )
    dataset: str | None = Field(
        default=None,
        description="published data set that data holds, as name(option=value); null: our layouts",
    )
    encoder: str = Field(
        default="densenet121", description="the encoder; options as name(option=value)"
    )
    decoder: str = Field(default="unet", description="the decoder")
    upsampler: str = Field(default="bilinear", description="the upsampler that the decoder uses")
    loss: str = Field(
        default="dice+ce", description="what is minimised; losses add up: 0.5*dice + ce"
    )
    metric: str = Field(
        default="miou", description="what is reported; the first decides what is best"
    )
    weights: str = Field(
        default="auto",
        description="the encoder's start: auto, imagenet, none or a safetensors file",
    )
    epochs: int | None = Field(
        default=None,
        ge=1,
        description="passes over the training images; null: 12 of the demo set, else 1500 steps "
        "in 10 epochs or more",
    )
    epoch_steps: int | None = Field(
        default=None,
        ge=1,
        description="steps of an epoch; null: as many as hold every training image once",
    )
    minutes: float | None = Field(
        default=None,
        gt=0,
        description="end in about so many minutes on this machine, whose speed then decides epochs "
        "and epoch_steps; null: as long as those say",
    )
    overfit: int | None = Field(
        default=None,
        ge=1,
        description="train on so many images alone and score on the same: a sound setup comes near "
        "a perfect score; null takes all",
    )
    batch: int = Field(default=8, ge=1, description="images per step, over all processes together")
    accumulate: int = Field(
        default=1,
        ge=1,
        description="parts in which a step computes its batch, one after the other, to take less "
        "memory; norms and losses then see one part at a time",
    )
    size: int | None = Field(
        default=None,
        ge=8,
        description="side of the square training crop, pixels; null fits the images",
    )
    lr: float = Field(
        default=1e-3, gt=0, description="highest learning rate, reached after the warm-up"
    )
    optimizer: Literal["adamw", "sgd"] = Field(
        default="adamw",
        description="sgd has a momentum of 0.9 (Nesterov's), and wants an lr of 0.01 to 0.1",
    )
    weight_decay: float = Field(
        default=0.01, ge=0, description="of weights; norms and biases have none"
    )
    warmup_share: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="share of all steps in which the learning rate rises, 0 to 1",
    )
    clip_norm: float | None = Field(
        default=1.0, gt=0, description="largest norm of a step's gradient; null clips nothing"
    )
    ema_decay: float = Field(
        default=0.99,
        ge=0,
        lt=1,
        description="of the averaged weights, which are scored and saved; 0 is none",
    )
    augmentation: str = Field(
        default="auto",
        description="none, light, standard, strong, microscopy; auto: standard, light on the demo",
    )
    ignore_index: int | Literal["auto"] | None = Field(
        default="auto",
        description="mask label that counts for nothing; auto asks the data, null is none",
    )
    num_classes: int | None = Field(
        default=None, ge=1, description="how many classes the masks hold; null asks the data"
    )
    crops: Literal["anywhere", "foreground", "classes"] = Field(
        default="anywhere",
        description="where training crops are cut: anywhere, more often at any class but 0, or at "
        "each of an image's classes equally often",
    )
    cache: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="keep a folder's decoded pixels in the user's cache; auto: where they fit",
    )
    on_bad_sample: Literal["error", "skip"] = Field(
        default="error",
        description="skip leaves out samples whose files are damaged, up to 5 % of all",
    )
    instances: Literal["foreground", "boundary"] | None = Field(
        default=None,
        description="where masks hold object numbers: foreground, or boundary for the objects' "
        "outermost pixels as a class too; null where they hold classes",
    )
    binarize: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="mask values from here on are foreground, for smeared masks; null is none",
    )
    label_mapping: str | None = Field(
        default=None,
        description="what stored mask values mean, as {stored value: label}; a value may be a "
        'range "1-9", a label may be ignore; null asks the data',
    )
    declare: str | None = Field(
        default=None,
        description="what data.yaml would say, over what it says: 'page: 1', or "
        "'{page: 1, soft: true}'",
    )
    resize_masks: Literal["nearest"] | None = Field(
        default=None, description="masks of another size than their images are brought to it"
    )
    max_pixels: int | None = Field(
        default=None, ge=1, description="the largest image allowed, pixels; null is 178,956,970"
    )
    in_channels: int | None = Field(
        default=None, ge=1, description="channels of the image; null asks the data"
    )
    intensity: str | None = Field(
        default=None,
        description="pixel values that are black and white: range (of all images), percentile, "
        "per-image or fixed(BLACK, WHITE); null: as data.yaml says, else range",
    )
    val_share: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="share that validates where the data name no such part, 0 to 1",
    )
    freeze: str | None = Field(
        default=None, description="parts that do not learn, such as encoder; several with commas"
    )
    thaw_epoch: int | None = Field(
        default=None,
        ge=2,
        description="epoch, from 1, in which frozen parts begin to learn; null is never",
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        description="evaluations without a better score that end it; null is never",
    )
    evaluate_every: int | None = Field(
        default=None,
        ge=1,
        description="epochs between evaluations and checkpoints; null: at most 50 in all",
    )
    checkpoint_steps: int | None = Field(
        default=None,
        ge=1,
        description="steps between checkpoints within an epoch; null writes none there",
    )
    checkpoint_minutes: float = Field(
        default=10.0,
        gt=0,
        description="minutes between checkpoints, at most: what a killed training loses",
    )
    samples: int = Field(default=4, ge=0, description="validation images shown in samples/")
    samples_every: int | None = Field(
        default=None, ge=1, description="epochs between pictures of them; null: five times in all"
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="of the arithmetic; auto is bf16 where the device is quick at it",
    )
    channels_last: bool = Field(
        default=True, description="keep images with their channels innermost"
    )
    compile: Literal["no", "yes", "graph"] = Field(
        default="no",
        description="torch.compile; graph: replayed as a CUDA graph too. The first step takes "
        "minutes; on a CPU it does not pay",
    )
    checkpoint_activations: bool = Field(
        default=False,
        description="compute activations again for the gradient: less memory, more time",
    )
    keep_freed_memory: bool = Field(
        default=False,
        description="Linux: the process keeps memory that tensors free for the next ones; up to a "
        "fifth more memory, and less time where maps exceed 32 MiB on a virtual machine",
    )
    deterministic: bool = Field(
        default=False,
        description="refuse operations that differ from run to run (a CPU never does)",
    )
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        default="auto",
        description="processes that read data, for each training process; 0 reads in it",
    )
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="of initialisation, order and augmentation"
    )
    tensorboard: bool = Field(
        default=False, description="write events for TensorBoard to RUN/tensorboard"
    )
    plugins: str | None = Field(
        default=None,
        description="which plugin, at which version, gave each part; null: whichever is installed",
    )
    out: str | None = Field(
        default=None,
        description="folder of the run; a number is added to one that exists; null names it",
    )


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


def to_yaml(config: TrainConfig) -> str:
    """The configuration as YAML, a comment above each setting."""
    lines = []
    for name, field in TrainConfig.model_fields.items():
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
