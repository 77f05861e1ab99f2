"""A trained network rewritten for prediction on a CPU: the same numbers up to rounding, sooner.

Batch norms in evaluation mode are folded into the convolutions before them, with the ReLU behind;
1x1 convolutions are oneDNN's too, which PyTorch computes as matrix products where it has one
thread; weights are rounded to bfloat16 once, not at every call. Blocks of a known form
(segkit.cpu.dense_layers, segkit.cpu.doubling) are replaced as a whole, each once it has reproduced
what the block returned for an example. What is rewritten is a copy that shares all other tensors
with the network, and it is held against the network before it is used.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from segkit.cpu.calls import Calls
from segkit.cpu.convolutions import Convolution, foldable, hooked, rewritable
from segkit.cpu.dense_layers import dense_block, mean_first
from segkit.cpu.doubling import doubling_block
from segkit.model.network import SegmentationModel

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Norm of the difference over the network's own, on random pixels: rounding in another order.
TOLERANCE = {"fp32": 1e-4, "bf16": 1e-1}
# Each gives what takes a module's place, or None where the module is not of its form.
FORMS = (dense_block, doubling_block)
RELUS = (F.relu, F.relu_, torch.relu, torch.relu_)


@torch.no_grad()
def rewritten(model: SegmentationModel, device: torch.device, precision: str) -> SegmentationModel:
    """The network as it predicts quickest: a rewritten copy, or itself where that does not apply.

    model       in evaluation mode, in float32, on `device`
    precision   that of autocast: fp32 or bf16

    Only on a CPU with oneDNN, and for prediction: the copy has no gradient and is never saved. Of a
    trained network fewer than one label in 10,000 differs in fp32; in bf16 the labels are as near
    to those of fp32 as autocast's are.
    """
    if device.type != "cpu" or precision not in TYPES or not torch.backends.mkldnn.is_available():
        return model
    if not isinstance(model, SegmentationModel) or model.training:
        return model
    for folds in (True, False):
        try:
            copied = _rewritten_copy(model, TYPES[precision], folds=folds)
            if _agrees(copied, model, precision):
                return copied
        # Whatever a module of another author objects to, the network itself is there.
        except Exception:
            continue
    return model


def _rewritten_copy(
    model: SegmentationModel, dtype: torch.dtype, *, folds: bool
) -> SegmentationModel:
    shared = {id(each): each for each in chain(model.parameters(), model.buffers())}
    copied: SegmentationModel = copy.deepcopy(model, shared)
    # Once through, so that no module is taken for one that is called several times.
    copied.record = replace(model.record, mirrors="")
    if folds:
        calls = Calls(copied, _example(model))
        _replace_known_forms(copied, calls, dtype)
        _fold(copied, calls.counts, dtype)
    for module in list(copied.modules()):
        for name, child in list(module.named_children()):
            # In float32 PyTorch gives all but 1x1 to oneDNN itself, and the module around may know
            # a quicker way.
            if rewritable(child) and (dtype != torch.float32 or max(child.kernel_size) == 1):
                setattr(module, name, Convolution(child, dtype))
    copied.record = model.record
    return copied.eval()


def _replace_known_forms(module: nn.Module, calls: Calls, dtype: torch.dtype) -> None:
    """Replaces blocks of a known form, outermost first."""
    for name, child in list(module.named_children()):
        replacement = None if any(map(hooked, child.modules())) else _known(child, calls, dtype)
        if replacement is not None:
            setattr(module, name, replacement)
        elif hooked(child) or not mean_first(child, calls):
            _replace_known_forms(child, calls, dtype)


def _known(module: nn.Module, calls: Calls, dtype: torch.dtype) -> nn.Module | None:
    """What takes the place of a block of a known form, where it computes the same."""
    call = calls.examples.get(module)
    if call is None:
        return None
    for form in FORMS:
        # In float32, whatever it is to be in: rounding would hide a slip.
        exact = form(module, call, torch.float32)
        if exact is not None and call.reproduced_by(exact, TOLERANCE["fp32"]):
            return exact if dtype == torch.float32 else form(module, call, dtype)
    return None


def _fold(model: nn.Module, calls: Mapping[nn.Module, int], dtype: torch.dtype) -> None:
    """Folds norms and ReLUs of every module whose own forward tells plainly what follows what."""
    # The innermost first: a graph takes over what its module holds.
    for module in reversed(list(model.modules())):
        for name, child in list(module.named_children()):
            parts = list(_called_by(child, calls))
            if not (any(map(rewritable, parts)) and any(map(foldable, parts))):
                continue
            if calls[child] and not hooked(child):
                setattr(module, name, _folded_module(child, calls, dtype) or child)


def _called_by(module: nn.Module, calls: Mapping[nn.Module, int]) -> Iterator[nn.Module]:
    """A module's children, and in the place of mere containers, what they hold."""
    for child in module.children():
        if calls[child]:
            yield child
        else:
            yield from _called_by(child, calls)


