"""Output that a command outlives: a closed pipe or a lost terminal ends no work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class Outlasting:
    """A text stream whose reader may go: what is written then is dropped."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except (OSError, ValueError):  # ValueError: the stream is closed
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except (OSError, ValueError):
            self._drop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _drop(self) -> None:
        """Sends all that follows, and what the stream still holds, nowhere."""
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)
        except (OSError, ValueError):  # a stream that is no file, as in a notebook
            return


@contextmanager
def outlasting_output() -> Iterator[None]:
    """Both standard streams, made to outlast their readers while the block runs."""
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Outlasting(out), Outlasting(err)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = out, err
