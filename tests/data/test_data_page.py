"""docs/data.md says what data.yaml takes, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path

from segkit.data.augmentation.presets import AIMS, PRESETS
from segkit.data.settings import KEYS

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_page_explains_every_key_of_data_yaml_and_no_other():
    table = PAGE.partition("\n## data.yaml")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(key for row in rows for key in re.findall(r"`(\w+)`", row)) == sorted(KEYS)


def test_the_page_names_every_preset_and_way_of_cropping():
    for name in (*PRESETS, *AIMS[1:]):
        assert name in PAGE.partition("## Crops and augmentation")[2].partition("\n## ")[0]
