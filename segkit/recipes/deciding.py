"""A recipe applied: settings that were left to segkit are decided, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from segkit.config import TrainConfig
from segkit.data.opening.opened import Data
from segkit.data.settings import find_settings
from segkit.distributed import Group
from segkit.errors import WeightsUnavailable
from segkit.recipes.cautions import cautions
from segkit.recipes.fingerprint import Fingerprint, fingerprint_of
from segkit.recipes.known import Known, Speed
from segkit.recipes.network_rules import stride_of
from segkit.recipes.rules import BY_SPEED, RULES
from segkit.registry.components import default_registry

SETTINGS = tuple(rule.setting for rule in RULES)
# Settings of which none may be given where the stride of the network is decided.
NETWORK = frozenset({"size", "encoder", "decoder", "upsampler"})


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


@dataclass(frozen=True)
class Recipe:
    """What decides a training's settings: asked once for all of them, and again where its speed
    has a say.

    config       as it was given
    given        settings that it holds; they stay
    default_size  side of the crop that fits the images, pixels
    """

    config: TrainConfig
    given: frozenset[str]
    fingerprint: Fingerprint
    classes: tuple[str, ...]
    default_size: int
    pretrained: bool

    def decide(
        self, *, size: int | None = None, stride: int = 1, speed: Speed | None = None
    ) -> tuple[dict[str, Any], tuple[Decision, ...]]:
        """(what is changed, the decisions) with crops of this side and a network of this stride;
        None: of the usual side. With a speed both are what it allows."""
        settings = {name: getattr(self.config, name) for name in TrainConfig.model_fields}
        random = not self.pretrained and (
            "encoder" not in self.given or self.config.weights == "none"
        )
        settings["size"] = size or self.config.size or self.default_size
        known = Known(
            self.fingerprint, self.classes, settings, self.pretrained, random, speed, stride
        )
        if speed is not None and not self.config.separate and NETWORK.isdisjoint(self.given):
            known = replace(known, stride=stride_of(known))
        changes: dict[str, Any] = {}
        decisions = []
        for rule in RULES:
            if rule.setting in self.given:
                continue
            decided = rule.decide(known)
            if decided is not None:
                settings[rule.setting] = changes[rule.setting] = decided[0]
                decisions.append(Decision(rule.setting, *decided, rule.support))
        if size and "size" not in self.given:
            changes["size"] = size
        if "encoder" in changes and not self.pretrained:
            changes["weights"] = "none"
        separated = bool(self.config.separate)
        told = cautions(self.fingerprint, self.classes, separated=separated)
        return changes, (*decisions, *(Decision("", None, text) for text in told))


def recipe_for(config: TrainConfig, data: Data, group: Group) -> Recipe | None:
    """None where the settings leave nothing to decide, or ask for none.

    A run's config.yaml gives them all: nothing is then measured or decided.
    """
    left = ("auto", None)
    # Of intensity none is a choice too, which a run's config.yaml writes down.
    given = {
        name
        for name in config.model_fields_set
        if getattr(config, name) not in left or name == "intensity"
    }
    if data.intensity.scaling != "range" or _declares_intensity(config):
        given.add("intensity")
    asked = set(SETTINGS) if config.minutes else set(SETTINGS) - BY_SPEED
    if config.recipe == "plain" or given >= asked:
        return None
    pretrained = "encoder" not in given and _starts_pretrained(config, data.in_channels, group)
    fingerprint = fingerprint_of(data)
    return Recipe(
        config, frozenset(given), fingerprint, data.classes, data.default_size, pretrained
    )


def with_recipe(
    config: TrainConfig, data: Data, group: Group
) -> tuple[TrainConfig, tuple[Decision, ...]]:
    """The settings as their recipe has them; those that were given stay, by a file or an option."""
    recipe = recipe_for(config, data, group)
    if recipe is None:
        return config, ()
    changes, decisions = recipe.decide()
    return config.model_copy(update=changes), decisions


def _declares_intensity(config: TrainConfig) -> bool:
    """Whether the folder's data.yaml says what is black and white."""
    if config.data is None or config.dataset is not None:
        return False
    return find_settings(Path(config.data).expanduser(), config.declare).intensity is not None


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
