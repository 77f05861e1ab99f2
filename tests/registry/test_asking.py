"""A plugin asked in a process of its own harms nobody, and is not asked twice for nothing."""

import pytest

from segkit.errors import UnknownComponent
from segkit.registry import asking, families
from segkit.registry.expression import parse_component
from segkit.registry.index import Index

FAMILY = """
from segkit.api import hookimpl
{first}

@hookimpl
def segkit_encoder(name):
    return None

@hookimpl
def segkit_members(kind, family):
    {second}
    return ["acme/big"]
"""


@pytest.fixture
def members(install_fake):
    def ask(first="", second="", seconds=60.0):
        source = FAMILY.format(first=first, second=second)
        install_fake("acme-nets", {"encoders": {"acme": "acme_family"}}, acme_family=source)
        [entry] = [e for e in Index.of_installed(()).entries if e.distribution == "acme-nets"]
        [answer] = asking.ask(families.__name__, [families.members_of(entry)], seconds)
        return answer

    return ask


def test_what_a_plugin_prints_does_not_spoil_its_answer(members):
    answer = members("import os; os.write(1, b'hello\\n'); print('hello')", "print('again')")
    assert (answer.value, answer.failure) == (["acme/big"], "")


def test_a_plugin_that_ends_the_interpreter_is_a_failure(members):
    answer = members(second="import os; os.write(2, b'last words'); os._exit(7)")
    assert answer.failure == "ended the interpreter (status 7: last words)"


@pytest.mark.integration
def test_a_plugin_that_hangs_is_a_failure(members, monkeypatch):
    monkeypatch.setattr(asking, "START_SECONDS", 4.0)
    assert members(second="import time; time.sleep(60)", seconds=1) == asking.Answer(
        failure="gave no answer within 5 s"
    )


def test_an_answer_is_remembered_until_the_file_changes(
    members, install_fake, monkeypatch, tmp_path
):
    assert members().value == ["acme/big"]
    module = tmp_path / "site" / "acme_family.py"

    def nobody(_):
        raise AssertionError("a process was started")

    monkeypatch.setattr(asking, "_Process", nobody)
    [entry] = [e for e in Index.of_installed(()).entries if e.distribution == "acme-nets"]
    question = [families.members_of(entry)]
    assert asking.ask(families.__name__, question)[0].value == ["acme/big"]
    module.write_text(module.read_text() + "\n# changed\n")
    with pytest.raises(AssertionError, match="a process was started"):
        asking.ask(families.__name__, question)


@pytest.mark.integration
def test_an_unknown_name_leads_to_the_member_of_a_family(members):
    members(second="family += ''")
    with pytest.raises(UnknownComponent) as caught:
        Index.of_installed(()).find("encoders", parse_component("big"))
    assert families.with_nearest_members(caught.value).fix == (
        "Did you mean 'acme/big'? `segkit list encoders 'big*'` shows members of families."
    )
