"""Checks of what a part of a network holds on to: devices, maps, and what cannot travel."""

from __future__ import annotations

import copy
import gc
from typing import Any

import torch
from torch import Tensor, nn

from segkit.testing.second_process import in_a_second_process
from segkit.testing.subject import Breach, Check, NotApplicable, Subject, line_of, require
from segkit.testing.trials import map_tensors, tensors_in, trial_of

TOLERANCE = 1e-4
NO_DATA = "copy out of meta tensor"


def travels_to_a_second_process(subject: Subject) -> None:
    """Pickled, it works in a real second process and gives the same output there.

    Mend: keep no lambda, hook, open file or locally defined class in an attribute, and import
    whatever the module needs in the file that defines its class.
    """
    trial = trial_of(subject)
    module = trial.build().eval()
    with torch.no_grad():
        expected = tensors_in(module(*trial.arguments))
    found = in_a_second_process(_outputs_of, module, trial.arguments)
    for here, there in zip(expected, found, strict=True):
        same = here.shape == there.shape and torch.allclose(
            here.double(), there.double(), rtol=TOLERANCE, atol=TOLERANCE
        )
        require(same, "in a second process it gives another output")


def parts_are_registered(subject: Subject) -> None:
    """Every module and parameter that it holds is one of its submodules or parameters: trained,
    saved and moved with it.

    Mend: nn.ModuleList, nn.ModuleDict or nn.ParameterList in place of a list, tuple or dict.
    """
    module = trial_of(subject).build()
    known = {id(each) for each in (*module.modules(), *module.parameters())}
    for name, part in module.named_modules():
        for attribute, value in vars(part).items():
            if attribute.startswith("_"):
                continue  # torch's own registers
            held = list(value.values()) if isinstance(value, dict) else value
            if not isinstance(held, list | tuple):
                continue
            hidden = [
                each
                for each in held
                if isinstance(each, nn.Module | nn.Parameter) and id(each) not in known
            ]
            where = f"{name}.{attribute}".lstrip(".")
            kind = type(value).__name__
            require(not hidden, f"{where} is a {kind} of {len(hidden)} parts it has not registered")


def follows_its_device(subject: Subject) -> None:
    """Moved to another device by .to(device), it computes there, and leaves its output there.

    Mend: name no device: make new tensors with device=x.device, and keep tensors of your own in
    register_buffer, so that .to() moves them. (The other device is torch's "meta" here.)
    """
    trial = trial_of(subject)
    module = copy.deepcopy(trial.build()).eval().to("meta")
    arguments = map_tensors(lambda t: t.to("meta"), trial.arguments)
    try:
        with torch.no_grad():
            outputs = tensors_in(module(*arguments))
    except NotImplementedError as error:
        if NO_DATA in str(error):
            raise Breach(f"it takes tensors to another device than its own ({error})") from error
        raise NotApplicable(f"torch cannot follow it without data ({error})") from error
    except RuntimeError as error:
        raise Breach(f"moved to another device it fails ({error})", line_of(error)) from error
    places = sorted({each.device.type for each in outputs})
    require(places == ["meta"], f"moved to the device 'meta' it returns maps on {places}")


def lets_its_maps_go(subject: Subject) -> None:
    """After a pass nothing keeps its input, the maps it returned, or more with every pass.

    Mend: assign no map to self, to a list or to a global; return it. What depends on the size
    alone may be kept.
    """
    trial = trial_of(subject)
    for mode in (True, False):
        module = trial.build().train(mode)
        with torch.set_grad_enabled(mode):
            kept = _still_held_after_a_pass(module, trial.arguments)
            require(not kept, f"after a pass it still holds {kept}")
            more = _left_by_a_pass(module, trial.arguments)
        require(more <= 0, f"every pass leaves {more} tensors more behind")


BELONGINGS_CHECKS: tuple[Check, ...] = (
    parts_are_registered,
    travels_to_a_second_process,
    follows_its_device,
    lets_its_maps_go,
)


@torch.no_grad()
def _outputs_of(module: nn.Module, arguments: tuple[Any, ...]) -> list[Tensor]:
    return tensors_in(module(*arguments))


def _still_held_after_a_pass(module: nn.Module, arguments: tuple[Any, ...]) -> str:
    """What of its input and output lives on; the memory itself is held here, so that no address
    comes to mean something else."""
    given = map_tensors(torch.clone, arguments)
    outputs = module(*given)
    memory = {
        label: [each.untyped_storage() for each in tensors_in(tree)]
        for label, tree in (("its input", given), ("a map it returned", outputs))
    }
    del given, outputs
    held = _held(memory)
    # Cycles keep their tensors until they are collected, which takes long: only where it matters.
    if held:
        gc.collect()
        held = _held(memory)
    return " and ".join(held)


def _held(memory: dict[str, list[torch.UntypedStorage]]) -> list[str]:
    alive = {each.untyped_storage().data_ptr() for each in _live_tensors()}
    return [
        label
        for label, storages in memory.items()
        if any(storage.data_ptr() in alive for storage in storages if storage.nbytes())
    ]


def _left_by_a_pass(module: nn.Module, arguments: tuple[Any, ...]) -> int:
    """How many tensors more there are after another pass."""
    before = len(_live_tensors())
    module(*arguments)
    if (more := len(_live_tensors()) - before) <= 0:
        return more
    counts = []
    for _ in range(2):
        module(*arguments)
        gc.collect()
        counts.append(len(_live_tensors()))
    return counts[1] - counts[0]


def _live_tensors() -> list[Tensor]:
    # Asking the type alone: isinstance would touch lazy objects of other libraries.
    return [
        each
        for each in gc.get_objects()
        if type(each) in (Tensor, nn.Parameter) and each.layout == torch.strided
    ]
