"""`segkit bench` as typed: whole runs on work whose truth is known, and what is refused."""

import csv
import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from segkit.bench.benchmark import run_benchmark
from segkit.bench.display.watching import Quiet
from segkit.bench.order import Order
from segkit.bench.records.run import Run, read_run
from segkit.bench.runner.settings import Settings
from segkit.bench.suites.suite import find_suite
from segkit.cli.bench_command import command
from segkit.errors import SegkitError
from segkit.registry.index import Index

pytestmark = pytest.mark.integration

EXAMPLE = {
    "format": "segkit-bench/2",
    "command": "segkit bench",
    "started": "2026-01-01T00:00:00+00:00",
    "seconds": 1,
    "suite": "quick",
    "environment": {
        **{"processor": "one", "cores": 2, "memory_bytes": 1, "system": "a system"},
        **{"architecture": "x86_64", "device": "cpu", "threads": 2, "python": "3", "packages": {}},
    },
    "method": {
        **{"rounds": 2, "round_seconds": 1, "workers_alive": 2, "order": "rotated", "seed": 0},
    },
    "rows": [],
}


def bench(*arguments):
    result = CliRunner().invoke(command, [str(each) for each in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_run_leaves_results_pictures_and_a_page(probes, tmp_path):
    out = tmp_path / "out"
    suite = tmp_path / "two.yaml"
    suite.write_text(
        "about: two probes\nrounds: 2\nround_seconds: 0.1\ngrids:\n  - task: benchmark\n"
        "    benchmark: [probe(milliseconds=5), probe(does=raise)]\n    batch: 3\n"
    )
    result = bench(suite, "--device", "cpu", "--out", out)
    assert result.exit_code == 0
    run = read_run(out)
    assert [row.status for row in run.rows] == ["ok", "crashed"]
    assert run.rows[0].units_per_step == 3  # the case's batch reached the benchmark's option
    assert run.about == "two probes" and not run.interrupted
    assert run.environment.packages["bench-probe"] == "1.0"
    assert run.ceilings.flops("fp32") > 1e9 and run.ceilings.copy_bytes > 1e8
    assert len(run.aa.pairs) == 1 and run.aa.band >= 1
    assert {"results.json", "results.csv", "report.html"} <= {f.name for f in out.iterdir()}
    assert "Same case twice (A/A): two processes" in result.output
    assert "crashed: SK-P007: 'probe' of bench-probe 1.0 failed while it ran" in result.output
    assert "ValueError: a fault of the component; bench_probe.py" in result.output


@pytest.mark.slow
def test_a_case_that_sleeps_twice_as_long_as_its_baseline_is_half_as_fast(probes, tmp_path):
    suite = tmp_path / "pair.yaml"
    suite.write_text(
        # Of 7 rounds, one that was disturbed does not reach the interval's end; of 3 it does.
        "rounds: 7\nround_seconds: 0.2\nbaseline: probe(milliseconds=20, megabytes=40)\n"
        "grids:\n  - task: benchmark\n    benchmark:\n"
        "      - probe(milliseconds=40, megabytes=80)\n"
        "      - probe(milliseconds=20, megabytes=40)\n"
    )
    result = bench(suite, "--device", "cpu", "--out", tmp_path / "out")
    run = read_run(tmp_path / "out")
    slow, base = (row.relative for row in run.rows)
    assert slow.baseline == base.baseline == run.rows[1].case.name
    assert slow.speed == pytest.approx(0.5, abs=0.1) and slow.low <= 0.5 * 1.05
    assert slow.memory == pytest.approx(2, rel=0.15)
    assert slow.paired and not slow.tie and base.speed == 1
    assert "  baseline  " in result.output and "baseline: probe(milliseconds=20" in result.output
    first, _ = csv.DictReader((tmp_path / "out" / "results.csv").open())
    assert float(first["relative_speed"]) == pytest.approx(slow.speed, rel=1e-5)


def test_where_nothing_could_be_measured_the_reason_is_the_error(probes, tmp_path):
    suite = find_suite("probe(does=raise)", Index.of_installed())
    order = Order(suite, settings=Settings(rounds=2, controls=False), ceilings=False)
    with pytest.raises(SegkitError) as caught:
        run_benchmark(order, Quiet(), tmp_path / "out")
    assert caught.value.code == "SK-P007"
    assert "failed while it ran (ValueError: a fault of the component" in caught.value.what
    assert (tmp_path / "out" / "results.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nothing-like-it"], "SK-B003", "there is no suite called 'nothing-like-it'."),
        (["--size", "big"], "SK-C009", "--size cannot be 'big'."),
        (
            ["--baseline", "nobody", "--encoder", "unet", "--device", "cpu"],
            "SK-C009",
            "the baseline 'nobody' is none of the 2 cases.",
        ),
        (["--size", "0"], "SK-C009", "--size cannot be '0'."),
        (["--classes", "auto"], "SK-C009", "--classes cannot be 'auto'."),
        (["--precision", "fp64"], "SK-C009", "--precision cannot be 'fp64'."),
        (["--mode", "both"], "SK-C009", "--mode cannot be 'both'."),
        (["--checkerboard"], "SK-C009", "--checkerboard was given without --quality."),
        (["--encoder", "denso*", "--dry-run"], "SK-C003", "no installed encoder fits 'denso*'."),
        (["--device", "tpu"], "SK-C009", "'tpu' is no device."),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(arguments, code, words):
    with pytest.raises(SegkitError) as caught:
        bench(*arguments)
    assert caught.value.code == code
    assert caught.value.what == words


@pytest.mark.parametrize("out", [".", "mine/below"])
def test_what_is_there_already_is_not_written_to(probes, tmp_path, monkeypatch, out):
    """And is told before the machine is measured, which takes a while."""
    monkeypatch.setattr("segkit.bench.benchmark.survey", lambda *_: pytest.fail("measured"))
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(SegkitError) as caught:
        bench("probe", "--device", "cpu", "--out", tmp_path / out)
    assert caught.value.code == "SK-C012"
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["mine"]


def test_options_make_a_grid_of_their_own_and_replace_a_suites_axes():
    lines = bench("--encoder", "unet,densenet121", "--mode", "train", "--dry-run").output
    assert lines.splitlines()[-1].startswith("2 cases, 10 rounds")
    lines = bench("losses", "--loss", "dice,0.5*dice+ce", "--size", "32", "--dry-run").output
    assert "loss: 0.5*dice+ce, train, 32px" in lines and "lovasz" not in lines


def test_help_shows_the_benchmark_and_compare_its_own():
    assert "segkit bench compare A B" in bench("--help").output
    assert "--fail-if" in bench("compare", "--help").output


def test_help_imports_no_torch():
    probe = "import sys\nfrom segkit.cli.main import main\ntry: main(['bench', '--help'])\n"
    probe += "except SystemExit: print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "False"


def test_two_interrupts_end_a_real_run_with_what_there_is(probes, tmp_path):
    """In a process of its own: the signal goes to it alone, as from a terminal."""
    out, suite = tmp_path / "out", tmp_path / "two.yaml"
    suite.write_text(
        "grids:\n  - task: benchmark\n    benchmark: [probe, probe(milliseconds=5)]\n    batch: 3\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "segkit", "bench", str(suite), "--device", "cpu", "--rounds", "500",
         "--seconds", "1", "--out", str(out)],
        stdout=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    for line in process.stdout:
        if "round 1 of 500" in line:
            break
    process.send_signal(signal.SIGINT)
    assert "Ctrl-C again ends the benchmark." in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=120)[0]
    run = read_run(out)
    assert run.interrupted and len(run.rows) == 2
    assert all(row.status == "skipped" for row in run.rows), output
    assert "Ended by hand: rows are missing." in output


def test_json_is_printed_alone_where_asked(monkeypatch, tmp_path):
    run = Run.from_json(json.dumps(EXAMPLE))
    monkeypatch.setattr("segkit.bench.benchmark.run_benchmark", lambda *given: run)
    printed = bench("--device", "cpu", "--json", "--out", tmp_path / "out").stdout
    assert json.loads(printed)["command"] == "segkit bench"
