"""In which order a training sees its samples, and the random draws that each of them gets."""

from __future__ import annotations

import hashlib

import numpy as np


def steps_per_epoch(count: int, batch: int) -> int:
    """Batches that hold every one of so many images."""
    return -(-count // batch)


def sample_stream(count: int, seed: int, first: int, places: int) -> list[tuple[int, int]]:
    """(pass, index) of the samples from place `first` on, counted from the start of a training.

    The stream is one pass over the `count` images after the other, each a permutation of its own.
    """
    stream: list[tuple[int, int]] = []
    for number in range(first // count, -(-(first + places) // count)):
        order = np.random.default_rng([seed, number]).permutation(count).tolist()
        stream += [(number, index) for index in order]
    skipped = first % count
    return stream[skipped : skipped + places]


def start_again(rng: np.random.Generator, *key: int) -> None:
    """Puts a generator (of PCG64) at the start of the key's own stream.

    Making a generator takes five times as long, and every sample needs its own draws.
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=32).digest()
    # The increment of a PCG stream is odd (O'Neill 2014, HMC-CS-2014-0905).
    start, stream = int.from_bytes(digest[:16], "little"), int.from_bytes(digest[16:], "little") | 1
    rng.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": start, "inc": stream},
        "has_uint32": 0,
        "uinteger": 0,
    }
