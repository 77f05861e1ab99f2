"""`segkit list`: what is installed, what belongs to a family, what works together."""

import json

import pytest
from click.testing import CliRunner

from segkit.cli.list_command import command
from segkit.errors import UsageError
from segkit.registry.components import default_registry

NEVER = "raise RuntimeError('a list must not import plugins')"
FAMILY = """
from segkit.api import hookimpl

@hookimpl
def segkit_encoder(name):
    return None

@hookimpl
def segkit_members(kind, family):
    return [f"{family}/big", f"{family}/small"]
"""


@pytest.fixture(autouse=True)
def fresh_registry():
    default_registry.cache_clear()
    yield
    default_registry.cache_clear()


def listed(*arguments):
    result = CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False)
    return result.stdout


def rows(*arguments):
    return json.loads(listed(*arguments, "--json"))


def test_every_entry_stands_with_its_distribution_version_and_state(install_fake):
    install_fake("acme-nets", {"encoders": {"acme": "acme"}}, version="3.1", acme=NEVER)
    [line] = [line for line in listed("encoders").splitlines() if " acme " in line]
    assert line.split() == ["encoder", "acme", "acme-nets", "3.1", "not", "loaded"]
    assert {row["kind"] for row in rows()} >= {"encoder", "decoder", "upsampler", "loss", "metric"}
    assert {row["kind"] for row in rows("encoder")} == {"encoder"}


def test_wildcards_choose():
    names = [row["name"] for row in rows("encoders", "densenet*")]
    assert names == ["densenet121", "densenet161", "densenet169", "densenet201"]
    assert (
        listed("encoders", "nothing*")
        == "No encoder fits 'nothing*'. `segkit list encoders` shows all.\n"
    )
    assert rows("encoders", "nothing*") == []


def test_broken_disabled_and_doubled_entries_are_shown_with_the_reason(install_fake, monkeypatch):
    monkeypatch.setenv("SEGKIT_DISABLE", "off-nets")
    install_fake("old-nets", {"encoders": {"old": "old"}}, requires="segkit-core>=7")
    install_fake("off-nets", {"encoders": {"off": "off"}})
    install_fake("one-nets", {"encoders": {"same": "one"}})
    install_fake("two-nets", {"encoders": {"same": "two"}})
    states = {(row["name"], row["distribution"]): row for row in rows("encoders")}
    assert states["old", "old-nets"]["state"] == "broken"
    assert states["off", "off-nets"]["state"] == "disabled"
    assert states["same", "one-nets"]["state"] == "duplicate"
    text = listed("encoders")
    assert "old: needs segkit-core>=7, and 0.1" in text
    assert "same: write 'two-nets:same' to name this one." in text


def test_a_pattern_with_a_slash_shows_the_members_of_a_family(install_fake):
    install_fake("acme-nets", {"encoders": {"acme": "acme_family"}}, acme_family=FAMILY)
    assert [row["name"] for row in rows("encoders", "acme/*")] == ["acme/big", "acme/small"]
    assert [row["name"] for row in rows("encoders", "ac*/s*")] == ["acme/small"]


def test_a_family_that_cannot_be_loaded_does_not_hide_the_others(install_fake):
    install_fake("acme-nets", {"encoders": {"acme1": "acme_family"}}, acme_family=FAMILY)
    install_fake("bad-nets", {"encoders": {"acme2": "bad_family"}}, bad_family="1 / 0")
    found = rows("encoders", "acme*/*")
    assert [(row["name"], row["state"]) for row in found] == [
        ("acme1/big", "not loaded"),
        ("acme1/small", "not loaded"),
        ("acme2", "broken"),
    ]
    assert "ZeroDivisionError: division by zero" in found[-1]["problem"]


@pytest.mark.integration
def test_long_adds_summary_capabilities_and_licence():
    [dense] = rows("encoders", "densenet121", "--long")
    assert dense["summary"].startswith("DenseNet-121 (Huang et al. 2017")
    assert dense["capabilities"] == "strides 2 to 32"
    assert dense["weights"] == "Apache-2.0"
    [classic] = rows("encoders", "unet", "--long")
    assert classic["capabilities"] == "strides 1 to 16, pooling indices"
    assert classic["weights"] == ""
    [unpool] = rows("upsamplers", "max_unpool", "--long")
    assert unpool["capabilities"] == "needs pooling indices"


def test_long_keeps_a_plugin_that_cannot_be_loaded_as_a_broken_row(install_fake):
    install_fake("bad-nets", {"losses": {"bad": "bad_loss"}}, bad_loss="1 / 0")
    by_name = {row["name"]: row for row in rows("losses", "--long")}
    assert by_name["bad"]["state"] == "broken"
    assert by_name["ce"]["state"] == "ok"


@pytest.mark.slow
def test_only_what_works_with_an_encoder_is_left():
    with_dense = [row["name"] for row in rows("upsamplers", "--compatible-with", "densenet121")]
    with_unet = [row["name"] for row in rows("upsamplers", "--compatible-with", "unet")]
    assert "max_unpool" not in with_dense
    assert {"bilinear", "transposed"} <= set(with_dense)
    assert set(with_unet) - set(with_dense) >= {"max_unpool"}


@pytest.mark.integration
def test_what_it_works_with_is_said():
    by_name = {row["name"]: row for row in rows("decoders", "unet", "--compatible-with", "unet")}
    assert by_name["unet"]["with"] == "--upsampler bilinear"
    [alone] = rows("decoders", "unet_bilinear", "--compatible-with", "unet")
    assert alone["with"] == "its own enlarging"
    [long] = rows("decoders", "unet_bilinear", "--long")
    assert long["capabilities"] == "enlarges by itself"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--compatible-with", "densenet999"], "SK-C003", "no encoder is called 'densenet999'"),
        (["losses", "--compatible-with", "unet"], "SK-C007", "and losses was listed"),
        (
            ["encoders", "--compatible-with", "densenet121"],
            "SK-C007",
            "is an encoder, and encoders",
        ),
        (["encodres"], "SK-C002", "there is no kind of component called 'encodres'"),
    ],
)
def test_what_cannot_be_asked_is_refused(arguments, code, text):
    with pytest.raises(UsageError) as caught:
        listed(*arguments)
    assert caught.value.code == code
    assert text in caught.value.what
