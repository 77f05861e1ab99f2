"""Names from strangers on a terminal and in a spreadsheet are shown, and obeyed by nobody."""

import csv
import io
import json

from click.testing import CliRunner
from rich.console import Console

from segkit.bench.comparison.statistics import summarise
from segkit.bench.display.terminal import LiveDisplay
from segkit.bench.records.case import Case
from segkit.bench.records.flat_table import write_csv
from segkit.bench.records.machine import Environment
from segkit.bench.records.row import Row
from segkit.bench.records.run import Method, Run
from segkit.cli.main import segkit
from segkit.training.monitoring.events import EpochReport
from segkit.training.monitoring.progress import LiveProgress

# A terminal's title is set, a colour begins, a spreadsheet runs a program.
NAME = "=cmd()\x1b]0;owned\x07\x1b[31m[red]cat"
SHOWN = r"=cmd()\x1b]0;owned\x07\x1b[31m[red]cat"


def terminal():
    written = io.StringIO()
    return Console(file=written, force_terminal=True, width=200, color_system=None), written


def run_of(*rows):
    environment = {"processor": NAME, "cores": 2, "memory_bytes": 1, "system": NAME, "python": "3"}
    environment |= {"architecture": "x", "device": "cpu", "threads": 1, "packages": {}}
    method = Method(rounds=2, round_seconds=1, workers_alive=2, order="", seed=0)
    machine = Environment.model_validate(environment)
    return Run(
        command="", started="", seconds=1, suite="s", environment=machine, method=method, rows=rows
    )


CRASHED = Row(case=Case(encoder=NAME, decoder="unet"), status="crashed", reason=NAME)


def test_a_class_steers_no_terminal_that_watches_a_training():
    console, written = terminal()
    live = LiveProgress(console)
    live.decided([("classes", f"2: ground, {NAME}")])
    live.warned(f"{NAME} is rare")
    numbers = dict.fromkeys(EpochReport.__dataclass_fields__, 0)
    texts = {"scores": {NAME: 0.5}, "score_name": NAME}
    live.finished_epoch(EpochReport(**(numbers | texts)))
    live.close()
    assert "\x1b]0;" not in written.getvalue() and "\x1b[31m" not in written.getvalue()
    assert written.getvalue().count(SHOWN) == 3


def test_a_case_steers_no_terminal_that_watches_a_benchmark():
    console, written = terminal()
    live = LiveDisplay(console)
    live.noticed(NAME)
    live.finished(run_of(CRASHED))
    assert "\x1b]0;" not in written.getvalue() and "\x1b[31m" not in written.getvalue()
    assert SHOWN in written.getvalue()


def test_a_result_that_is_compared_steers_no_terminal(tmp_path):
    (tmp_path / "a.json").write_text(run_of(CRASHED).to_json())
    rounds = ((0.1, 0.1), (0.1, 0.1))
    timed = {"times": {"step": summarise(rounds)}, "rounds": rounds, "steps": (2, 2)}
    measured = Row(case=CRASHED.case, status="ok", units_per_step=1, **timed)
    (tmp_path / "b.json").write_text(run_of(measured).to_json())
    words = ["bench", "compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    shown = CliRunner().invoke(segkit, words)
    assert shown.exit_code == 0 and SHOWN in shown.output and "\x1b" not in shown.output
    asjson = CliRunner().invoke(segkit, [*words, "--json"])
    assert (
        "\x1b" not in asjson.output and NAME in json.loads(asjson.output)["comparisons"][0]["case"]
    )


def test_a_suite_steers_no_terminal(tmp_path):
    (tmp_path / "s.yaml").write_text(
        json.dumps({"grids": [{"task": "data", "data": [NAME], "size": 64, "batch": 2}]})
    )
    shown = CliRunner().invoke(segkit, ["bench", str(tmp_path / "s.yaml"), "--dry-run"])
    assert shown.exit_code == 0 and SHOWN in shown.output and "\x1b" not in shown.output


def test_a_spreadsheet_finds_no_formula_in_a_benchmarks_table(tmp_path):
    write_csv(run_of(CRASHED), tmp_path / "results.csv")
    with (tmp_path / "results.csv").open() as opened:
        (row,) = csv.DictReader(opened)
    assert row["name"].startswith("'=cmd()") and row["reason"].startswith("'=cmd()")
