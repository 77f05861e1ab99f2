"""Asks a question in a real second process, which has imported nothing of the first one's."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import get_context
from typing import Any

from segkit.testing.subject import Breach

SECONDS = 60
HASH_SEED = "PYTHONHASHSEED"
UNPICKLABLE = (
    "Keep no function, lambda, open file or lock in an attribute: use classes and functions of the "
    "module's top level, and open files when they are read."
)


def in_a_second_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What function(*arguments) returns over there; both ways by pickle.

    The process is started once, with another seed for the hashes of texts, and serves every
    question. Raises Breach where something cannot be pickled, or fails, hangs or crashes there.
    """
    try:
        question = pickle.dumps((function, arguments))
    # Pickling runs the component's own methods, which may raise anything.
    except Exception as error:
        raise Breach(
            f"it cannot be pickled ({type(error).__name__}: {error})", UNPICKLABLE
        ) from error
    try:
        answer, failure = pickle.loads(_pool().submit(_answer, question).result(SECONDS))
    except BrokenProcessPool as error:
        _pool.cache_clear()
        raise Breach("the second process crashed") from error
    except TimeoutError as error:
        _give_up(_pool())
        _pool.cache_clear()
        raise Breach(f"the second process gave no answer within {SECONDS} s") from error
    if failure:
        raise Breach(f"in a second process it fails ({failure})")
    return answer


@cache
def _pool() -> ProcessPoolExecutor:
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    before = os.environ.get(HASH_SEED)
    # What is ordered by the hash of a text is ordered otherwise there.
    os.environ[HASH_SEED] = "2" if before == "1" else "1"
    try:
        pool.submit(os.getpid).result(SECONDS)
    finally:
        del os.environ[HASH_SEED]
        if before is not None:
            os.environ[HASH_SEED] = before
    return pool


def _give_up(pool: ProcessPoolExecutor) -> None:
    """Ends a process that hangs, so that the tests can end; only this pool's."""
    for process in list((pool._processes or {}).values()):
        process.kill()
    pool.shutdown(wait=False, cancel_futures=True)


def _answer(question: bytes) -> bytes:
    try:
        function, arguments = pickle.loads(question)
        return pickle.dumps((function(*arguments), ""))
    # It travels back in words, whatever it is, and is raised there as a Breach.
    except Exception as error:
        return pickle.dumps((None, f"{type(error).__name__}: {error}"))
