"""How a component of any kind behaves in the process that it is a guest of."""

from __future__ import annotations

import io
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
import torch

from segkit.testing.imports import SENTINEL_THREADS, process_state, recorded_connections
from segkit.testing.subject import Check, Subject, require

RANDOM = "random state"
DRAWN = "torch's random state"


@dataclass(frozen=True)
class Use:
    """The ordinary use of a component, of which nobody but its caller should notice anything.

    build   makes it anew
    run     what training or evaluation does with it, without gradient
    draws   whether running may draw random numbers
    """

    build: Callable[[], Any]
    run: Callable[[Any], Any]
    draws: bool = False


def opens_no_socket(use: Use) -> None:
    """Building it, without pretrained weights, and using it asks for no connection.

    Mend: leave downloads to weights="imagenet" (load_encoder_weights) and to `segkit data
    download`; a component that is built or called reads what is on the machine.
    """
    with recorded_connections() as asked:
        use.run(use.build())
    require(not asked, f"it asked for a connection to {', '.join(asked)}")


def prints_nothing(use: Use) -> None:
    """Building it and using it writes nothing to the terminal.

    Mend: remove the print; what a user must know is an error with its reason, and what a
    developer may want to know goes to logging.getLogger(__name__).
    """
    out, errors = io.StringIO(), io.StringIO()
    with (
        warnings.catch_warnings(),
        redirect_stdout(out),
        redirect_stderr(errors),
    ):
        warnings.simplefilter("ignore")
        use.run(use.build())
    for stream, text in (("stdout", out.getvalue()), ("stderr", errors.getvalue())):
        require(not text, f"it wrote {text[:80]!r} to {stream}")


def leaves_the_process_alone(use: Use) -> None:
    """Building and using it leaves dtype, device, threads, gradient mode, the backends' settings
    and random states as they were; building may draw from torch's generator, never seed it.

    Mend: draw in forward only `if self.training`; call no torch.manual_seed, random.seed,
    numpy.random.seed or torch.set_..., and set no torch.backends...: draw from a torch.Generator of
    your own, or leave it to the caller.
    """
    with _restored():
        ends = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            _require_same_state(use.build, "building it", may_change=DRAWN)
            ends.append(process_state()[DRAWN])
        require(ends[0] != ends[1], "building it seeds torch's random state")
        component = use.build()
        may_change = RANDOM if use.draws else None
        _require_same_state(lambda: use.run(component), "using it", may_change)


def conduct_checks(use_of: Callable[[Subject], AbstractContextManager[Use]]) -> tuple[Check, ...]:
    """The checks above of a kind whose components are used as `use_of` says."""

    def asked_of(claim: Callable[[Use], None]) -> Check:
        @wraps(claim)
        def check(subject: Subject) -> None:
            with use_of(subject) as use:
                claim(use)

        return check

    return tuple(map(asked_of, (opens_no_socket, prints_nothing, leaves_the_process_alone)))


def _require_same_state(
    action: Callable[[], Any], label: str, may_change: str | None = None
) -> None:
    before = process_state()
    action()
    after = process_state()
    changed = [
        name
        for name in before
        if after[name] != before[name] and not (may_change and may_change in name)
    ]
    require(not changed, f"{label} changes {', '.join(changed)}")


@contextmanager
def _restored() -> Iterator[None]:
    """Begins where a component that changes something is seen to do so, and ends as it began."""
    drawn, drawn_by_numpy = random.getstate(), np.random.get_state()
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    grad, exact = torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled()
    benchmark, precision = torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()
    random.seed(SENTINEL_THREADS)
    np.random.seed(SENTINEL_THREADS)
    torch.set_num_threads(SENTINEL_THREADS)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        random.setstate(drawn)
        np.random.set_state(drawn_by_numpy)
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        torch.use_deterministic_algorithms(exact)
        torch.backends.cudnn.benchmark = benchmark
        torch.set_float32_matmul_precision(precision)
