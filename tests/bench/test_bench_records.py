"""Results as files: what is written reads back, and what is no result is refused with a reason."""

import csv
import json
from pathlib import Path

import pytest

import segkit
from segkit.bench.comparison.statistics import MOST_STEPS_KEPT
from segkit.bench.records.case import Case
from segkit.bench.records.compact_json import WIDTH, compact
from segkit.bench.records.controls import ControlPair, Controls
from segkit.bench.records.flat_table import write_csv
from segkit.bench.records.machine import Environment
from segkit.bench.records.row import Memory, Row, Summary
from segkit.bench.records.run import Method, Run, json_schema, read_run
from segkit.errors import UsageError

PUBLISHED = Path(segkit.__file__).parent / "bench" / "records" / "schema.json"


def example_run(**changes) -> Run:
    summary = Summary(n=3, median=0.5, p10=0.4, p90=0.7, p99=0.8, low=0.45, high=0.55)
    measured = Row(
        case=Case(encoder="unet", decoder="unet", upsampler="bilinear", loss="0.5*dice + ce"),
        status="ok",
        times={"step": summary},
        steps=(2, 1),
        rounds=((0.4, 0.5), (0.8,)),
        images_per_s=16.0,
        memory=Memory(peak_bytes=100, idle_bytes=50, method="VmHWM"),
    )
    lost = Row(case=Case(encoder="densenet121", size=4096), status="oom", reason="too large")
    environment = Environment(
        processor="a processor",
        cores=2,
        memory_bytes=24 * 2**30,
        system="Linux",
        architecture="x86_64",
        device="cpu",
        threads=2,
        python="3.13",
        packages={"torch": "2.15"},
    )
    values = {
        "command": "segkit bench",
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 1.0,
        "suite": "quick",
        "environment": environment,
        "method": Method(rounds=2, round_seconds=1, workers_alive=2, order="rotated", seed=0),
        "rows": (measured, lost),
    }
    return Run(**values | changes)


def test_a_run_written_as_json_reads_back_equal(tmp_path):
    run = example_run()
    (tmp_path / "results.json").write_text(run.to_json())
    assert read_run(tmp_path) == run
    assert read_run(tmp_path / "results.json") == run


def test_the_published_schema_is_the_records_own():
    assert json.loads(PUBLISHED.read_text()) == json_schema()


def test_the_csv_has_a_line_for_every_row_and_no_samples(tmp_path):
    write_csv(example_run(), tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="") as opened:
        lines = list(csv.DictReader(opened))
    assert [line["status"] for line in lines] == ["ok", "oom"]
    assert lines[0]["step_median"] == "0.5" and lines[0]["memory_peak_bytes"] == "100"
    assert lines[1]["step_median"] == ""
    assert "samples" not in lines[0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "it is no JSON"),
        ("[]", "its format is None"),
        ('{"format": "segkit-bench/9"}', "its format is 'segkit-bench/9', not 'segkit-bench/2'"),
        ('{"format": "segkit-bench/2"}', "command: Field required"),
    ],
)
def test_what_is_no_result_is_refused_with_the_reason(tmp_path, content, reason):
    file = tmp_path / "results.json"
    file.write_text(content)
    with pytest.raises(UsageError) as caught:
        read_run(file)
    assert caught.value.code == "SK-B001"
    assert str(file) in caught.value.what and reason in caught.value.what


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(UsageError, match="FileNotFoundError"):
        read_run(tmp_path)


def test_equal_cases_have_one_name_and_each_setting_changes_it():
    case = Case(encoder="unet", decoder="unet", upsampler="bilinear", loss="ce")
    assert case.name == "unet + unet + bilinear + ce, train, 256px, batch 8, fp32"
    changes = [
        *[{"mode": "infer"}, {"size": 128}, {"batch": 1}, {"precision": "bf16"}],
        *[{"compile": "yes"}, {"compile": "graph"}, {"channels_last": False}, {"classes": 2}],
        *[{"device": "cuda"}, {"threads": 1}, {"workers": 2}, {"task": "loss"}, {"channels": 4}],
    ]
    names = {case.model_copy(update=change).name for change in changes}
    assert len(names | {case.name}) == len(changes) + 1


def test_the_tie_band_is_the_widest_interval_of_any_pair_to_either_side():
    pairs = (
        ControlPair(case="a", ratio=1.01, low=0.95, high=1.03),
        ControlPair(case="b", ratio=0.99, low=0.97, high=1.02),
    )
    assert Controls(pairs=pairs).band == pytest.approx(1 / 0.95)


def test_what_is_written_reads_back_and_no_line_is_long_without_need():
    value = {"a": list(range(200)), "b": {"c": 1 / 3, "d": None, "e": {"f": "x" * 200}}, "g": []}
    text = compact(value)
    assert json.loads(text) == {**value, "b": {**value["b"], "c": 0.333333}}
    assert [line for line in text.splitlines() if len(line) > WIDTH and "xxx" not in line] == []
    assert len(text.splitlines()) < 20


def test_published_results_hold_no_single_samples():
    files = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*.json"))
    lines = {file.name: len(file.read_text().splitlines()) for file in files}
    assert lines and {name: count for name, count in lines.items() if count >= 1000} == {}
    rounds = [each for file in files for row in rows_of(file) for each in row.rounds]
    assert rounds and max(map(len, rounds)) <= MOST_STEPS_KEPT


def rows_of(file: Path) -> tuple[Row, ...]:
    return read_run(file).rows if '"segkit-bench/2"' in file.read_text() else ()
