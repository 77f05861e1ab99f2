"""What an import may not do, each seen when a plugin does it; and options that are swallowed."""

import pytest
import torch

from segkit.registry.components import Registry
from segkit.registry.index import Index
from segkit.testing.imports import examine, probe, unknown_option_is_refused

HOOK = """
from segkit.api import hookimpl

class Tiny:
    channels, strides = (4,), (1,)

    def __init__(self, in_channels: int, weights: str, *, width: int = 4) -> None:
        pass

@hookimpl
def segkit_encoder(name: str):
    return Tiny if name == "tiny" else None
"""
CONNECTS = """
import socket
try:
    socket.create_connection(("weights.invalid", 443))
except OSError:
    pass
"""


def findings(install_fake, source):
    install_fake("acme", {"encoders": {"tiny": "acme_module"}}, acme_module=source + HOOK)
    index = Index.of_installed(())
    return examine(index.distributions()["acme"], Registry(index))


def test_a_quiet_import_has_no_findings(install_fake):
    assert findings(install_fake, "") == []


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("import torch; torch.manual_seed(3)", "torch's random state"),
        ("import numpy; numpy.random.seed(3)", "numpy's random state"),
        ("import random; random.seed(3)", "Python's random state"),
        ("import torch; torch.set_default_dtype(torch.float64)", "torch's default dtype"),
        ("import torch; torch.set_default_device('meta')", "torch's default device"),
        ("import torch; torch.set_num_threads(1)", "torch's number of threads"),
        ("import torch; torch.set_grad_enabled(False)", "torch's gradient mode"),
        (
            "import torch; torch.use_deterministic_algorithms(True)",
            "torch's deterministic mode",
        ),
    ],
)
def test_a_change_of_the_process_is_named(install_fake, statement, named):
    try:
        with torch.random.fork_rng(devices=[]):
            [found] = findings(install_fake, statement)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        torch.set_grad_enabled(True)
        torch.use_deterministic_algorithms(False)
    assert (found.entry, found.cause) == ("encoders/tiny", f"its import changes {named}")


def test_a_connection_at_import_is_named(install_fake):
    [found] = findings(install_fake, CONNECTS)
    assert found.cause == "its import connects to weights.invalid"


def test_a_hook_that_offers_nothing_is_named(install_fake):
    install_fake("acme", {"encoders": {"gone": "acme_module"}}, acme_module=HOOK)
    index = Index.of_installed(())
    [found] = examine(index.distributions()["acme"], Registry(index))
    assert "its hook segkit_encoder returns nothing for 'gone'" in found.cause


def test_a_process_that_dies_is_a_finding(install_fake, monkeypatch):
    site = install_fake(
        "acme", {"encoders": {"tiny": "acme_module"}}, acme_module="import os; os._exit(7)"
    )
    monkeypatch.setenv("PYTHONPATH", str(site))
    probe.cache_clear()
    [found] = probe("acme")
    assert found.cause == "the process ended with status 7 (no message)"


def test_a_process_that_does_not_end_is_a_finding(install_fake, monkeypatch):
    site = install_fake(
        "acme", {"encoders": {"tiny": "acme_module"}}, acme_module="import time; time.sleep(60)"
    )
    monkeypatch.setenv("PYTHONPATH", str(site))
    [found] = probe("acme", seconds=2)
    assert found.cause == "its import did not end within 2 s"


def test_swallowed_options_are_caught(subject_of):
    class Swallows:
        def __init__(self, in_channels, weights, **others):
            pass

    class Strict:
        def __init__(self, in_channels, weights, *, width: int = 4):
            pass

    unknown_option_is_refused(subject_of("encoders", Strict))
    with pytest.raises(AssertionError, match=r"which is no option"):
        unknown_option_is_refused(subject_of("encoders", Swallows))
