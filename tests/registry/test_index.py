"""Finding components by metadata alone."""

import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from segkit.errors import PluginError, SegkitWarning, UsageError
from segkit.registry.expression import parse_component
from segkit.registry.index import FIRST_PARTY, Index, version_of

NEVER = "raise RuntimeError('the index must not import plugins')"


def find(name, kind="encoders", disabled=()):
    return Index.of_installed(disabled).find(kind, parse_component(name))


def test_an_entry_is_found_without_importing_its_module(install_fake):
    install_fake("acme-nets", {"encoders": {"acme": "acme_nets"}}, acme_nets=NEVER)
    entry = find("acme")
    assert (entry.distribution, entry.version, entry.module) == ("acme-nets", "1.0", "acme_nets")
    assert "acme_nets" not in sys.modules


def test_a_near_name_is_suggested(install_fake):
    install_fake("acme-nets", {"encoders": {"acme121": "acme_nets"}})
    with pytest.raises(UsageError) as caught:
        find("acme112")
    assert caught.value.what == "no encoder is called 'acme112'."
    assert caught.value.fix.startswith("Did you mean 'acme121'")
    assert "`segkit list encoders` shows all" in caught.value.fix


def test_a_name_of_another_kind_is_named_as_such(install_fake):
    install_fake("acme-nets", {"decoders": {"acme": "acme_nets"}})
    with pytest.raises(UsageError, match="'acme' is the name of a decoder"):
        find("acme")


def test_a_name_that_two_distributions_offer_is_refused_with_both_forms(install_fake):
    install_fake("acme-nets", {"encoders": {"same": "acme_nets"}})
    install_fake("other-nets", {"encoders": {"same": "other_nets"}})
    with pytest.raises(UsageError) as caught:
        find("same")
    assert caught.value.code == "SK-C004"
    assert caught.value.fix == (
        "Say which: 'acme-nets:same' and 'other-nets:same'. "
        "SEGKIT_DISABLE=other-nets switches one off."
    )
    assert find("other_nets:same").distribution == "other-nets"


def test_switching_one_of_two_off_leaves_the_other(install_fake):
    install_fake("acme-nets", {"encoders": {"same": "acme_nets"}})
    install_fake("other-nets", {"encoders": {"same": "other_nets"}})
    assert find("same", disabled=["Acme_Nets"]).distribution == "other-nets"


def test_a_switched_off_plugin_says_so(install_fake, monkeypatch):
    install_fake("acme-nets", {"encoders": {"acme": "acme_nets"}})
    monkeypatch.setenv("SEGKIT_DISABLE", "acme-nets")
    with pytest.raises(PluginError) as caught:
        Index.of_installed().find("encoders", parse_component("acme"))
    assert caught.value.what == "encoder 'acme' comes from acme-nets, which is switched off."
    assert caught.value.fix == "Unset SEGKIT_DISABLE, or leave out --no-plugins."


def test_a_plugin_for_another_core_is_refused_before_it_is_imported(install_fake):
    install_fake(
        "acme-nets",
        {"encoders": {"acme": "acme_nets"}},
        requires="segkit-core>=7,<8",
        acme_nets=NEVER,
    )
    with pytest.raises(PluginError) as caught:
        find("acme")
    assert caught.value.code == "SK-P002"
    assert "needs segkit-core<8,>=7, and 0.1" in caught.value.what


def test_an_ill_formed_name_is_a_problem_of_its_entry(install_fake):
    install_fake("acme-nets", {"encoders": {"Acme!": "acme_nets"}})
    [entry] = [e for e in Index.of_installed(()).entries if e.distribution == "acme-nets"]
    assert entry.state == "broken"
    assert "Acme!" in entry.problem


def test_wildcards_choose_among_a_kind(install_fake):
    names = {"acme121": "m", "acme169": "m", "other": "m"}
    install_fake("acme-nets", {"encoders": names})
    found = Index.of_installed(()).matching("encoders", "acme*")
    assert [e.name for e in found] == ["acme121", "acme169"]


def test_an_unknown_kind_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="Did you mean 'encoders'"):
        Index(()).of_kind("encodres")


def test_a_version_is_found_under_any_spelling_of_the_name():
    assert version_of("Segkit_Core") == metadata.version("segkit-core")
    assert version_of("a-distribution-nobody-has") is None


def test_a_distribution_in_a_zip_file_is_found_too(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "acme.zip", "w") as archive:
        archive.writestr("acme_nets-1.0.dist-info/METADATA", "Name: acme-nets\nVersion: 1.0\n")
        archive.writestr(
            "acme_nets-1.0.dist-info/entry_points.txt", "[segkit.encoders]\nacme = m\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path / "acme.zip"))
    assert find("acme").distribution == "acme-nets"


@pytest.mark.parametrize(
    ("requires", "problem"),
    [
        ("segkit-core", ""),
        ("Segkit.Core (>=0.1)", ""),
        ("segkit-core>=7; extra == 'gpu'", ""),
        ("segkit-core-extras>=7", ""),
        ("segkit-core~=7.1", "needs segkit-core~=7.1, and 0.1.0 is installed"),
        ("segkit-core=7", "its requirement 'segkit-core=7' cannot be read"),
    ],
)
def test_what_a_plugin_requires_of_the_core_is_read_from_metadata(install_fake, requires, problem):
    install_fake("acme-nets", {"encoders": {"acme": "m"}}, requires=requires)
    [entry] = [e for e in Index.of_installed(()).entries if e.distribution == "acme-nets"]
    assert entry.problem.startswith(problem)
    assert bool(entry.problem) == bool(problem)


def test_a_name_of_ours_stays_ours_and_the_other_is_named(install_fake):
    install_fake("acme-nets", {"encoders": {"densenet121": "acme_nets"}}, acme_nets=NEVER)
    with pytest.warns(SegkitWarning, match="to use the one of another .* 'acme-nets:densenet121'"):
        assert find("densenet121").distribution == "segkit-densenet"
    assert find("acme-nets:densenet121").distribution == "acme-nets"


def test_first_party_is_what_this_repository_holds():
    folders = (Path(__file__).parents[2] / "plugins").iterdir()
    assert {folder.name for folder in folders} == FIRST_PARTY
