"""Checks of what a data set's samples hold, read twice and in a second process."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from segkit.data.capabilities import splits_of
from segkit.interfaces import Sample
from segkit.registry.components import default_registry
from segkit.testing.dataset_roots import build, every_split, on_a_root
from segkit.testing.second_process import in_a_second_process
from segkit.testing.subject import Check, Subject, require

AS_GIVEN = "as given"


WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    AS_GIVEN: lambda mask_HW: mask_HW,
    "upside down": lambda mask_HW: mask_HW[::-1],
    "left to right": lambda mask_HW: mask_HW[:, ::-1],
    "upside down and left to right": lambda mask_HW: mask_HW[::-1, ::-1],
}


@on_a_root
def reading_repeats(subject: Subject, root: Path) -> None:
    """Every index gives the same image, mask and id again, also after a caller has changed what it
    got in place, which it can.

    Mend: read the file in __getitem__, or give copies (array.copy()) of what you keep: a read-only
    view or a shared array is no sample of the caller's own.
    """
    for dataset in every_split(subject, root):
        first = [_kept(dataset[index], change=True) for index in range(len(dataset))]
        second = [_kept(dataset[index]) for index in range(len(dataset))]
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            different = [part for part in one if one[part] != other[part]]
            require(
                not different,
                f"read again, and after a caller changed the first, sample {index} has another "
                f"{' and another '.join(different)}",
            )


@on_a_root
def splits_differ(subject: Subject, root: Path) -> None:
    """Two splits hold different samples: `split` is not ignored.

    Mend: read the files of that split. Where the data set does, let make_root draw other pictures
    in every split.
    """
    names = splits_of(build(subject, root))
    read = {name: _digests(build(subject, root, name)) for name in names}
    for one, other in combinations(names, 2):
        require(
            sorted(read[one].values()) != sorted(read[other].values()),
            f"the splits {one} and {other} hold the very same {len(read[one])} samples",
        )


@on_a_root
def masks_belong_to_their_images(subject: Subject, root: Path) -> None:
    """Every image has a mask of its own, the right way round: mirrored masks do not fit the images'
    colours much better, and different images do not all have one mask.

    Mend: turn image and mask alike, and read the mask whose name is the image's. Where the data set
    does, let make_root draw pictures in which every class has a colour of its own.
    """
    fits = dict.fromkeys(WAYS, 0.0)
    pairs = 0
    for dataset in every_split(subject, root):
        samples = [dataset[index] for index in range(len(dataset))]
        labelled = [s for s in samples if s.mask is not None and s.mask.min() != s.mask.max()]
        for sample in labelled:
            pairs += 1
            for name, turn in WAYS.items():
                fits[name] += _explained(sample.image, turn(sample.mask))
        masks, images = ({_hash(part(s)) for s in labelled} for part in (_mask, _image))
        alike = len(labelled) > 1 and len(images) > 1 and len(masks) == 1
        require(not alike, f"{len(labelled)} different images have one and the same mask")
    if not pairs:
        return
    best = max(fits, key=lambda name: fits[name])
    mean, as_given = fits[best] / pairs, fits[AS_GIVEN] / pairs
    require(
        mean < 0.5 or mean < as_given + 0.25,
        f"the masks explain {as_given:.0%} of the images' colours, and {mean:.0%} when {best}",
    )


@on_a_root
def travels_to_worker_processes(subject: Subject, root: Path) -> None:
    """In a real second process, its pickled copy and one that is built there give every sample of
    every split as here, in the same order.

    Mend: sort what you list (sorted(folder.glob("*")), never a set: texts have another hash in each
    process), and keep no lambda, open file or locally defined class in an attribute.
    """
    for split in splits_of(build(subject, root)):
        dataset = build(subject, root, split)
        here = _digests(dataset)
        written = (subject.kind, str(subject.expression))
        copied = in_a_second_process(_digests, dataset)
        built = in_a_second_process(_built_digests, _factory(subject), written, root, split)
        for label, there in (("its pickled copy", copied), ("built there", built)):
            require(
                list(there) == list(here),
                f"in a second process, {label}, the first ids are {list(there)[:4]}, and here "
                f"{list(here)[:4]}",
            )
            other = [name for name in here if there[name] != here[name]]
            require(not other, f"in a second process, {label}, it reads {other[:4]} otherwise")


SAMPLE_CHECKS: tuple[Check, ...] = (
    reading_repeats,
    splits_differ,
    masks_belong_to_their_images,
    travels_to_worker_processes,
)


def _kept(sample: Any, change: bool = False) -> dict[str, str]:
    """What tells a sample from others, by part; then changes the sample in place, if asked to."""
    parts = {"image": sample.image, "mask": sample.mask, "instances": sample.instances}
    kept = {"id": str(sample.id)}
    for name, array in parts.items():
        kept[name] = "" if array is None else _hash(array)
        if change and array is not None:
            require(array.flags.writeable, f"the {name} of {sample.id} is read-only")
            array[...] = 1 - array
    return kept


def _digests(dataset: Any) -> dict[str, str]:
    """What every sample holds, by id, in the order of the index; here or in another process."""
    samples = (dataset[index] for index in range(len(dataset)))
    return {str(each.id): _hash(each.image, each.mask, each.instances) for each in samples}


def _factory(subject: Subject) -> Any:
    """The call that builds it, where it can be pickled: else it is looked up by its name."""
    component = subject.component
    call = partial(component.factory, **component.values)
    try:
        pickle.dumps(call)
    # Pickling runs the component's own methods, which may raise anything.
    except Exception:
        return None
    return call


def _built_digests(
    factory: Any, written: tuple[str, str], root: Path, split: str
) -> dict[str, str]:
    if factory is None:
        return _digests(default_registry().component(*written).build(root=root, split=split))
    return _digests(factory(root=root, split=split))


def _hash(*arrays: np.ndarray | None) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        if array is not None:
            digest.update(str((array.dtype, array.shape)).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _image(sample: Sample) -> np.ndarray:
    return sample.image


def _mask(sample: Sample) -> np.ndarray:
    assert sample.mask is not None
    return sample.mask


def _explained(image_HWC: np.ndarray, mask_HW: np.ndarray) -> float:
    """The share of the colours' variance that lies between the labels, from 0 to 1."""
    image_NC = image_HWC.reshape(-1, image_HWC.shape[2]).astype(np.float64)
    label_N = mask_HW.reshape(-1)
    total = image_NC.var(axis=0).sum()
    within = sum(
        image_NC[label_N == label].var(axis=0).sum() * (label_N == label).mean()
        for label in np.unique(label_N)
    )
    return float(1 - within / total) if total > 0 else 0.0
