"""Every loss and every option is in the README, and has its sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from segkit_losses import LOSSES

from segkit.testing import options_of

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", LOSSES)
def test_the_readme_has_a_row_with_every_option(name):
    rows = [line for line in README.splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1
    named = "tversky" if name == "focal_tversky" else name
    rows += [line for line in README.splitlines() if line.startswith(f"| `{named}` |")]
    for option in options_of(LOSSES[name], "losses"):
        assert f"`{option.name}`" in "".join(rows)


@pytest.mark.parametrize("name", LOSSES)
def test_every_option_has_its_sentence(name):
    for option in options_of(LOSSES[name], "losses"):
        assert option.description
