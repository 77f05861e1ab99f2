"""README and the pages it leads to are kept: lists are what is installed, examples run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import segkit
from segkit import errors
from segkit.cli.main import segkit as commands
from segkit.registry.index import Index

ROOT = Path(__file__).parents[1]
README, COMPONENTS, FAULTS = (
    (ROOT / name).read_text(encoding="utf-8")
    for name in ("README.md", "docs/components.md", "docs/errors.md")
)


def test_every_component_that_is_listed_is_installed_and_the_other_way_round():
    rows = re.findall(r"^\| \[(segkit-\w+)\]\(\S+\) \| (.*) \|$", COMPONENTS, re.M)
    listed = {name: set(re.findall(r"`([\w.-]+)`", text)) for name, text in rows}
    families = {"segkit-timm": {"timm"}, "segkit-smp": {"smp"}}
    ours = {
        name: {e.name for e in entries}
        for name, entries in Index.of_installed(()).distributions().items()
        if name in listed
    }
    assert {**listed, **families} == ours


def test_the_exit_statuses_are_those_of_the_error_tree():
    table = {int(n) for n in re.findall(r"^\| (\d+) \| ", FAULTS, re.M)}
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    assert {c.exit_code for c in classes if issubclass(c, errors.SegkitError)} <= table


@pytest.mark.parametrize("page", [COMPONENTS, FAULTS], ids=["components", "errors"])
def test_the_commands_of_a_page_end_well(page):
    blocks = re.findall(r"^```\n(.*?)^```$", page, re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) >= 2
    for line in lines:
        words = re.split(r"\s{3,}", line)[0]
        found = CliRunner().invoke(commands, shlex.split(words)[1:])
        assert found.exit_code == 0, found.output


def test_every_page_the_readme_leads_to_is_there_and_none_below_docs_is_left_out():
    led = set(re.findall(r"\]\(([\w./-]+)", README))
    assert all((ROOT / address).exists() for address in led)
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages - led == {"docs/compatibility.md"}


def test_the_python_example_runs():
    [example] = re.findall(r"```python\n(import segkit\n.*?)```", README, re.S)
    example = example.partition('model = segkit.load_model("runs/cells")')[0]
    names = {"image_BCHW": torch.zeros(1, 3, 33, 47, dtype=torch.uint8)}
    exec(example, names)
    assert names["logits_BKHW"].shape == (1, 11, 33, 47)
    assert isinstance(names["model"], segkit.SegmentationModel)
