"""What makes a run the run that it is: settings, data, parts, threads and releases.

Every checkpoint holds it, so that a run which goes on is the same run, or says what differs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from segkit.config import CHANGEABLE, TrainConfig
from segkit.errors import UsageError
from segkit.model.network import SegmentationModel
from segkit.training.preparation.setup import Setup
from segkit.version import __version__

# Settings that leave the network as it is: where things lie, and what is written when. That the
# data are the same is seen by their contents.
FREE = (
    "data",
    "out",
    "plugins",
    "cache",
    "samples",
    "samples_every",
    "logger",
    "checkpoint_steps",
    "checkpoint_minutes",
    "timeout",
)
# What a run with --minutes changes itself under way, and writes before the checkpoint after it.
PLANNED = ("earlier_plans",)
TRAINED_ON = ("train", "val")
SHOWN = 3

Samples = list[tuple[str, str]]


class _Samples(RootModel[dict[str, Samples]]):
    """The content of data.json: by split, [id, digest] of each sample, in order."""


class Identity(BaseModel):
    """What a checkpoint remembers of the run that wrote it.

    config    every setting but the free ones, decided
    data      what is declared of them: classes, palette, ignored label, channels, black and white
    samples   by split, SHA-256 of its list of samples and of their contents
    parts     each component with distribution and version
    device    cpu, cuda or mps
    threads   that torch computes with on a CPU: another number adds up in another order
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    config: dict[str, Any]
    data: dict[str, Any]
    samples: dict[str, str]
    parts: dict[str, str]
    device: str
    threads: int | None = Field(ge=1)
    torch: str
    segkit: str


def identity_of(setup: Setup) -> Identity:
    """Of a training that is set up."""
    device = setup.group.device.type
    return Identity(
        config=_settings(setup),
        data=_declared(setup),
        samples={split: _hash(listed) for split, listed in samples_of(setup).items()},
        parts=_parts(setup.model),
        device=device,
        threads=torch.get_num_threads() if device == "cpu" else None,
        torch=torch.__version__,
        segkit=__version__,
    )


def as_planned(identity: Identity, setup: Setup) -> Identity:
    """The identity of a training whose length has changed since."""
    return identity.model_copy(update={"config": _settings(setup)})


def _settings(setup: Setup) -> dict[str, Any]:
    return setup.written_config.model_dump(exclude=set(FREE))


def samples_of(setup: Setup) -> dict[str, Samples]:
    """By split that is trained on or scored: [id, digest] of each sample, in order."""
    contents = setup.data.contents
    return {split: list(contents[split]) for split in TRAINED_ON if split in contents}


def changed_settings(
    before: Identity, given: Sequence[str], config: TrainConfig
) -> tuple[list[str], list[str]]:
    """A sentence for each setting that makes it another run, and for each that may differ.

    given   the settings that the run's file holds, and those that were given with --resume
    """
    written = TrainConfig.model_fields if before.segkit == __version__ else before.config
    lost = [key for key in written if key not in given]
    other: list[str] = []
    allowed: list[str] = []
    if lost:
        other.append(f"config.yaml lacks {_some(lost)}: it was cut short")
    for key, value in config.model_dump().items():
        if key in lost or key not in before.config or value == before.config[key]:
            continue
        sentence = f"{key} is {word(value)} and was {word(before.config[key])}"
        (allowed if key in (*CHANGEABLE, *PLANNED) else other).append(sentence)
    return other, allowed


def other_changes(before: Identity, processes: int, setup: Setup, samples_list: Path) -> list[str]:
    """A sentence for each difference in data, parts, threads and releases.

    processes      that trained it before: with another number now, threads say nothing
    samples_list   what the run wrote of its samples
    """
    now = identity_of(setup)
    return [
        *_changed_data(before, now, setup, samples_list),
        *(
            f"the {kind} is {part} and was {before.parts.get(kind)}"
            for kind, part in now.parts.items()
            if part != before.parts.get(kind)
        ),
        *(_changed_threads(before, now) if processes == setup.group.world_size else ()),
        *(
            f"{what} is {is_} and was {was}"
            for what, is_, was in (
                ("torch", now.torch, before.torch),
                ("segkit", now.segkit, before.segkit),
            )
            if is_ != was
        ),
    ]


def _changed_threads(before: Identity, now: Identity) -> list[str]:
    if None in (before.threads, now.threads) or before.threads == now.threads:
        return []
    return [
        f"torch computes with {_threads(now.threads or 1)} and did with {before.threads} "
        f"(OMP_NUM_THREADS={before.threads} gives it as many)"
    ]


def _changed_data(before: Identity, now: Identity, setup: Setup, samples_list: Path) -> list[str]:
    found = [
        f"the data's {key} is {word(value)} and was {word(before.data.get(key))}"
        for key, value in now.data.items()
        if value != before.data.get(key)
    ]
    known = _listed(samples_list)
    for split, listed in samples_of(setup).items():
        if now.samples[split] == before.samples.get(split):
            continue
        old = known.get(split)
        if old is None or _hash(old) != before.samples.get(split):
            found.append(f"the samples of {split} are others than they were")
        else:
            found += _changed_samples(split, old, listed)
    found += [
        f"there is no split {split} any more" for split in before.samples.keys() - now.samples
    ]
    return found


def refuse_another_run(folder: Path, differences: Sequence[str]) -> None:
    """Raises UsageError SK-C014 where there are any."""
    if differences:
        raise UsageError(
            "SK-C014",
            f"{folder} cannot go on as the run that it was:\n" + "\n".join(differences),
            f"Put it back as it was; or go on as another run: "
            f"segkit train --resume {folder} --force",
        )


def _declared(setup: Setup) -> dict[str, Any]:
    data = setup.data
    plain = {
        "classes": data.classes,
        "palette": data.palette,
        "ignore_index": data.ignore_index,
        "in_channels": data.in_channels,
        "intensity": data.intensity.record(),
        "reading": data.reading.record(),
        "rule for labels": data.rule,
    }
    # As JSON gives it back.
    declared: dict[str, Any] = json.loads(json.dumps(plain))
    return declared


def _parts(model: SegmentationModel) -> dict[str, str]:
    record = model.record
    three = {"encoder": record.encoder, "decoder": record.decoder, "upsampler": record.upsampler}
    return {kind: f"{p.distribution} {p.version}: {p.expression}" for kind, p in three.items()}


def _changed_samples(split: str, old: Samples, new: Samples) -> list[str]:
    before, now = dict(old), dict(new)
    found = []
    for what, names in (
        ("added to", [name for name in now if name not in before]),
        ("removed from", [name for name in before if name not in now]),
    ):
        if names:
            found.append(f"{_count(names)} {what} {split}: {_some(names)}")
    changed = [name for name in now if name in before and now[name] != before[name]]
    if changed:
        found.append(f"{_count(changed)} of {split} with other pixels or labels: {_some(changed)}")
    kept = [name for name, _ in new if name in before]
    if kept != [name for name, _ in old if name in now]:
        found.append(f"the images of {split} come in another order")
    # Where two samples have one name.
    return found or [f"the samples of {split} are others than they were"]


def _listed(file: Path) -> Mapping[str, Samples]:
    """The list that the run wrote; what cannot be read names nothing."""
    try:
        return _Samples.model_validate_json(file.read_bytes()).root
    except (OSError, ValidationError):
        return {}


def _hash(listed: Samples) -> str:
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _count(names: Sequence[str]) -> str:
    return "1 image" if len(names) == 1 else f"{len(names):,} images"


def _threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


def word(value: Any) -> str:
    """As config.yaml writes it."""
    return "null" if value is None else str(value)
