"""A new plugin package, of every kind, installs and passes its own checks at once."""

import ast
import os
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree

import pytest
import yaml

from segkit.errors import UsageError
from segkit.interfaces import BUILD_ARGUMENTS, KINDS
from segkit.registry.index import Index, singular
from segkit.scaffold import PluginNames, write_plugin
from segkit.testing.conformance import checks_of

NOTHING_INSTALLED = Index([])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    return {kind: write_plugin(kind, f"new-{singular(kind)}", folder) for kind in KINDS}


@pytest.fixture(scope="module")
def site(written, tmp_path_factory):
    """All eight packages, installed without a network into a folder of their own."""
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command += ["--no-build-isolation", "--target", str(site), *map(str, written.values())]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return site


@pytest.fixture(scope="module")
def verdicts(written, site, tmp_path_factory):
    """The outcome of every test of the eight packages: kind -> test -> "passed", "skipped", ..."""
    report = tmp_path_factory.mktemp("report") / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["--import-mode=importlib", f"--junit-xml={report}", f"--rootdir={site}"]
    command += ["-o", "junit_family=xunit2", *(str(f / "tests") for f in written.values())]
    environment = os.environ | {"PYTHONPATH": str(site)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert report.exists(), ran.stdout + ran.stderr
    found = {kind: {} for kind in KINDS}
    for case in ElementTree.parse(report).iter("testcase"):
        kind = next(k for k in KINDS if f"new_{singular(k)}" in case.get("classname"))
        outcome = next((child.tag for child in case if child.tag != "properties"), "passed")
        found[kind][case.get("name")] = outcome
    return found


@pytest.mark.integration
@pytest.mark.parametrize("kind", KINDS)
def test_it_installs_and_passes_its_own_checks(verdicts, kind):
    assert {*verdicts[kind].values()} <= {"passed", "skipped"}, verdicts[kind]
    conformance = [name for name in verdicts[kind] if name.startswith("test_conformance[")]
    assert len(conformance) == len(checks_of(kind))
    skipped = [name for name, outcome in verdicts[kind].items() if outcome == "skipped"]
    # The data set offers no sizes, splits or publication.
    # The decoder refuses unpooling, with the reason; it and the encoder offer little besides.
    expected = {"decoders": 2, "encoders": 3, "datasets": 3, "losses": 3}
    assert len(skipped) == expected.get(kind, 0), skipped


@pytest.mark.integration
def test_all_are_listed_and_named(site):
    environment = os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "segkit", "list"]
    listed = subprocess.run(command, env=environment, capture_output=True, text=True).stdout
    for kind in KINDS:
        assert f"new-{singular(kind)} " in listed


@pytest.mark.integration
def test_a_network_of_the_new_parts_takes_any_size(site):
    program = (
        "import segkit, torch\n"
        "model = segkit.build_model('new-encoder', 'new-decoder', 'new-upsampler', num_classes=3)\n"
        "logits = model(torch.rand(2, 3, 37, 53))\n"
        "loss = segkit.build_loss('new-loss', num_classes=3)\n"
        "loss(logits, torch.zeros(2, 37, 53, dtype=torch.int64)).backward()\n"
        "print(tuple(logits.shape))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.strip() == "(2, 3, 37, 53)", ran.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_it_imports_the_api_alone_and_takes_the_kinds_arguments(written, kind):
    names = PluginNames.of(kind, f"new-{singular(kind)}")
    source = (written[kind] / "src" / names.module / "__init__.py").read_text()
    tree = ast.parse(source)
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {m for m in imported if m.startswith("segkit")} == {"segkit.api"}
    [factory] = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    [init] = [n for n in factory.body if getattr(n, "name", "") == "__init__"]
    arguments = tuple(argument.arg for argument in init.args.args[1:])
    assert arguments == BUILD_ARGUMENTS[kind]
    assert "$" not in source


@pytest.mark.parametrize("kind", KINDS)
def test_its_metadata_name_this_core_and_one_entry(written, kind):
    project = tomllib.loads((written[kind] / "pyproject.toml").read_text())["project"]
    assert project["name"] == f"segkit-new-{singular(kind)}"
    assert "segkit-core>=0.1,<0.2" in project["dependencies"]
    assert [*project["entry-points"]] == [f"segkit.{kind}"]
    assert (written[kind] / "LICENSE").is_file()
    assert "segkit-plugin" in project["keywords"]
    assert f"`new-{singular(kind)}`" in (written[kind] / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_its_workflows_test_the_oldest_and_the_newest_core_and_publish_without_a_token(
    written, kind
):
    folder = written[kind] / ".github" / "workflows"
    test = yaml.safe_load((folder / "test.yml").read_text())
    matrix = test["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["core"] == ["segkit-core==0.1.*", "segkit-core>=0.1,<0.2"]
    runs = [step.get("run", "") for job in test["jobs"].values() for step in job["steps"]]
    assert {"python -m pytest", "mypy", "ruff check .", "segkit plugins --check"} <= {*runs}
    assert 'python -m pip install "${SEGKIT_CORE_ADDRESS:-${{ matrix.core }}}"' in runs
    release = yaml.safe_load((folder / "release.yml").read_text())
    assert release["jobs"]["publish"]["permissions"]["id-token"] == "write"
    assert "password" not in (folder / "release.yml").read_text()


def test_names_with_dots_and_digits_become_valid_ones():
    assert PluginNames.of("encoder", "3d_net.v2") == PluginNames(
        "encoders", "3d_net.v2", "segkit-3d-net-v2", "segkit_3d_net_v2", "The3dNetV2"
    )


@pytest.mark.parametrize(
    "name", ["", "Tiny", "tiny net", "-tiny", "tiny-", "a/b", "../tiny", "tiny!", "täglich"]
)
def test_bad_names_are_refused_with_the_rule(tmp_path, name):
    with pytest.raises(UsageError) as caught:
        write_plugin("encoder", name, tmp_path, NOTHING_INSTALLED)
    assert caught.value.what == f"'{name}' cannot name an encoder."
    assert "begins and ends with a letter or a digit" in caught.value.fix
    assert [*tmp_path.iterdir()] == []


def test_an_unknown_kind_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'encoders'"):
        write_plugin("encodr", "tiny", tmp_path, NOTHING_INSTALLED)


def test_an_existing_folder_is_never_overwritten(tmp_path):
    (tmp_path / "segkit-tiny").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        write_plugin("encoder", "tiny", tmp_path, NOTHING_INSTALLED)
    assert [*(tmp_path / "segkit-tiny").iterdir()] == []


def test_a_name_that_is_taken_is_refused(tmp_path, install_fake):
    install_fake("segkit-acme", {"encoders": {"acme": "m"}})
    index = Index.of_installed(())
    with pytest.raises(UsageError, match="a distribution called segkit-acme is installed already"):
        write_plugin("decoder", "acme", tmp_path, index)
    install_fake("other-nets", {"encoders": {"other": "m"}})
    with pytest.raises(UsageError, match="other-nets offers an encoder called 'other' already"):
        write_plugin("encoder", "other", tmp_path, Index.of_installed(()))


def test_what_fails_halfway_leaves_nothing_behind(tmp_path, monkeypatch):
    from segkit.errors import StorageError
    from segkit.scaffold import package

    def full(_):
        return {"README.md": "x", "README.md/below": "y"}

    monkeypatch.setattr(package, "_rendered", full)
    with pytest.raises(StorageError, match="cannot be written"):
        write_plugin("encoder", "tiny", tmp_path, NOTHING_INSTALLED)
    assert [*tmp_path.iterdir()] == []
