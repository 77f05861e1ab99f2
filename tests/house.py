"""Reads who imports whom in a copy of segkit: the measuring half of test_architecture.py."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path

# From the ground up. A file imports from its own room and from the floors below.
FLOORS = (
    ("version", "kinds", "errors"),
    ("interfaces",),
    ("hookspecs",),
    ("config", "storage", "device"),
    ("distributed",),
    ("registry",),
    ("reporting",),
    ("model",),
    ("separation",),
    ("cpu",),
    ("data",),
    ("inference",),
    ("scoring",),
    ("recipes",),
    ("training",),
    ("importers", "describe", "export", "launchers"),
    ("bench", "sweep"),
    ("scaffold", "testing"),
    ("api",),
    ("cli",),
    ("__init__", "__main__"),
)
# Large rooms have shelves, and those have floors too. "*": the files that are not named, of which
# none imports another.
SHELVES = {
    "bench": (
        ("records",),
        ("suites", "comparison", "limits", "instruments", "display"),
        ("workloads", "pages"),
        ("worker", "runner"),
        ("order", "results_folder", "quality"),
        ("benchmark",),
        ("shared", "export_speed"),
    ),
    "cli": (("options", "mistakes"), ("running",), ("subcommands",), ("main",), ("*",)),
    "data": (
        ("findings", "stored", "intensity", "capabilities", "sample_order"),
        ("files",),
        ("setting_values",),
        ("settings",),
        ("options",),
        ("masks",),
        ("layouts",),
        ("opening", "augmentation", "batches", "workers"),
        ("loader", "checks", "conversion", "fetching"),
    ),
    "training": (
        ("checkpoint", "optimization", "monitoring", "signals"),
        ("preparation",),
        ("resuming",),
        ("loop",),
        ("run",),
        ("rehearsal", "continuing"),
        ("training",),
        ("cross_validation", "smoke"),
        ("by_keywords",),
    ),
}
# Files that import what they compute the name of: a plugin's module, or one of a list beside it.
COMPUTED = {
    "__init__.py",
    "api.py",
    "bench/worker/main.py",
    "cli/bench_command.py",
    "cli/main.py",
    "describe/doctor.py",
    "registry/components.py",
    "testing/conformance.py",
}
IMPORTERS = {"import_module", "__import__"}


def floors(rows: tuple[tuple[str, ...], ...]) -> Mapping[str, int]:
    return {name: number for number, row in enumerate(rows) for name in row}


def floor_of(name: str, known: Mapping[str, int]) -> int:
    return known[name if name in known else "*"]


@dataclass(frozen=True)
class House:
    """segkit as it lies in a folder: every module, and the modules that each one imports."""

    folder: Path

    @cached_property
    def modules(self) -> Mapping[str, Path]:
        """Files by dotted name: "segkit.model.network"; a package goes by its own name."""
        found = {}
        for path in sorted(self.folder.rglob("*.py")):
            parts = path.relative_to(self.folder.parent).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
        return found

    @cached_property
    def imports(self) -> Mapping[str, frozenset[str]]:
        """What each module imports, wherever it stands in it: for types only, too."""
        found = {}
        for name, path in self.modules.items():
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            named, texts = _named(path.read_text(), name, package)
            modules = {self._module(each) for each in named}
            modules |= {self._module(each) for each in texts if self._is_module(each)}
            found[name] = frozenset(modules)
        return found

    def place(self, module: str) -> tuple[str, ...]:
        """The rooms that lead to a module: ("data", "files", "masks"); ("__init__",) of segkit."""
        return tuple(module.split(".")[1:]) or ("__init__",)

    def upward(self) -> list[str]:
        """Every import of a room that does not lie below, as "who -> whom"."""
        wrong = []
        rooms = floors(FLOORS)
        for module, imported in self.imports.items():
            for other in sorted(imported):
                here, there = self.place(module), self.place(other)
                known = rooms
                same = here[0] == there[0] and len(here) > 1 and len(there) > 1
                if same and here[0] in SHELVES:
                    known, here, there = floors(SHELVES[here[0]]), here[1:], there[1:]
                if here[0] != there[0] and floor_of(there[0], known) >= floor_of(here[0], known):
                    wrong.append(f"{module} -> {other}")
        return wrong

    def circles(self) -> list[list[str]]:
        """Groups of files each of which leads to every other by imports."""
        return [sorted(group) for group in _knots(self.imports) if len(group) > 1]

    def computed(self) -> list[str]:
        """Files that import by a computed name and are not listed for it."""
        found = []
        for path in self.modules.values():
            file = path.relative_to(self.folder).as_posix()
            calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
            named = [c for c in calls if _called(c) in IMPORTERS]
            if file not in COMPUTED and any(not _is_text(c.args[:1]) for c in named):
                found.append(file)
        return found

    def _module(self, dotted: str) -> str:
        """The longest part of a dotted name that is a module."""
        while dotted not in self.modules:
            dotted = dotted.rpartition(".")[0]
        return dotted

    def _is_module(self, text: str) -> bool:
        """Whether a string names one, or begins an f-string that does."""
        return text.rstrip(".") in self.modules


@cache
def _named(source: str, module: str, package: str) -> tuple[frozenset[str], frozenset[str]]:
    """(dotted names that a source imports, strings in it that may name a module)."""
    tree = ast.parse(source)
    named, bound = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named |= {a.name for a in node.names if a.name.split(".")[0] == "segkit"}
            bound |= {a.asname or "segkit" for a in node.names if a.name == "segkit"}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            if base.split(".")[0] == "segkit":
                named |= {f"{base}.{alias.name}" for alias in node.names}
    texts = {text for text in _texts(tree) if text.rstrip(".") not in ("segkit", package)}
    if "." in module:
        texts |= {"segkit" for name in _attributes_of(tree) if name in bound}
    return frozenset(named), frozenset(texts)


def _texts(tree: ast.Module) -> Iterator[str]:
    """Strings that begin with "segkit", but prose and modules that start in another process."""
    left_out = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    left_out |= {id(n) for n in _started(tree)}
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and text.startswith("segkit.") and id(node) not in left_out:
            yield text


def _attributes_of(tree: ast.Module) -> Iterator[str]:
    """Names of which an attribute is taken: `segkit` in segkit.build_model."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = ".".join(parts[: len(parts) - node.level + 1])
    return f"{base}.{node.module}" if node.module else base


def _started(tree: ast.Module) -> Iterator[ast.expr]:
    """Modules behind "-m" in a command line: they run in a process of their own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.List):
            for flag, name in pairwise(node.elts):
                if isinstance(flag, ast.Constant) and flag.value == "-m":
                    yield name


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _is_text(arguments: list[ast.expr]) -> bool:
    """A whole name that _by_text sees; a relative one it would not."""
    (name,) = arguments or [None]
    return (
        isinstance(name, ast.Constant)
        and isinstance(name.value, str)
        and not name.value.startswith(".")
    )


def _knots(graph: Mapping[str, frozenset[str]]) -> list[list[str]]:
    """Strongly connected components, after Tarjan 1972 (doi:10.1137/0201010)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    knots: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            place = stack.index(node)
            knots.append(stack[place:])
            del stack[place:]

    for node in graph:
        if node not in index:
            visit(node)
    return knots
