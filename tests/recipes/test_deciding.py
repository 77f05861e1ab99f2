"""`--recipe auto`: options win, decisions are written and are the same again, a page has them."""

from __future__ import annotations

from pathlib import Path

from drawn_worlds import ALONE, cells, decided

from segkit.config import TrainConfig, read_config
from segkit.data.opening.open import open_data
from segkit.recipes.deciding import with_recipe
from segkit.recipes.rules import RULES
from segkit.training.training import train


def test_an_option_that_is_given_always_wins(folder):
    given = {"encoder": "unet(depth=2)", "augmentation": "light", "crops": "classes"}
    config, reasons, _ = decided(folder(cells(4)), **given)
    assert {name: getattr(config, name) for name in given} == given
    assert not given.keys() & reasons.keys()


def test_plain_leaves_all_as_it_is(folder):
    root = folder(cells(4))
    config = TrainConfig(data=str(root), recipe="plain")
    assert with_recipe(config, open_data(root), ALONE) == (config, ())


def test_decisions_are_the_same_again_and_stand_in_the_runs_settings(folder, tmp_path, one_thread):
    root = folder(cells(6, side=32, radius=4))
    small = {"epochs": 1, "samples": 0, "device": "cpu", "workers": 0, "precision": "fp32"}
    config, reasons, _ = decided(root, **small)
    assert decided(root, **small)[:2] == (config, reasons)
    run = train(config.model_copy(update={"out": str(tmp_path / "run"), **small})).folder
    written = read_config(run / "config.yaml")
    assert {n: getattr(written, n) for n in reasons} == {n: getattr(config, n) for n in reasons}
    assert with_recipe(written, open_data(root), ALONE) == (written, ())


def test_the_page_of_recipes_shows_every_rule():
    page = " ".join((Path(__file__).parents[2] / "docs" / "recipes.md").read_text().split())
    assert [rule.setting for rule in RULES if f"| `{rule.setting}` |" not in page] == []
    assert [rule.setting for rule in RULES if rule.support not in page] == []


def test_the_page_of_experiments_has_a_chapter_for_every_rule_that_does_not_follow_a_convention():
    page = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text()
    measured = [rule.setting for rule in RULES if not rule.support.startswith("Convention")]
    assert [setting for setting in measured if f"\n## {setting}\n" not in page] == []


def test_every_rule_names_what_it_rests_on():
    assert all(len(rule.support) > 40 for rule in RULES)
    assert all(rule.setting in TrainConfig.model_fields for rule in RULES)
    assert len({rule.setting for rule in RULES}) == len(RULES)
