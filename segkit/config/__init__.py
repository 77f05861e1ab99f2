"""The settings of a training, and the files and options that they come from."""

from segkit.config.layers import (
    Setting,
    YamlLoader,
    layered,
    load_yaml,
    read_config,
    read_settings,
    to_yaml,
    with_changes,
)
from segkit.config.settings import CHANGEABLE, TrainConfig

__all__ = [
    "CHANGEABLE",
    "Setting",
    "TrainConfig",
    "YamlLoader",
    "layered",
    "load_yaml",
    "read_config",
    "read_settings",
    "to_yaml",
    "with_changes",
]
