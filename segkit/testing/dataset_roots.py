"""A folder of data for the checks of a data set, filled by the author's `make_root`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from segkit.data.capabilities import splits_of
from segkit.testing.subject import Check, NotApplicable, Subject

Claim = Callable[[Subject, Path], None]


def on_a_root(claim: Claim) -> Check:
    """The check of a claim about data in a folder, which is made for it and removed again."""

    @wraps(claim)
    def check(subject: Subject) -> None:
        with root_of(subject) as root:
            claim(subject, root)

    return check


@contextmanager
def root_of(subject: Subject) -> Iterator[Path]:
    if subject.make_root is None:
        raise NotApplicable(
            "give conformance(make_root=...) a function that fills a folder with data"
        )
    with tempfile.TemporaryDirectory(prefix="segkit-conformance-") as folder:
        subject.make_root(Path(folder))
        yield Path(folder)


def build(subject: Subject, root: Path, split: str = "train") -> Any:
    return subject.build(root=root, split=split)


def every_split(subject: Subject, root: Path) -> list[Any]:
    """Every split that the data set says it has; a published one may keep its test back."""
    return [build(subject, root, split) for split in splits_of(build(subject, root))]
