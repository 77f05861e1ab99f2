"""What is found wrong or odd in a data set: all of it, grouped by kind, never only the first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segkit.errors import DataError, SegkitError, StorageError, nearest, visible

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Finding:
    """One thing found.

    code   of segkit.errors.CODES
    what   the fact, a sentence with the files' names and values
    fix    what to do about it
    files  all files concerned, also those that `what` does not name
    level  "error" (nothing is trained on it) or "warning"
    alone  each of its files is a sample at fault by itself, which can be left out
    """

    code: str
    what: str
    fix: str = ""
    files: tuple[Path, ...] = ()
    level: str = ERROR
    alone: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "what", visible(self.what))
        object.__setattr__(self, "fix", visible(self.fix))


def no_folder(wanted: Path) -> DataError:
    """SK-D001 for a path that is not there, with what lies beside it."""
    near = nearest(wanted.name, (each.name for each in _folders_beside(wanted)))
    meant = f"Did you mean {wanted.with_name(near[0])}?" if near else "Check the path."
    absolute = "" if wanted.is_absolute() else f" (looked for at {wanted.resolve()})"
    return DataError("SK-D001", f"there is no folder {wanted}{absolute}.", meant)


def _folders_beside(wanted: Path) -> Iterable[Path]:
    try:
        return [each for each in wanted.resolve().parent.iterdir() if each.is_dir()]
    except OSError:
        return []


def from_error(error: SegkitError, *files: Path) -> Finding:
    return Finding(error.code, error.what, error.fix, files)


def by_code(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """The findings of each code, in the order in which the codes first appear."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.code, []).append(finding)
    return groups


def lines_of(alike: Sequence[Finding], shown: int) -> list[str]:
    """What the findings of one code say, the first few in full."""
    lines = [line for finding in alike[:shown] for line in finding.what.splitlines()]
    if len(alike) > shown:
        lines.append(f"… and {len(alike) - shown} more like these.")
    return lines


def fixes_of(alike: Sequence[Finding], shown: int = 3) -> list[str]:
    """The different repairs proposed."""
    return list(dict.fromkeys(finding.fix for finding in alike if finding.fix))[:shown]


def as_error(findings: Sequence[Finding], shown: int = 5) -> SegkitError | None:
    """One error that tells all findings of level "error", or None where there are none."""
    errors = [finding for finding in findings if finding.level == ERROR]
    if not errors:
        return None
    groups = by_code(errors).values()
    lines = [line for alike in groups for line in lines_of(alike, shown)]
    fixes = [fix for alike in groups for fix in fixes_of(alike)]
    kind = StorageError if errors[0].code == "SK-D018" else DataError
    return kind(errors[0].code, "\n".join(lines), "\n".join(dict.fromkeys(fixes)))
