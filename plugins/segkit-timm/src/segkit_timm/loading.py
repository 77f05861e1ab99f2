"""Builds a timm network with its weights: timm converts them, segkit fetches and checks files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from segkit.api import ModelFileError, read_weights

# What a file holds before the network's own names: of a segkit model, of a wrapped or compiled one.
PREFIXES = ("encoder.network.", "network.", "module.", "_orig_mod.")


def build_network(model: str, arguments: Mapping[str, Any], file: Path | None) -> nn.Module:
    """timm's feature network, at random or with the file's weights.

    The file may hold timm's tensors, those of this network, or a whole segkit model built on it.
    Raises ModelFileError SK-W002 where it does not fit.
    """
    if file is None:
        return _create(model, arguments)
    state = _without_prefix(read_weights(file))
    network = _create(model, arguments)
    own = network.state_dict()
    if own.keys() <= state.keys() and all(own[k].shape == state[k].shape for k in own):
        network.load_state_dict({name: state[name] for name in own})
        return network
    try:
        missing = _not_in(state, model, arguments)
        network = _create(model, arguments, state)
    # timm's conversions meet a stranger's file with whatever error comes first.
    except Exception as error:
        raise _misfit(file, model, str(error).strip().splitlines()[-1].strip()) from error
    if missing:
        raise _misfit(
            file,
            model,
            f"of {len(own)} tensors {len(missing)} are missing, such as '{missing[0]}'",
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


def _not_in(state: Mapping[str, Tensor], model: str, arguments: Mapping[str, Any]) -> list[str]:
    """Names of the network's tensors that timm does not fill from this file.

    timm renames and reshapes tensors as each model needs, and skips what is missing without a word.
    So all is loaded once with NaN for values: a tensor that stays a number has not been loaded.
    """
    hollow = {
        name: torch.full_like(tensor, float("nan")) if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    network = _create(model, arguments, hollow)
    tensors = [*network.named_parameters(), *_statistics(network)]
    return [name for name, tensor in tensors if not tensor.isnan().any()]


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


def _misfit(file: Path, model: str, reason: str) -> ModelFileError:
    return ModelFileError(
        "SK-W002",
        f"{file} does not fit timm/{model} ({reason}).",
        "Check that the file belongs to this very model and its options.",
    )
