"""Runs commands as `python -m segkit ...` would, in forks of one process that has torch imported.

Importing PyTorch, timm and the rest takes longer than most commands that tests run. Only packages
of others are imported before the fork: each command still imports segkit itself, reads what is
installed, and ends as a process does.

As a program it reads requests, a JSON object a line, and answers each with its exit status.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

SLOW_TO_IMPORT = (
    *("torch", "torchvision", "timm", "segmentation_models_pytorch", "matplotlib.pyplot"),
    *("scipy.ndimage", "skimage.measure", "skimage.segmentation", "tifffile", "zarr", "rich.live"),
    # Not onnxruntime: it starts a thread, which no fork has.
)


class ForkedCommands:
    """`run` does what subprocess.run does with a command line of Python's, captured as text."""

    def __init__(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(
        self, words: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs `python -m` words in the folder cwd; env is added to the environment."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder, name) for name in ("stdout", "stderr")]
            request = {"words": list(words), "cwd": str(cwd), "env": dict(env or {})}
            request["files"] = [str(file) for file in files]
            print(json.dumps(request), file=self.server.stdin, flush=True)
            answer = self.server.stdout.readline()
            assert answer, f"the process to fork ended ({self.server.wait()})"
            written = [file.read_text(encoding="utf-8") for file in files]
        return subprocess.CompletedProcess(list(words), int(answer), *written)

    def end(self) -> None:
        self.server.terminate()
        self.server.wait()


def _serve() -> None:
    for name in SLOW_TO_IMPORT:
        with suppress(ImportError):
            importlib.import_module(name)
    assert "segkit" not in sys.modules
    assert threading.active_count() == 1
    gc.freeze()  # else every fork copies and tears down what was imported
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(**request)
            return
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


def _become(words: list[str], cwd: str, env: dict[str, str], files: list[str]) -> None:
    """This process as if it had been started by `python -m` words."""
    for number, file in enumerate(["/dev/null", *files]):
        opened = os.open(file, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(cwd)
    os.environ.update(env)
    sys.path[:0] = ["", *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    importlib.invalidate_caches()
    sys.argv = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))
    _serve()
