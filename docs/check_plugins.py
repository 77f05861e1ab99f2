"""Checks every plugin of the directory in an environment of its own, and writes docs/directory.md.

    python docs/check_plugins.py                       against the segkit of this checkout
    python docs/check_plugins.py --index DIR           wheels of a folder instead of pip's index
    python docs/check_plugins.py --over-this           on top of what this Python has installed

Each gets a new virtual environment: segkit, the plugin, then `segkit plugins --check` there. Exit
status 1 where one that is not archived is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from segkit.registry.directory import LIFECYCLES, Listed, read_directory
from segkit.version import __version__

ROOT = Path(__file__).parents[1]
MINUTES = 30


@dataclass(frozen=True)
class Verdict:
    """What came of one plugin; `state` is ok, broken or not installed."""

    listed: Listed
    version: str
    state: str
    cause: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--directory", help="a file or URL; the one in segkit by default")
    parser.add_argument("--index", type=Path, help="a folder of wheels that pip takes them from")
    parser.add_argument("--core", default=str(ROOT), help="what pip installs segkit-core from")
    parser.add_argument("--over-this", action="store_true", help="see this Python's packages too")
    parser.add_argument("--jobs", type=int, default=2, help="plugins at a time")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "directory.md")
    given = parser.parse_args(arguments)
    pip = ["--no-index", f"--find-links={given.index.resolve()}"] if given.index else []
    core = None if given.over_this else given.core

    def verdict(listed: Listed) -> Verdict:
        with tempfile.TemporaryDirectory() as folder:
            return checked(listed, Path(folder) / "venv", core, pip)

    with ThreadPoolExecutor(max_workers=given.jobs) as pool:
        verdicts = list(pool.map(verdict, read_directory(given.directory)))
    beneath = " on top of what one Python has installed, torch among it" if given.over_this else ""
    given.out.write_text(table(verdicts, beneath), encoding="utf-8")
    for each in verdicts:
        sys.stdout.write(f"{each.listed.name} {each.version}: {each.state} {each.cause}\n")
    kept = [each for each in verdicts if each.listed.lifecycle != "archived"]
    return int(any(each.state != "ok" for each in kept))


def checked(listed: Listed, place: Path, core: str | None, pip: Sequence[str]) -> Verdict:
    """One plugin in a new environment at `place`.

    core   what segkit-core is installed from; None: this Python's packages serve, torch among them
    """
    venv.create(place, symlinks=True)
    python = str(place / ("Scripts" if os.name == "nt" else "bin") / "python")
    extra = ["--no-deps"] if core is None else []
    if core is None:
        [site] = place.glob("lib/python*/site-packages")
        (site / "over_this.pth").write_text("\n".join(path for path in sys.path if path) + "\n")
    wanted = [listed.requirement, *([core] if core else [])]
    line = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    installed = _run([*line, "--ignore-installed", *extra, *pip, *wanted])
    if installed.returncode:
        return Verdict(listed, "", "not installed", _last(installed.stderr))
    ran = _run([python, "-P", "-m", "segkit", "plugins", listed.name, "--check", "--json"])
    try:
        [row] = json.loads(ran.stdout)
    except ValueError:
        return Verdict(listed, "", "broken", _last(ran.stderr))
    causes = [f"{each['entry']}: {each['cause']}" for each in row["problems"]]
    return Verdict(listed, row["version"], row["state"], "; ".join(causes))


def table(verdicts: Sequence[Verdict], beneath: str = "") -> str:
    """The page, as Markdown; `beneath` says what the environments were made on."""
    lines = [
        "# Plugins",
        "",
        "Written by `python docs/check_plugins.py`: each was installed in an environment of its "
        f"own{beneath}, beside segkit-core {__version__}, and looked at with "
        "`segkit plugins NAME --check`. "
        "`segkit install NAME` installs one; [CONTRIBUTING](../CONTRIBUTING.md) says how one gets "
        "listed.",
        "",
        "| plugin | version | kinds | lifecycle | state | what it is |",
        "|---|---|---|---|---|---|",
    ]
    for each in verdicts:
        listed, state = each.listed, each.state
        cause = f": {each.cause}".replace("|", "/").replace("\n", " ") if each.cause else ""
        cells = [listed.name, each.version, ", ".join(listed.kinds), listed.lifecycle]
        lines.append("| " + " | ".join([*cells, f"{state}{cause}", listed.summary]) + " |")
    lines += ["", *(f"- {word}: {meaning}" for word, meaning in LIFECYCLES.items())]
    return "\n".join(lines) + "\n"


def _run(line: Sequence[str]) -> subprocess.CompletedProcess[str]:
    # What this process sees must not leak into the environment that is tried.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        line, capture_output=True, text=True, timeout=60 * MINUTES, env=kept, cwd=ROOT.anchor
    )


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


if __name__ == "__main__":
    sys.exit(main())
