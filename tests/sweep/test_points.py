"""Every combination once, each a valid configuration, or a refusal before anything starts."""

import pytest

from segkit.config import read_config
from segkit.errors import UsageError
from segkit.launchers.jobs import Needs
from segkit.sweep.points import grid_of, listed_in, points_of, split_values
from segkit.sweep.sweeping import Sweep


def test_a_grid_is_every_combination():
    points = points_of(grid_of(["lr=1e-3,3e-4", "loss=dice,ce", "seed=0,1"]))
    assert len(points) == 8
    assert points[0].name == "lr=1e-3_loss=dice_seed=0"
    assert {(p.config.lr, p.config.loss, p.config.seed) for p in points} == {
        (lr, loss, seed) for lr in (1e-3, 3e-4) for loss in ("dice", "ce") for seed in (0, 1)
    }


def test_commas_in_brackets_part_nothing():
    assert split_values("focal(gamma=2, alpha=[1, 2]), ce") == [
        "focal(gamma=2, alpha=[1, 2])",
        "ce",
    ]
    names = [p.name for p in points_of(grid_of(["loss=focal(gamma=2),focal(gamma=3)"]))]
    assert len({*names}) == 2
    assert all("(" not in name for name in names)


def test_a_list_is_taken_as_it_stands_and_with_each_of_the_grid(tmp_path):
    file = tmp_path / "points.yaml"
    file.write_text("- {lr: 0.01, loss: dice}\n- {lr: 0.001, patience: null, no: 1}\n")
    with pytest.raises(UsageError, match="the sweep's no: there is no setting 'no'"):
        points_of([], listed_in(file))
    file.write_text("- {lr: 0.01, loss: dice}\n- {lr: 0.001}\n")
    points = points_of(grid_of(["seed=0,1"]), listed_in(file))
    assert [(p.config.lr, p.config.seed) for p in points] == [
        (0.01, 0),
        (0.001, 0),
        (0.01, 1),
        (0.001, 1),
    ]


def test_what_all_share_lies_below_the_points(tmp_path):
    file = tmp_path / "base.yaml"
    file.write_text("epochs: 7\nlr: 0.5\n")
    [first, _] = points_of(grid_of(["lr=1,2"]), file=file, options={"batch": 2})
    assert (first.config.epochs, first.config.batch, first.config.lr) == (7, 2, 1)


def test_a_run_is_told_what_was_said_and_no_more(tmp_path):
    points = points_of(grid_of(["loss=dice,ce"]), options={"epochs": 3, "minutes": 2.5})
    sweep = Sweep(tmp_path / "s", points, Needs())
    sweep.begin()
    told = read_config(tmp_path / "s" / "points" / "loss=dice.yaml")
    assert told.model_fields_set == {"loss", "epochs"}
    assert sweep.job_of(points[0]).command[-2:] == ("--minutes", "2.5")


@pytest.mark.parametrize(
    ("grid", "fixed", "code", "said"),
    [
        (["lr=high"], [], "SK-C009", "the sweep's lr: 'lr' cannot be 'high'"),
        (["learning=1,2"], [], "SK-C008", "there is no setting 'learning'"),
        (["lr=0.001,1e-3"], [], "SK-L004", "the same training: lr=0.001 and lr=1e-3"),
        (["lr=1", "lr=2"], [], "SK-L004", "lr is given twice"),
        (["lr=1,2"], ["lr=3"], "SK-L004", "lr is given by --grid or a list and by an option"),
        (["lr=1,2"], ["folds=3"], "SK-L004", "folds is 3, and a point of a sweep is one training"),
        (["out=a,b"], [], "SK-L004", "names its runs' folders itself"),
        (["lr"], [], "SK-L004", "--grid lr names no values"),
    ],
)
def test_what_cannot_be_is_refused_by_name(grid, fixed, code, said):
    with pytest.raises(UsageError) as refused:
        points_of(grid_of(grid), assignments=fixed)
    assert refused.value.code == code
    assert said in refused.value.what


@pytest.mark.parametrize("text", ["lr: 0.1", "[]", "- 3", "- {lr: [1]}", "- &a {lr: 1}\n- *a"])
def test_a_file_without_points_is_refused(tmp_path, text):
    (tmp_path / "points.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"SK-C010: .*points.yaml holds no points"):
        listed_in(tmp_path / "points.yaml")
