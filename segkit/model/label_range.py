"""Labels out of range: the one error for labels that are neither a class nor the ignored one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from segkit.errors import DataError


def labels_out_of_range(
    pixels: int,
    num_classes: int,
    ignore_index: int | None,
    *,
    labels: Iterable[float] = (),
    where: str = "",
    pixel: Sequence[int] = (),
) -> DataError:
    """DataError SK-D012 for so many pixels, in truth or prediction, whose label is no class.

    labels   the labels found, where they are known
    where    the file or sample that holds them, where it is known
    pixel    (row, column) of the first of them in it, from 0, where it is known
    """
    found = sorted(set(labels))[:5]
    said = "a label that is"
    if found:
        listed = ", ".join(f"{label:g}" for label in found)
        said = f"label {listed}, which is" if len(found) == 1 else f"labels {listed}, which are"
    holds = "pixel holds" if pixels == 1 else "pixels hold"
    ignored = "no label is ignored"
    if ignore_index is not None:
        ignored = f"not the ignored label ({ignore_index})"
    label = f"{found[0]:g}" if found else "LABEL"
    first = ""
    if len(pixel):
        one = "It" if pixels == 1 else "The first"
        first = f" {one} lies in row {pixel[0]}, column {pixel[1]} (from 0)."
    return DataError(
        "SK-D012",
        f"{f'{where}: ' if where else ''}{pixels:,} {holds} {said} none of the {num_classes} "
        f"classes (0 to {num_classes - 1}) and {ignored}.{first}",
        f"Ignore it: --label-mapping '{{{label}: ignore}}', or say which class it is: "
        f"--label-mapping '{{{label}: 0}}'. In the data's own data.yaml, `label_mapping: "
        f"{{{label}: ignore}}` says the same.",
    )
