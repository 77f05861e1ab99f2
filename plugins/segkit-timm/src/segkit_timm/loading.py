"""Builds a timm network with its weights: timm converts them, segkit fetches and checks files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import Tensor, nn

from segkit.api import PublishedWeights, find_weights, load_encoder_weights

# What a file holds before the network's own names: of a segkit model, of a wrapped or compiled one.
PREFIXES = ("encoder.network.", "network.", "module.", "_orig_mod.")


def build_network(
    model: str, arguments: Mapping[str, Any], weights: str, published: PublishedWeights | None
) -> nn.Module:
    """timm's feature network, filled as an encoder's `weights` argument says.

    A file may hold timm's tensors, those of this network, or a whole segkit model built on it.
    Raises as `load_encoder_weights` does.
    """
    file = find_weights(f"timm/{model}", weights, published)
    network = _create(model, arguments)

    def convert(state: dict[str, Tensor]) -> dict[str, Tensor]:
        state, own = _without_prefix(state), network.state_dict()
        if own.keys() <= state.keys() and all(own[k].shape == state[k].shape for k in own):
            return {name: state[name] for name in own}
        return _converted(state, model, arguments)

    load_encoder_weights(
        network,
        str(file or "none"),
        published=published,
        name=f"timm/{model}",
        convert=convert,
    )
    return network


def _create(
    model: str, arguments: Mapping[str, Any], state: Mapping[str, Tensor] | None = None
) -> nn.Module:
    source: dict[str, Any] = (
        {} if state is None else {"pretrained_cfg_overlay": {"state_dict": dict(state)}}
    )
    network: nn.Module = timm.create_model(
        model, pretrained=state is not None, features_only=True, **arguments, **source
    )
    # timm keeps the settings it was built with, and with them a second copy of every tensor.
    network.pretrained_cfg = network.default_cfg = {}  # type: ignore[assignment]
    return network


def _converted(
    state: Mapping[str, Tensor], model: str, arguments: Mapping[str, Any]
) -> dict[str, Tensor]:
    """The network's tensors that timm fills from a file, by the network's names.

    timm renames and reshapes tensors as each model needs, and skips what is missing without a word.
    So all is loaded once with NaN for values: a tensor that stays a number has not been loaded.
    """
    hollow = {
        name: torch.full_like(tensor, float("nan")) if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    network = _create(model, arguments, hollow)
    tensors = [*network.named_parameters(), *_statistics(network)]
    missing = {name for name, tensor in tensors if not tensor.isnan().any()}
    filled = _create(model, arguments, state).state_dict()
    return {name: tensor for name, tensor in filled.items() if name not in missing}


def _statistics(network: nn.Module) -> list[tuple[str, Tensor]]:
    return [
        (n, b) for n, b in network.named_buffers() if n.endswith(("running_mean", "running_var"))
    ]


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        chosen = {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}
        if chosen and (prefix == PREFIXES[0] or len(chosen) == len(state)):
            return chosen
    return state
