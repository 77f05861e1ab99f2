"""The directory of plugins: what is in it is found, installed, checked, flagged where broken."""

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from segkit.cli.main import main
from segkit.errors import EnvironmentFault, UsageError
from segkit.registry.directory import Listed, find_listed, read_directory
from segkit.registry.index import FIRST_PARTY, Index

ROOT = Path(__file__).parents[2]
FIVE = ("densenet", "losses", "metrics", "upsamplers", "datasets")


def entry(name, **changes):
    plain = {"name": name, "summary": "A plugin.", "components": {"losses": ["acme"]}}
    return plain | {"versions": ">=0.1", "lifecycle": "listed"} | changes


def written(folder, *entries):
    file = folder / "directory.json"
    file.write_text(json.dumps({"format": "segkit-directory/1", "plugins": entries}))
    return str(file)


def test_the_shipped_directory_holds_our_plugins_as_they_are_installed():
    ours = {each.name: each for each in read_directory() if each.lifecycle == "ours"}
    assert ours.keys() == FIRST_PARTY
    for name, entries in Index.of_installed(()).distributions().items():
        if name in ours:
            offered = {(e.kind, e.name) for e in entries}
            listed = ours[name].components
            assert {(kind, n) for kind, names in listed.items() for n in names} == offered
            assert SpecifierSet(ours[name].versions).contains(entries[0].version)


def test_a_plugin_is_found_by_its_name_and_by_what_it_offers():
    directory = read_directory()
    assert find_listed("Segkit_Timm", directory).name == "segkit-timm"
    assert find_listed("timm/resnet50", directory).name == "segkit-timm"
    assert find_listed("boundary_iou(width=3)", directory).name == "segkit-metrics"
    with pytest.raises(UsageError) as caught:
        find_listed("densnet121", directory)
    assert caught.value.fix.startswith("Did you mean 'densenet121'")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "--index-url=x"}, "is no distribution's name"),
        ({"versions": "-r file"}, "Invalid specifier"),
        ({"address": "file:///etc"}, "is not https"),
        ({"lifecycle": "new"}, "the lifecycle 'new' is none of these"),
        ({"components": {"los": []}}, "there is no kind 'los'"),
        ({"more": 1}, "unexpected keyword argument 'more'"),
    ],
)
def test_a_directory_gives_pip_names_and_versions_and_nothing_else(tmp_path, changes, said):
    file = written(tmp_path, entry("acme") | changes)
    with pytest.raises(UsageError, match="is no directory of plugins") as caught:
        read_directory(file)
    assert said in caught.value.what


@pytest.fixture
def address():
    """Of a server on this machine that answers by path: directory.json, latin1.json, long.json."""
    plain = {"format": "segkit-directory/1", "plugins": [entry("segkit-acme")]}
    answers = {
        "/directory.json": json.dumps(plain).encode(),
        "/latin1.json": "é".encode("latin-1"),
        "/long.json": b'{"format": "' + b"x" * 2_000_000 + b'"}',
    }

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self):
            body = answers.get(self.path)
            self.send_response(200 if body else 404)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_directory_is_fetched_from_an_address(address, capsys):
    assert [each.name for each in read_directory(f"{address}/directory.json")] == ["segkit-acme"]
    with pytest.raises(SystemExit, match="0"):
        main(["plugins", "--available", "--directory", f"{address}/directory.json"])
    assert "segkit-acme" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone.json", "gone.json cannot be fetched (HTTP Error 404"),
        ("latin1.json", "latin1.json cannot be fetched ('utf-8' codec"),
        ("long.json", "long.json is no directory of plugins (JSONDecodeError"),
    ],
)
def test_an_address_that_gives_no_directory_is_said(address, name, said):
    with pytest.raises((EnvironmentFault, UsageError)) as caught:
        read_directory(f"{address}/{name}")
    assert said in caught.value.what


def test_the_line_for_pip_is_shown_and_an_address_is_used(tmp_path, capsys):
    address = "git+https://example.org/acme"
    file = written(tmp_path, entry("acme", address=address, lifecycle="archived"))
    with pytest.raises(SystemExit):
        main(["install", "acme", "--directory", file, "--dry-run"])
    out = capsys.readouterr().out
    assert "archived, no longer kept by its authors" in out
    assert f"-m pip install 'acme @ {address}'" in out


def test_what_is_available_names_what_is_installed(tmp_path, capsys):
    file = written(tmp_path, entry("acme"), entry("segkit-unet", versions=">=0.1,<0.2"))
    with pytest.raises(SystemExit):
        main(["plugins", "--available", "--directory", file, "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["installed"]) for row in rows] == [
        ("acme", None),
        ("segkit-unet", Index.of_installed(()).distributions()["segkit-unet"][0].version),
    ]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Five plugins of this repository as wheels in a folder, the data sets broken on purpose."""
    folder, work = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("broken")
    sources = [ROOT / "plugins" / f"segkit-{name}" for name in FIVE]
    broken = work / sources[-1].name
    shutil.copytree(sources[-1], broken)
    module = broken / "src" / "segkit_datasets" / "__init__.py"
    module.write_text(module.read_text() + "\nimport a_package_nobody_has\n")
    line = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    line += ["--wheel-dir", str(folder), *map(str, [*sources[:-1], broken])]
    built = subprocess.run(line, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture
def directory(tmp_path):
    entries = [vars(each) for each in read_directory() if each.name.removeprefix("segkit-") in FIVE]
    assert len(entries) == 5
    return written(tmp_path, *entries)


@pytest.mark.integration
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("pixel_shuffle", 0, "Installed and looked at. It offers bed_of_nails, bicubic"),
        (
            "segkit-datasets",
            9,
            "segkit-datasets is installed and broken: segkit-datasets",
        ),
        ("timm", 2, "the directory knows no plugin called 'timm'"),
    ],
)
def test_one_is_installed_and_looked_at(wheels, directory, tmp_path, name, status, said):
    site = str(tmp_path / "site")
    environment = os.environ | {"PYTHONPATH": site, "PIP_TARGET": site, "PIP_NO_DEPS": "1"}
    environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    command = [sys.executable, "-m", "segkit", "install", name, "--directory", directory]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == status, ran.stdout + ran.stderr
    assert said in " ".join((ran.stdout + ran.stderr).split())


@pytest.mark.integration
@pytest.mark.timeout(900)
def test_every_entry_is_checked_in_an_environment_of_its_own(wheels, directory, tmp_path):
    page = tmp_path / "directory.md"
    command = [sys.executable, str(ROOT / "docs" / "check_plugins.py"), "--over-this"]
    command += ["--directory", directory, "--index", str(wheels), "--out", str(page)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 1, ran.stderr
    rows = [line.split(" | ") for line in page.read_text().splitlines() if "| segkit-" in line]
    states = {row[0].removeprefix("| "): row[4] for row in rows}
    broken = states.pop("segkit-datasets")
    assert broken.startswith("broken: datasets/camvid: segkit-datasets 0.1.0 cannot be loaded")
    assert "No module named 'a_package_nobody_has'" in broken
    assert states == {f"segkit-{name}": "ok" for name in FIVE[:-1]}


def test_an_address_is_given_to_pip_instead_of_versions():
    plain = Listed("acme", "A plugin.", {}, ">=1,<2", "listed")
    assert plain.requirement == "acme>=1,<2"
