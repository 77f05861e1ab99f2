"""A recipe applied: settings that were left to segkit are decided, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from segkit.config import TrainConfig
from segkit.data.opening.opened import Data
from segkit.distributed import Group
from segkit.errors import WeightsUnavailable
from segkit.recipes.cautions import cautions
from segkit.recipes.fingerprint import fingerprint_of
from segkit.recipes.rules import RULES, Known
from segkit.registry.components import default_registry

SETTINGS = tuple(rule.setting for rule in RULES)


@dataclass(frozen=True)
class Decision:
    """One setting, decided; or a caution, where `setting` is empty.

    support   what the rule rests on
    """

    setting: str
    value: Any
    reason: str
    support: str = ""

    def sentence(self) -> str:
        """As a training tells it before it starts."""
        return f"{self.setting} {self.value}: {self.reason}" if self.setting else self.reason


def with_recipe(
    config: TrainConfig, data: Data, group: Group
) -> tuple[TrainConfig, tuple[Decision, ...]]:
    """The settings as their recipe has them; those that were given stay, by a file or an option.

    A run's config.yaml gives them all: nothing is then measured or decided.
    """
    left = ("auto", None)
    given = {name for name in config.model_fields_set if getattr(config, name) not in left}
    if config.recipe == "plain" or given >= set(SETTINGS):
        return config, ()
    fingerprint = fingerprint_of(data)
    settings = {name: getattr(config, name) for name in TrainConfig.model_fields}
    settings["size"] = config.size or data.default_size
    pretrained = "encoder" not in given and _starts_pretrained(config, data.in_channels, group)
    decisions = []
    for rule in RULES:
        if rule.setting in given:
            continue
        known = Known(fingerprint, data.classes, settings, pretrained)
        decided = rule.decide(known)
        if decided is not None:
            settings[rule.setting] = decided[0]
            decisions.append(Decision(rule.setting, *decided, rule.support))
    changes = {each.setting: each.value for each in decisions}
    if "encoder" in changes and not pretrained:
        changes["weights"] = "none"
    told = [
        Decision("", None, text)
        for text in cautions(fingerprint, data.classes, separated=bool(config.separate))
    ]
    return config.model_copy(update=changes), (*decisions, *told)


def _starts_pretrained(config: TrainConfig, channels: int, group: Group) -> bool:
    """Whether plain's encoder has weights to start from: given, in the cache, or on the hub."""
    if config.weights != "auto":
        return config.weights != "none"
    encoder = default_registry().component("encoders", config.encoder)
    random_state = torch.get_rng_state()
    try:
        with group.first():
            encoder.built(in_channels=channels, weights="imagenet")
    except WeightsUnavailable:
        return False
    finally:
        torch.set_rng_state(random_state)
    return True
