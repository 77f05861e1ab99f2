"""Checks of where an encoder's weights come from."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from segkit.errors import SegkitError
from segkit.interfaces import EncoderTraits
from segkit.testing.imports import recorded_connections
from segkit.testing.subject import Check, NotApplicable, Subject, require


def published_weights_name_their_licence(subject: Subject) -> None:
    """What it declares as published has a repository, a licence and an address.

    Mend: give load_encoder_weights published=PublishedWeights("owner/repository",
    licence="...").
    """
    published = EncoderTraits.of(subject.build(in_channels=3, weights="none")).published_weights
    if published is None:
        raise NotApplicable("has no published weights")
    for name in ("repository", "licence", "address"):
        text = getattr(published, name, None)
        require(isinstance(text, str) and bool(text), f"published_weights.{name} is {text!r}")


def missing_weights_file_is_refused(subject: Subject) -> None:
    """A weights file that does not exist is an error of segkit's own, not a random start.

    Mend: end __init__ with segkit.api.load_encoder_weights(self, weights, published=None).
    """
    try:
        subject.build(in_channels=3, weights="no/such/file.safetensors")
    except SegkitError as error:
        _require_own(error)
    else:
        require(False, "it was built from a weights file that does not exist")


def weights_file_is_loaded_whole(subject: Subject) -> None:
    """A weights file with nothing of its own is refused. One with its state dict is loaded to the
    last tensor, and refused where a tensor lacks or has another shape.

    Mend: load with segkit.api.load_encoder_weights, or with load_state_dict(strict=True), whose
    error becomes a ModelFileError.
    """
    torch.manual_seed(1)
    encoder = subject.build(in_channels=3, weights="none")
    state = {name: each.contiguous().clone() for name, each in encoder.state_dict().items()}
    parameters = [name for name, _ in encoder.named_parameters()]
    if not parameters:
        raise NotApplicable("it has no parameters")
    found = _loaded_from(subject, {"something.else": torch.zeros(1)})
    require(found is None, "it was built from a weights file with none of its tensors")
    torch.manual_seed(2)
    loaded = _loaded_from(subject, state)
    if loaded is None:
        raise NotApplicable("its weights files are named otherwise than its state dict")
    other = [name for name in parameters if not torch.equal(loaded[name], state[name])]
    require(
        not other, f"of a weights file, {len(other)} tensors are not loaded, such as {other[:1]}"
    )
    lost = parameters[-1]
    lacking = {name: each for name, each in state.items() if name != lost}
    for label, tensors in (
        (f"that lacks '{lost}'", lacking),
        (f"with '{lost}' in another shape", state | {lost: torch.zeros(7, 5)}),
    ):
        found = _loaded_from(subject, tensors)
        require(found is None, f"it was built from a weights file {label}")


def imagenet_weights_are_never_random(subject: Subject) -> None:
    """weights="imagenet" gives published weights, the same every time, or an error that says why
    not: never a random start. No connection is there while this is asked.

    Mend: end __init__ with segkit.api.load_encoder_weights(self, weights, published=...): with
    published=None it refuses "imagenet", and says so to the user.
    """
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        try:
            with recorded_connections():
                encoder = subject.build(in_channels=3, weights="imagenet")
        except SegkitError as error:
            _require_own(error)
            return
        states.append(dict(encoder.named_parameters()))
    one, other = states
    random = [name for name in one if not torch.equal(one[name], other[name])]
    require(not random, f"with weights='imagenet', {len(random)} tensors are random: {random[:1]}")
    torch.manual_seed(2)
    plain = dict(subject.build(in_channels=3, weights="none").named_parameters())
    same = bool(one) and all(torch.equal(one[name], plain[name]) for name in one)
    require(not same, "weights='imagenet' gives what weights='none' gives")


WEIGHTS_CHECKS: tuple[Check, ...] = (
    published_weights_name_their_licence,
    missing_weights_file_is_refused,
    weights_file_is_loaded_whole,
    imagenet_weights_are_never_random,
)


def _loaded_from(subject: Subject, tensors: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """The state dict of an encoder built from a file with these tensors; None where it refuses."""
    with tempfile.TemporaryDirectory(prefix="segkit-conformance-") as folder:
        file = Path(folder) / "weights.safetensors"
        save_file(tensors, file)
        try:
            encoder = subject.build(in_channels=3, weights=str(file))
        except SegkitError as error:
            _require_own(error)
            return None
    loaded: dict[str, Tensor] = encoder.state_dict()
    return loaded


def _require_own(error: SegkitError) -> None:
    require(error.code != "SK-P003", f"the error is none of segkit's own: {error.what}")
