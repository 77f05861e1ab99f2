"""Short names for a benchmark's cases: what they have in common is said once."""

from __future__ import annotations

from collections.abc import Sequence

from segkit.bench.records import Case


def shared_and_own(cases: Sequence[Case]) -> tuple[str, dict[str, str]]:
    """What all cases share, in words, and by case name what only some of them have.

    A case with nothing of its own keeps what is measured; two that would read alike their names.
    """
    words = {case.name: _words(case) for case in cases}
    every = list(words.values())
    shared = [word for word in every[0] if all(word in other for other in every)] if every else []
    own = {
        name: ", ".join(word for word in these if word not in shared) or (these or [name])[0]
        for name, these in words.items()
    }
    if len(set(own.values())) < len(own):
        own = {name: name for name in own}
    return ", ".join(shared), own


def _words(case: Case) -> list[str]:
    task = [] if case.task in ("network", "benchmark") else [case.task]
    parts = (case.benchmark, case.encoder, case.decoder, case.upsampler, case.loss, case.data)
    # A part's name can stand in two places: unet as encoder and as decoder.
    places = ("", "", "decoder ", "", "", "")
    named = [place + part for place, part in zip(places, parts, strict=True) if part]
    settings = case.name.removeprefix(f"{case.task}: ").removeprefix(case.network)
    return task + named + [word for word in settings.split(", ") if word]
