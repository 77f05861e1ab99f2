"""A node of a cluster is lost in the middle of a sweep: every run ends all the same, none twice."""

import csv
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray"),
]
EPOCHS = 4


@pytest.fixture
def cluster():
    """Two nodes of one core each, on this machine; the second can be killed."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield cluster, cluster.add_node(num_cpus=1)
    cluster.shutdown()


def lines_of(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.is_file() else []


def states(out: Path) -> tuple[int, int]:
    """How many runs have ended, and how many have begun and not ended."""
    begun = len([*(out / "logs").glob("*.log")])
    runs = (out / "runs").glob("*")
    ended = sum(len(lines_of(run / "metrics.jsonl")) == EPOCHS for run in runs)
    return ended, begun - ended


def test_eight_runs_end_once_though_a_node_is_killed(cluster, tmp_path):
    nodes, second = cluster
    words = ["sweep", "--encoder", "unet(width=4, depth=2)", "--recipe", "plain", "--size", "32"]
    words += ["--batch", "2", "--epochs", str(EPOCHS), "--set", "epoch_steps=2", "--device", "cpu"]
    words += [
        "--set",
        f"evaluate_every={EPOCHS}",
        "--set",
        "samples=0",
        "--workers",
        "0",
        "--seeds",
        "8",
        "--out",
        "s",
    ]
    words += ["--launcher", f"ray(address='{nodes.address}')", "--job-cpus", "1"]
    with (tmp_path / "printed").open("wb") as printed:
        sweep = subprocess.Popen(
            [sys.executable, "-m", "segkit", *words],
            cwd=tmp_path,
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
    try:
        out = tmp_path / "s"
        # On both nodes a training is under way, and others have ended.
        while sweep.poll() is None and not (states(out)[0] >= 2 and states(out)[1] == 2):
            time.sleep(0.02)
        told = (tmp_path / "printed").read_text()
        assert sweep.poll() is None, told
        nodes.remove_node(second, allow_graceful=False)
        assert sweep.wait(timeout=900) == 0, (tmp_path / "printed").read_text()
    finally:
        sweep.kill()
    told = (tmp_path / "printed").read_text()
    assert told.count(": done") == 8 and "8 finished. s/results.csv" in told
    with (out / "results.csv").open() as table:
        assert [row["state"] for row in csv.DictReader(table)] == ["finished"] * 8
    starts = 0
    for run in (out / "runs").iterdir():
        log = (out / "logs" / f"{run.name}.log").read_text()
        assert log.count("Trained ") == 1, log
        epochs = [json.loads(line)["epoch"] for line in lines_of(run / "metrics.jsonl")]
        assert epochs == list(range(1, EPOCHS + 1))
        starts += log.count("loading PyTorch")
    # That of the node which was killed was begun twice, and no other; it may have ended before its
    # first line.
    assert starts in (8, 9)
