"""Our quick reading of installed metadata, held against the standard library's."""

import importlib.metadata
import sys
import zipfile

from packaging.specifiers import SpecifierSet

from segkit.registry.index import Index, _plainly_met
from segkit.registry.installed import distributions, version_of


def test_every_distribution_is_read_as_the_standard_library_reads_it():
    ours = [
        (d.name, d.version, sorted(d.requires), sorted(d.entry_points)) for d in distributions()
    ]
    theirs = [
        (
            d.name,
            d.version,
            sorted(d.requires or ()),
            sorted((e.group, e.name, e.value) for e in d.entry_points),
        )
        for d in importlib.metadata.distributions()
    ]
    assert len(ours) > 20
    assert sorted(ours) == sorted(theirs)


def test_a_version_is_found_under_any_spelling_of_the_name():
    assert version_of("Segkit_Core") == importlib.metadata.version("segkit-core")
    assert version_of("segkit") is None


def test_a_distribution_in_a_zip_file_is_found_too(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "acme.zip", "w") as archive:
        archive.writestr("acme_nets-1.0.dist-info/METADATA", "Name: acme-nets\nVersion: 1.0\n")
        archive.writestr(
            "acme_nets-1.0.dist-info/entry_points.txt", "[segkit.encoders]\nacme = m\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path / "acme.zip"))
    assert "acme-nets" in {entry.distribution for entry in Index.of_installed(()).entries}


def test_finders_that_bring_distributions_of_their_own_are_asked(monkeypatch):
    class Finder:
        asked = False

        def find_spec(self, *_):
            return None

        def find_distributions(self, *_):
            Finder.asked = True
            return iter(())

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    list(distributions())
    assert Finder.asked


def test_the_quick_requirement_check_agrees_with_packaging():
    bounds = [">=0.1", ">=0.1,<0.2", "<0.1", ">=0.1.0", ">= 0.1.1", ">=0.2,<1", "", "<0.1.0.1"]
    for bound in bounds:
        for installed in ["0.1.0", "0.1", "0.1.2", "0.2", "1.0"]:
            assert _plainly_met(f"segkit-core{bound}", installed) == SpecifierSet(bound).contains(
                installed
            ), (bound, installed)


def test_what_the_quick_check_cannot_read_it_leaves_to_packaging():
    for text in ["segkit-core~=0.1", "segkit-core>=0.1; extra == 'x'", "segkit-core>=0.1rc1"]:
        assert not _plainly_met(text, "0.1.0")
    assert not _plainly_met("segkit-core>=0.1", "0.1.0rc1")
