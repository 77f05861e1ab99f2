"""`segkit sweep` on tiny runs: one table, nothing trained twice, refusals at once."""

import csv

import pytest


@pytest.fixture
def sweep(forked, tiny_settings, tmp_path):
    """sweep("--grid", ...): the command in a folder of its own, over the settings of tiny runs."""

    def run(*words, command="sweep", out="s"):
        settings = tiny_settings | {"epochs": 1, "samples": 0}
        (tmp_path / "base.yaml").write_text("".join(f"{k}: {v}\n" for k, v in settings.items()))
        given = ["--config", "base.yaml"]
        place = ["--out", out] if out else []
        return forked.run(["segkit", command, *given, *words, *place], cwd=tmp_path)

    return run


@pytest.mark.integration
def test_a_sweep_is_one_table_and_trains_only_what_is_not_finished(sweep, tmp_path):
    words = ["--grid", "lr=1e-3,1e-9", "--job-cpus", "1"]
    first = sweep(*words)
    assert first.returncode == 0, first.stderr
    assert "2 points, 0 of them finished" in first.stdout
    assert "2 finished. s/results.csv" in first.stdout
    rows = list(csv.DictReader((tmp_path / "s" / "results.csv").open()))
    assert [(row["lr"], row["state"], row["epochs"]) for row in rows] == [
        ("1e-3", "finished", "1"),
        ("1e-9", "finished", "1"),
    ]
    logs = {file: file.stat().st_mtime_ns for file in (tmp_path / "s" / "logs").iterdir()}
    again = sweep(*words, "--grid", "seed=0")
    assert again.returncode == 0, again.stdout + again.stderr
    # Named with its seed it is another point; the two of before are as they were.
    assert {file: file.stat().st_mtime_ns for file in logs} == logs
    other = sweep(*words, "--batch", "3")
    assert other.returncode == 2
    assert "SK-L004: s holds a sweep with other settings (batch: " in other.stderr


@pytest.mark.integration
def test_a_run_that_fails_is_named_with_its_log_and_the_others_count(sweep, tmp_path):
    ran = sweep("--grid", "num_classes=3,1", "--job-cpus", "1")
    assert ran.returncode == 3, ran.stdout + ran.stderr
    assert "SK-L003: 1 of 2 runs did not end well:" in ran.stderr
    assert f"num_classes=1: status 3, {tmp_path}/s/logs/num_classes=1.log" in ran.stderr
    assert "1 finished, 1 failed" in ran.stdout


@pytest.mark.integration
def test_a_training_is_a_job_whose_status_is_its_own(sweep, tmp_path):
    ran = sweep("--launcher", "local", "--job-cpus", "1", command="train", out="run")
    assert ran.returncode == 0, ran.stderr
    assert "log   " + str(tmp_path / "run.launch" / "log.txt") in ran.stdout
    assert "Trained 1 epoch" in (tmp_path / "run.launch" / "log.txt").read_text()
    assert (tmp_path / "run" / "model").is_dir()
    bad = sweep("--launcher", "local", "--num-classes", "1", command="train", out="bad")
    assert bad.returncode == 3
    assert "SK-L003: the training ended with status 3." in bad.stderr


@pytest.mark.integration
def test_an_unknown_part_is_refused_before_anything_starts(sweep, tmp_path):
    ran = sweep("--grid", "loss=dice,dise")
    assert ran.returncode == 2
    assert "SK-C003: no loss is called 'dise'" in ran.stderr
    assert not (tmp_path / "s").exists()
