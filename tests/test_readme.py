"""The README is kept: its lists are what is installed, its example runs."""

from __future__ import annotations

import re
from pathlib import Path

import torch

import segkit
from segkit import errors
from segkit.registry.index import Index

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_every_component_the_readme_lists_is_installed_and_the_other_way_round():
    rows = re.findall(r"^\| \[(segkit-\w+)\]\(\S+\) \| (.*) \|$", README, re.M)
    listed = {name: set(re.findall(r"`([\w.-]+)`", text)) for name, text in rows}
    families = {"segkit-timm": {"timm"}, "segkit-smp": {"smp"}}
    ours = {
        name: {e.name for e in entries}
        for name, entries in Index.of_installed(()).distributions().items()
        if name in listed
    }
    assert {**listed, **families} == ours


def test_the_exit_statuses_are_those_of_the_error_tree():
    table = {int(n) for n in re.findall(r"^\| (\d+) \| ", README, re.M)}
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    assert {c.exit_code for c in classes if issubclass(c, errors.SegkitError)} <= table


def test_the_python_example_runs():
    [example] = re.findall(r"```python\n(import segkit\n.*?)```", README, re.S)
    example = example.partition('model = segkit.load_model("runs/cells")')[0]
    names = {"image_BCHW": torch.zeros(1, 3, 33, 47, dtype=torch.uint8)}
    exec(example, names)
    assert names["logits_BKHW"].shape == (1, 11, 33, 47)
    assert isinstance(names["model"], segkit.SegmentationModel)
