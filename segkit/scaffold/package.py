"""Writes a new plugin package: a small component that works, its metadata, its tests."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

from segkit.errors import StorageError, UsageError
from segkit.hookspecs import HOOKS
from segkit.registry.index import Index, a, canonical, checked_kind, singular
from segkit.storage import new_folder
from segkit.version import __version__

TEMPLATES = Path(__file__).parent / "templates"
# An entry point's name that is also, after "segkit-", a distribution's, which ends in no mark.
GOOD_NAME = r"[a-z0-9]([a-z0-9_.-]*[a-z0-9])?"
RULE = (
    "A name has lower-case letters, digits, '_', '.' and '-', and begins and ends with a letter "
    "or a digit, such as 'tiny' or 'resnet18-dilated'."
)
# What the example of each kind needs beyond segkit-core and torch.
REQUIREMENTS = {"datasets": ("numpy", "pillow")}

FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "LICENSE": "LICENSE",
    ".gitignore": "gitignore",
    "CHANGELOG.md": "CHANGELOG.md",
    ".github/workflows/test.yml": "workflow.yml",
    ".github/workflows/release.yml": "release.yml",
    "src/{module}/__init__.py": "{kind}.py",
    "src/{module}/py.typed": "py.typed",
    "tests/test_{module}.py": "test_{kind}.py",
}


@dataclass(frozen=True)
class PluginNames:
    """Every form that a plugin's name takes.

    name          of the component: tiny-net
    distribution  what pip installs: segkit-tiny-net
    module        what Python imports: segkit_tiny_net
    title         the class's name: TinyNet
    """

    kind: str
    name: str
    distribution: str
    module: str
    title: str

    @classmethod
    def of(cls, kind: str, name: str) -> PluginNames:
        """Raises UsageError SK-C002 (no such kind) or SK-C009 (an ill-formed name)."""
        kind = checked_kind(kind)
        if re.fullmatch(GOOD_NAME, name) is None:
            raise UsageError("SK-C009", f"'{name}' cannot name {a(singular(kind))}.", RULE)
        distribution = canonical(f"segkit-{name}")
        title = "".join(part.capitalize() for part in re.split(r"[_.-]+", name))
        if title[0].isdigit():
            title = f"The{title}"
        return cls(kind, name, distribution, distribution.replace("-", "_"), title)


def write_plugin(kind: str, name: str, parent: Path, index: Index | None = None) -> Path:
    """Writes the package into a new folder below `parent`, whole or not at all; returns the folder.

    index   what is installed, so that a name that is taken is refused
    Raises UsageError SK-C002, SK-C009; StorageError SK-S002.
    """
    names = PluginNames.of(kind, name)
    folder = parent / names.distribution
    _refuse_taken(names, folder, index if index is not None else Index.of_installed())
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with new_folder(folder) as work:
            for file, text in _rendered(names).items():
                (work / file).parent.mkdir(parents=True, exist_ok=True)
                (work / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            "SK-S002",
            f"{folder} cannot be written ({error.strerror}).",
            "Choose another folder with --out DIR.",
        ) from error
    return folder


def _refuse_taken(names: PluginNames, folder: Path, index: Index) -> None:
    kind = singular(names.kind)
    if folder.exists() or folder.is_symlink():
        raise UsageError(
            "SK-C009",
            f"{folder} exists already.",
            "Choose another name, or another folder with --out DIR; nothing is ever overwritten.",
        )
    if names.distribution in index.distributions():
        raise UsageError(
            "SK-C009",
            f"a distribution called {names.distribution} is installed already.",
            "Choose another name.",
        )
    twins = [e for e in index.of_kind(names.kind) if e.name == names.name]
    if twins:
        raise UsageError(
            "SK-C009",
            f"{twins[0].distribution} offers {a(kind)} called '{names.name}' already.",
            "Choose another name: with two of them, every user would have to say which.",
        )


def _rendered(names: PluginNames) -> dict[str, str]:
    kind = singular(names.kind)
    needs = "".join(f'  "{each}",\n' for each in REQUIREMENTS.get(names.kind, ()))
    values = asdict(names) | {
        "group": f"segkit.{names.kind}",
        "hook": HOOKS[names.kind],
        "kind": kind,
        "a_kind": a(kind),
        "kinds": names.kind,
        "requirements": needs,
        "core": f">={_minor(0)},<{_minor(1)}",
        "oldest": _minor(0),
    }
    return {
        file.format(module=names.module): Template(
            (TEMPLATES / f"{template.format(kind=kind)}.template").read_text(encoding="utf-8")
        ).substitute(values)
        for file, template in FILES.items()
    }


def _minor(further: int) -> str:
    """The minor version of this segkit, or one after it: what may change a contract."""
    major, minor = __version__.split(".")[:2]
    return f"{major}.{int(minor) + further}"
