"""Gives hostile files to commands, in this process, with bounded memory and time.

Called as `python meet.py`, a JSON list of [name, arguments] on the input: a line of JSON for each.
Arguments that begin with "unpack" unpack an archive instead. Peaks are of each command alone, above
what the process had before it.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import signal
import sys
import time
import traceback
from pathlib import Path

# Far above what is allowed, so that a breach is a failure of the test, not of the machine.
MOST_ADDRESSES = 6 << 30
LONGEST = 60


def peak() -> int:
    """The most memory held since it was last forgotten, MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def run(arguments: list[str]) -> int:
    if arguments[0] == "unpack":
        from segkit.data.fetching.archive import unpack
        from segkit.errors import SegkitError

        try:
            unpack(Path(arguments[1]), Path(arguments[2]))
        except SegkitError as error:
            sys.stderr.write(f"Error: {error}\n")
            return error.exit_code
        return 0
    from segkit.cli.main import main

    try:
        main(arguments)
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def met(arguments: list[str]) -> dict[str, object]:
    Path("/proc/self/clear_refs").write_text("5")
    before, began = peak(), time.process_time()
    out, err = io.StringIO(), io.StringIO()
    signal.alarm(LONGEST)
    status: int | str
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run(arguments)
    except BaseException:
        status, _ = "traceback", err.write(traceback.format_exc())
    finally:
        signal.alarm(0)
    return {
        "status": status,
        "seconds": time.process_time() - began,
        "mebibytes": peak() - before,
        "out": out.getvalue()[-20_000:],
        "err": err.getvalue()[-20_000:],
    }


def stop(*_: object) -> None:
    raise TimeoutError(f"it took more than {LONGEST} s")


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    for name, arguments in json.loads(sys.stdin.read()):
        line = json.dumps({"name": name, "arguments": arguments, **met(arguments)})
        sys.__stdout__.write(line + "\n")
        sys.__stdout__.flush()
