"""Parts of a model that do not learn: no gradient, and evaluation mode that survives train().

A frozen module's dropout and drop path are off and its running statistics stand still, whatever
mode its parent is put into, until it is thawed.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from segkit.errors import UsageError, did_you_mean


def freeze(model: nn.Module, parts: str) -> tuple[str, ...]:
    """Freezes the named modules, such as "encoder" or "encoder.features.norm0, decoder", in place.

    Returns their names; raises UsageError as `named_parts` does.
    """
    found = named_parts(model, parts)
    for module in found.values():
        _freeze(module)
    return tuple(found)


def named_parts(model: nn.Module, parts: str) -> dict[str, nn.Module]:
    """The modules named, separated by commas; raises UsageError SK-C009 for an unknown name."""
    known = dict(model.named_modules())
    names = [each.strip() for each in parts.split(",") if each.strip()]
    for name in names:
        if name not in known:
            nearest = did_you_mean(name, [n for n in known if n.count(".") == name.count(".")])
            top = ", ".join(each for each, _ in model.named_children())
            raise UsageError(
                "SK-C009",
                f"freeze: the model has no part '{name}'.",
                f"{nearest}The largest parts are {top}.",
            )
    return {name: known[name] for name in names}


def thaw(model: nn.Module) -> None:
    """Lets everything learn again that `freeze` stopped, in place; call train() afterwards."""
    for module in model.modules():
        original = getattr(type(module), "_thawed_class", None)
        if original is not None:
            module.__class__ = original
            for parameter in module.__dict__.pop("_stopped_parameters"):
                parameter.requires_grad_(True)


def _freeze(module: nn.Module) -> None:
    if getattr(type(module), "_thawed_class", None) is not None:
        return
    stopped = [each for each in module.parameters() if each.requires_grad]
    # In __dict__ and not as an attribute, which would register parameters a second time.
    module.__dict__["_stopped_parameters"] = stopped
    for parameter in stopped:
        parameter.requires_grad_(False)
    # A class, not a function on the instance: in a copy that function would act on the original.
    module.__class__ = _frozen_class(type(module))
    module.train()


def _frozen_class(kind: type[nn.Module]) -> type[nn.Module]:
    def train(self: nn.Module, mode: bool = True) -> nn.Module:
        kind.train(self, False)
        return self

    members: dict[str, Any] = {
        "train": train,
        "_thawed_class": kind,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
    }
    return type(kind.__name__, (kind,), members)