def _folded_module(
    module: nn.Module, calls: Mapping[nn.Module, int], dtype: torch.dtype
) -> fx.GraphModule | None:
    """The module as the graph of its forward, with fewer nodes; None where there are no fewer."""
    try:
        graph = _Flat().trace(module)
    # A forward that asks for shapes or values has no graph, for ever new reasons.
    except Exception:
        return None
    found = fx.GraphModule(module, graph)
    named = dict(module.named_modules())
    folds = 0
    for node in list(graph.nodes):
        norm, relu = _norm_behind(node, named)
        if norm is None or any(calls[named[str(e.target)]] != calls[module] for e in (node, norm)):
            continue
        plain = named[str(node.target)], dtype, named[str(norm.target)]
        found.add_submodule(str(node.target), Convolution(*plain, relu=relu is not None))
        (relu or norm).replace_all_uses_with(node)
        for each in (relu, norm):
            if each is not None:
                graph.erase_node(each)
        folds += 1
    if not folds:
        return None
    found.delete_all_unused_submodules()
    found.recompile()
    # What others ask of a module beside its result.
    for name, value in vars(module).items():
        if not name.startswith("_") and name not in vars(found):
            setattr(found, name, value)
    return found


def _norm_behind(
    node: fx.Node, named: Mapping[str, nn.Module]
) -> tuple[fx.Node | None, fx.Node | None]:
    """The norm that takes a convolution's result, alone, and the ReLU that takes the norm's."""
    norm = _only_user(node)
    if norm is None or not (rewritable(_called(node, named)) and foldable(_called(norm, named))):
        return None, None
    relu = _only_user(norm)
    return norm, relu if relu is not None and _is_relu(relu, named) else None


def _called(node: fx.Node, named: Mapping[str, nn.Module]) -> nn.Module | None:
    return named.get(str(node.target)) if node.op == "call_module" else None


class _Flat(fx.Tracer):
    """Follows one module's forward, not its children's."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def _only_user(node: fx.Node) -> fx.Node | None:
    """What takes a node's result, as its first argument, where nothing else does."""
    users = list(node.users)
    if len(users) != 1 or users[0].args[:1] != (node,):
        return None
    return users[0] if users[0].all_input_nodes == [node] else None


def _is_relu(node: fx.Node, named: Mapping[str, nn.Module]) -> bool:
    if node.op == "call_module":
        module = _called(node, named)
        return type(module) is nn.ReLU and not hooked(module)
    if node.op == "call_method":
        return node.target in ("relu", "relu_")
    return node.op == "call_function" and node.target in RELUS


def _agrees(copied: SegmentationModel, model: SegmentationModel, precision: str) -> bool:
    """Whether both give the same logits of random pixels, up to rounding."""
    image_BCHW = _example(model)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        expected, found = (each(image_BCHW).double() for each in (model, copied))
    return bool((found - expected).norm() <= TOLERANCE[precision] * expected.norm())


def _example(model: SegmentationModel) -> Tensor:
    side = max(2 * model.encoder.strides[-1], 32)
    generator = torch.Generator().manual_seed(0)
    image_BCHW = torch.randn((1, model.record.in_channels, side, side), generator=generator)
    return image_BCHW.contiguous(memory_format=torch.channels_last)
