"""The README's table is true."""

from __future__ import annotations

from pathlib import Path

import pytest
from segkit_upsamplers import UPSAMPLERS

README = Path(__file__).parents[1] / "README.md"


def rows() -> dict[str, list[str]]:
    """name -> the table's cells."""
    lines = [line for line in README.read_text(encoding="utf-8").splitlines() if "| `" in line]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name.strip("`"): rest for name, *rest in cells}


def test_the_table_has_every_upsampler():
    assert list(rows()) == list(UPSAMPLERS)


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_the_parameters_are_those_in_the_table(name):
    counted = sum(p.numel() for p in UPSAMPLERS[name](256, 128, 2).parameters())
    assert f"{counted:,}" == rows()[name][2]


@pytest.mark.parametrize(("source", "target"), [(256, 128), (96, 96)])
@pytest.mark.parametrize("name", UPSAMPLERS)
def test_the_formulas_give_the_parameters(name, source, target):
    changes = source != target
    formulas = {
        "transposed": 4 * source * target + target,
        "max_unpool": changes * (9 * source * target + target),
        "bed_of_nails": changes * (9 * source * target + target),
        "pixel_shuffle": 36 * source * target + 4 * target,
        "carafe": 64 * source + 57_764 + changes * (source * target + target),
        "dysample": 32 * source + 32 + changes * (source * target + target),
    }
    counted = sum(p.numel() for p in UPSAMPLERS[name](source, target, 2).parameters())
    assert counted == formulas.get(name, 9 * source * target + target)
