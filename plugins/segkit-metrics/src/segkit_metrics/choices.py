"""Options that name classes, checked when a metric is built."""

from __future__ import annotations

from collections.abc import Sequence

from segkit.api import UsageError


def counted_classes(
    name: str, classes: Sequence[int] | None, num_classes: int, ignore_index: int | None
) -> list[int]:
    """The option `classes`; all but the ignored one where not given.

    Raises UsageError SK-C006 for what is no class, and for the ignored one.
    """
    if classes is None:
        return [each for each in range(num_classes) if each != ignore_index]
    if ignore_index in classes:
        raise UsageError(
            "SK-C006",
            f"{name}: option 'classes' cannot be {list(classes)}: {ignore_index} is the ignored "
            "label.",
            "Leave it out: no pixel of it is scored.",
        )
    if not classes or any(not 0 <= each < num_classes for each in classes):
        raise UsageError(
            "SK-C006",
            f"{name}: option 'classes' cannot be {list(classes)} with {num_classes} classes.",
            f"Name at least one class from 0 to {num_classes - 1}.",
        )
    return sorted(set(classes))


def one_class(name: str, option: str, value: int, num_classes: int) -> int:
    """The class an option names; raises UsageError SK-C006 where there is none."""
    if 0 <= value < num_classes:
        return value
    raise UsageError(
        "SK-C006",
        f"{name}: option '{option}' cannot be {value} with {num_classes} classes.",
        f"Name a class from 0 to {num_classes - 1}.",
    )


def names_of_classes(name: str, names: Sequence[str] | None, num_classes: int) -> list[str]:
    """The option `class_names`, the classes' numbers where not given; raises UsageError SK-C006."""
    if names is None:
        return [str(index) for index in range(num_classes)]
    if len(names) != num_classes or len(set(names)) != num_classes:
        raise UsageError(
            "SK-C006",
            f"{name}: option 'class_names' cannot be {list(names)} with {num_classes} classes.",
            f"Give {num_classes} different names, one per class.",
        )
    return list(names)


def positive(name: str, option: str, value: float) -> None:
    """Raises UsageError SK-C006 where the option's value is not above 0."""
    if not 0 < value < float("inf"):
        raise UsageError(
            "SK-C006", f"{name}: option '{option}' cannot be {value}.", "It is a number above 0."
        )
