"""Every metric and every option is in the README, and has its sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from segkit_metrics import METRICS

from segkit.testing import options_of

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", METRICS)
def test_the_readme_has_a_row_for_it_and_knows_its_options(name):
    assert sum(line.startswith(f"| `{name}` |") for line in README.splitlines()) == 1
    for option in options_of(METRICS[name], "metrics"):
        assert f"`{option.name}`" in README


@pytest.mark.parametrize("name", METRICS)
def test_every_option_has_its_sentence(name):
    for option in options_of(METRICS[name], "metrics"):
        assert option.description
