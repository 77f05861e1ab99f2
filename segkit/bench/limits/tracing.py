"""Watches what PyTorch does, operation by operation: arithmetic, memory traffic, memory held.

Works alike on real tensors and on those without numbers (on the meta device, or fake), so a step
can be counted for a device that is not there, and the count can be held against a real run.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch._subclasses import FakeTensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segkit.bench.limits.flops import flops_formula

aten = torch.ops.aten

# They reserve memory and move none.
UNWRITTEN = {
    *(aten.empty.memory_format, aten.empty_like.default, aten.empty_strided.default),
    *(aten.new_empty.default, aten.new_empty_strided.default),
}


class Operation(NamedTuple):
    """One operation that touches memory: about one kernel that a GPU launches."""

    phase: str
    flops: int
    bytes: int


class Trace(TorchDispatchMode):
    """What was done in each phase, and the most memory held at once.

    granule      device memory is handed out in multiples of this many bytes
    numberless   whether tensors that do have numbers, such as a loss's own tables, are left out
    reorders     whether convolutions copy their weights into a layout of their own for as long as
                 they take, as oneDNN does on CPUs
    operations   each with its FLOPs (of convolutions, matrix products and attention; a multiply-add
                 is two) and its bytes: inputs and outputs, each read or written once
    fused_bytes  by phase: the least traffic, see below
    held         bytes held now;  peak: the most so far;  peak_phase: when that was

    The least traffic assumes that all but convolutions and products is fused into them: these
    write their outputs, and read each input or, where that is less, the written tensors it was
    made of. What no product of the same phase touches is read once by all others together; results
    and what is changed in place are written once.
    """

    def __init__(
        self, granule: int = 1, *, numberless: bool = False, reorders: bool = False
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.granule, self.numberless, self.reorders = granule, numberless, reorders
        self.operations: list[Operation] = []
        self.fused_bytes: Counter[str] = Counter()
        self.held = self.peak = 0
        self.peak_phase = ""
        self.current = ""
        self._numbers: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self._origins: dict[int, frozenset[int]] = {}
        self._next = 0
        self._clear_phase()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What happens inside counts under this name; all tensors there are have been written."""
        self.current = name
        self._origins = {number: frozenset([number]) for number in self._numbers.values()}
        self._clear_phase()
        yield
        self.fused_bytes[name] += sum(
            size for number, size in self._read.items() if number not in self._touched
        ) + sum(self._written.values())
        self.current = ""

    def hold(self, tensors: Iterable[Tensor]) -> int:
        """Counts tensors made outside; returns their bytes, shared memory once."""
        return sum(self._sizes[number] for number in {self._number(each) for each in tensors})

    def results(self, tensors: Iterable[Tensor]) -> None:
        """Tensors that leave the present phase: they are written, fused or not."""
        for tensor in tensors:
            number = self._number(tensor)
            if self._sources(number) != frozenset([number]):
                self._written[number] = self._sizes[number]
                self._origins[number] = frozenset([number])

    def restart_peak(self) -> None:
        """Forgets the peak so far."""
        self.peak, self.peak_phase = self.held, self.current

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default and lacks_numbers(args[0]):
            # No numbers are there to be read; checks such as "any label out of range?" read no.
            return 0.0 if args[0].is_floating_point() else 0
        if func in SELECTING and any(
            isinstance(e, Tensor) and lacks_numbers(e) for e in tree_leaves(args)
        ):
            replace: Any = SELECTING[func]
            with self:
                args = replace(*args)
            if isinstance(args, Tensor):
                return args
        returned = func(*args, **kwargs)
        inputs, outputs = self._counted((args, kwargs)), self._counted(returned)
        self._count(func, args, kwargs, returned, inputs, outputs)
        return returned

    def _count(
        self,
        func: Any,
        args: Any,
        kwargs: Any,
        returned: Any,
        inputs: list[Tensor],
        outputs: list[Tensor],
    ) -> None:
        known = {self._number(each) for each in inputs}
        fresh = [each for each in outputs if self._number(each) not in known]
        changed = self._counted(_written_to(func, args, kwargs))
        if not fresh and not changed:
            return  # a view
        if func in UNWRITTEN:
            return
        if self.reorders and func is aten.convolution.default and _reorders(args[1]):
            self._held_for_a_moment(extent(args[1]))
        formula = flops_formula(func)
        traffic = sum(extent(each) for each in [*inputs, *fresh, *changed])
        flops = int(formula(*args, **kwargs, out_val=returned)) if formula else 0
        self.operations.append(Operation(self.current, flops, traffic))
        if formula is None:
            self._fuse(frozenset().union(*map(self._sources, known)), fresh, changed)
        else:
            self._write(inputs, [*fresh, *changed])

    def _fuse(self, sources: frozenset[int], fresh: list[Tensor], changed: list[Tensor]) -> None:
        """An operation that a product could take along: it only passes its sources on."""
        for number in sources:
            self._read.setdefault(number, self._sizes.get(number, 0))
        for tensor in fresh:
            self._origins[self._number(tensor)] = sources
        for tensor in changed:
            number = self._number(tensor)
            if self._sources(number) == frozenset([number]):
                self._written[number] = self._sizes[number]
            else:
                self._origins[number] = sources

    def _write(self, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        """A convolution or product: it reads, and what it returns lies in memory."""
        total = 0
        for tensor in inputs:
            number = self._number(tensor)
            origin = self._sources(number)
            whole = sum(self._sizes.get(each, 0) for each in origin)
            total += min(extent(tensor), whole) if origin else extent(tensor)
            self._touched.update(origin)
        for tensor in outputs:
            number = self._number(tensor)
            self._origins[number] = frozenset([number])
            self._touched.add(number)
            total += extent(tensor)
        self.fused_bytes[self.current] += total

    def _sources(self, number: int) -> frozenset[int]:
        """The written tensors that a tensor is made of; itself where it is written."""
        return self._origins.get(number, frozenset([number]))

    def _counted(self, tree: Any) -> list[Tensor]:
        tensors = [each for each in tree_leaves(tree) if isinstance(each, Tensor)]
        return [each for each in tensors if not self.numberless or lacks_numbers(each)]

    def _number(self, tensor: Tensor) -> int:
        """The number of the tensor's memory, which is registered when first met."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._numbers:
            self._next += 1
            self._numbers[key] = number = self._next
            self._sizes[number] = storage.nbytes()
            taken = -(-storage.nbytes() // self.granule) * self.granule
            self.held += taken
            if self.held > self.peak:
                self.peak, self.peak_phase = self.held, self.current
            weakref.finalize(storage, self._freed, key, number, taken)
        return self._numbers[key]

    def _held_for_a_moment(self, size: int) -> None:
        if self.held + size > self.peak:
            self.peak, self.peak_phase = self.held + size, self.current

    def _freed(self, key: int, number: int, taken: int) -> None:
        if self._numbers.get(key) == number:
            del self._numbers[key]
        self.held -= taken

    def _clear_phase(self) -> None:
        self._read: dict[int, int] = {}
        self._written: dict[int, int] = {}
        self._touched: set[int] = set()


# Of what segmentation networks use, the functions that autocast keeps in float32 on CUDA and not on
# a CPU (torch's "Autocast Op Reference"; a test compares the two), and the other way round.
FLOAT32_ON_CUDA = {
    *("interpolate", "layer_norm", "group_norm", "softmax", "log_softmax", "softmin", "softplus"),
    *("exp", "expm1", "log", "log1p", "log2", "log10", "pow", "__pow__", "rsqrt", "reciprocal"),
    *("sum", "cumsum", "logsumexp", "norm", "normalize", "cosine_similarity"),
}
READING = {"numpy", "__array__", "tolist", "cpu"}
FLOAT32_ON_CPU = {"max_unpool2d", "_max_unpool2d"}


class Stand(TorchFunctionMode):
    """Stands in for numbers and for a GPU, where a step is run on fake tensors of the CPU.

    casts   within autocast, types are those of CUDA

    Arrays that a loss asks of a tensor are zeros of its shape.
    """

    def __init__(self, *, casts: bool) -> None:
        super().__init__()
        self.casts = casts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in READING and lacks_numbers(args[0]):
            if name == "cpu":
                return args[0]
            kind = str(args[0].dtype).removeprefix("torch.")
            zeros = np.zeros(tuple(args[0].shape), kind)
            return zeros.tolist() if name == "tolist" else zeros
        if self.casts and torch.is_autocast_enabled("cpu"):
            if name in FLOAT32_ON_CUDA:
                args = [_in_float32(each) for each in args]
            if name in FLOAT32_ON_CPU:
                with torch.autocast("cpu", enabled=False):
                    return func(*args, **kwargs)
        return func(*args, **kwargs)


def extent(tensor: Tensor) -> int:
    """Bytes of memory a tensor covers, expanded dimensions once."""
    number = 1
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        if stride or length == 0:
            number *= length
    return number * tensor.element_size()


def lacks_numbers(tensor: Tensor) -> bool:
    """Whether a tensor is of shape and type alone."""
    return tensor.is_meta or isinstance(tensor, FakeTensor)


def _reorders(weight_OIHW: Tensor) -> bool:
    """Whether oneDNN wants another layout; that of 1x1 in float32 was seen to be taken as it is."""
    return weight_OIHW.shape[2:].numel() > 1 or weight_OIHW.dtype == torch.bfloat16


def _written_to(func: Any, args: Any, kwargs: Any) -> list[Any]:
    """What an operation changes in place, or fills as its output."""
    written = []
    for at, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            written.append(args[at] if at < len(args) else kwargs.get(argument.name))
    return written


def _in_float32(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16):
        return value.float()
    return value


# Where a mask selects and nobody knows how many: all are selected, the most it can be.


def _places(mask: Tensor) -> Tensor:
    return mask.new_empty((mask.numel(), mask.ndim), dtype=torch.int64)


def _selected(tensor: Tensor, mask: Tensor) -> Tensor:
    return tensor.new_empty((torch.broadcast_tensors(tensor, mask)[0].numel(),))


def _numbered(tensor: Tensor, indices: Any, *others: Any) -> tuple[Any, ...]:
    """Masks among the indices become the places they select."""
    numbered: list[Tensor | None] = []
    for index in indices:
        if index is not None and index.dtype in (torch.bool, torch.uint8):
            numbered += list(_places(index).unbind(1))
        else:
            numbered.append(index)
    return (tensor, numbered, *others)


SELECTING = {
    aten.nonzero.default: _places,
    aten.masked_select.default: _selected,
    aten.index.Tensor: _numbered,
    aten.index_put.default: _numbered,
    aten.index_put_.default: _numbered,
    aten._index_put_impl_.default: _numbered,
}
