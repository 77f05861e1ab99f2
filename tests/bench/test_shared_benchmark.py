"""One benchmark shared by workers: who takes what, what of a difference is noise, one result."""

import json
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner

from segkit.bench.comparison.compare import compare
from segkit.bench.display.watching import Quiet
from segkit.bench.records.case import Case
from segkit.bench.records.machine import Environment
from segkit.bench.records.row import Row
from segkit.bench.records.run import read_run
from segkit.bench.runner.budget import Budget
from segkit.bench.runner.process import WorkerFailed
from segkit.bench.runner.session import Session
from segkit.bench.runner.settings import Settings
from segkit.bench.shared.merging import Begun, merged
from segkit.bench.shared.plan import Beside, Plan, Share, owner, take
from segkit.bench.shared.worker import Measuring
from segkit.cli.bench_command import command
from segkit.errors import UsageError

MACHINE = Environment(
    processor="one",
    cores=2,
    memory_bytes=1,
    system="a system",
    architecture="x86_64",
    device="cpu",
    threads=1,
    python="3",
    packages={},
)
CASES = tuple(Case(encoder=n, decoder="unet", upsampler="bilinear", loss="ce") for n in "abcd")
FOUND = {
    "unit": "image",
    "units_per_step": 8,
    "set_up_s": 0.1,
    "first_step_s": 0.3,
    "compile_s": None,
    "memory": {"peak_bytes": 1000, "idle_bytes": 10, "method": "pretended"},
    "warm_up_steps": 5,
    "clock": "pretended",
    "usual_step_s": 0.1,
}


@pytest.fixture
def plan(tmp_path):
    plan = Plan(
        command="segkit bench",
        suite="tiny",
        about="",
        device="cpu",
        cases=CASES,
        baselines={},
        rounds=3,
        round_seconds=0.1,
        prepare_timeout=60,
    )
    plan.write(tmp_path)
    return plan


def row(case):
    return Row(case=case, status="ok")


def test_of_many_workers_one_takes_a_case(plan, tmp_path):
    taken, together = [], threading.Barrier(8)

    def work(worker):
        together.wait()
        done = {}
        while case := take(tmp_path, plan, worker, done):
            done[case.name] = row(case)
        taken.extend(done)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(case.name for case in CASES)


def test_a_worker_that_is_started_again_goes_on_with_its_own_case(plan, tmp_path):
    first = take(tmp_path, plan, 1, {})
    assert take(tmp_path, plan, 2, {}) == CASES[1]
    assert take(tmp_path, plan, 1, {}) == first == CASES[0]
    assert take(tmp_path, plan, 1, {first.name: row(first)}) == CASES[2]
    assert [owner(tmp_path, number) for number in range(4)] == [1, 2, 1, None]


class Pretender:
    """A process that answers from a script; `turns` are those of all."""

    turns: list[str]
    alive: list["Pretender"]

    def __init__(self, failing):
        self.failing, self.name = failing, ""
        self.alive.append(self)

    def ask(self, request, *, timeout, stage=lambda name: None, interrupted=lambda: False):
        if request["do"] == "prepare":
            self.name = request["case"]["encoder"]
            if error := self.failing(self.name, len(self.alive)):
                raise error
            return {"event": "prepared", "found": FOUND}
        self.turns.append(self.name)
        return {"event": "turned", "samples": {"step": [0.1, 0.1]}, "joules_per_step": None}

    def close(self):
        if self in self.alive:
            self.alive.remove(self)

    kill = close


@pytest.fixture
def measured(monkeypatch):
    """measured(cases): the share after a worker has measured them, and everybody's turns."""
    monkeypatch.setattr("segkit.bench.runner.preparing.available_bytes", lambda: 2**40)

    def measure(cases, failing=lambda name, alive: None):
        Pretender.turns, Pretender.alive = [], []
        settings = Settings(rounds=3, round_seconds=0.1, controls=False, most_alive=1)
        session = Session(settings, Quiet(), Budget())
        measuring = Measuring(CASES, session, None, lambda: Pretender(failing))
        share = Share(environment=MACHINE)
        for case in cases:
            share = measuring.add(case, share)
        measuring.close()
        assert not Pretender.alive
        return share, Pretender.turns

    return measure


def test_every_case_has_its_turns_in_the_same_rounds_as_the_reference(measured):
    share, turns = measured(CASES[1:3])
    assert "".join(turns) == "baabba" + "caacca"
    assert [each.status for each in share.rows.values()] == ["ok", "ok"]
    assert [len(each.rounds) for each in share.beside.values()] == [3, 3]
    assert share.rows[CASES[2].name].group == 3


def test_where_the_reference_takes_the_memory_the_case_is_measured_alone(measured):
    def failing(name, alive):
        return WorkerFailed("oom", "no memory") if name == "b" and alive > 1 else None

    share, turns = measured(CASES[1:3], failing)
    assert "".join(turns) == "bbb" + "caacca"
    assert [each.status for each in share.rows.values()] == ["ok", "ok"]
    assert list(share.beside) == [CASES[2].name]


def test_the_reference_is_the_first_case_that_works(measured):
    def failing(name, alive):
        return WorkerFailed("refused", "cannot be") if name == "a" else None

    share, turns = measured(CASES[:3], failing)
    assert "".join(turns) == "bbbbbb" + "cbbccb"
    assert share.rows[CASES[0].name].status == "refused"


def write_shares(folder, factors, **changes):
    """Two workers that took turns; `factors`: how slow the reference was beside each case."""
    for worker in (1, 2):
        mine = [at for at in range(len(CASES)) if at % 2 == worker - 1]
        for at in mine:
            (folder / "claims" / str(at)).write_text(str(worker))
        beside = {
            CASES[at].name: Beside(rounds=((factors[at],),) * 3, peak_bytes=100 * worker)
            for at in mine
        }
        environment = MACHINE.model_copy(update=changes if worker == 2 else {})
        rows = {CASES[at].name: row(CASES[at]) for at in mine[:1]}
        Share(environment=environment, rows=rows, beside=beside).write(folder, worker)


def test_what_the_reference_differs_by_over_workers_and_time_is_the_noise_of_the_table(
    plan, tmp_path
):
    write_shares(tmp_path, [1.0, 1.0, 1.1, 1.25])
    run = merged(tmp_path, plan, {}, 2, Begun.now())
    # The first half of the table against the second: 1 over 1.1, and 1 over 1.25.
    assert [round(pair.ratio, 4) for pair in run.aa.pairs] == [0.9091, 0.8]
    assert run.aa.band > 1.25 and run.method.jobs == 2
    write_shares(tmp_path, [1.0] * 4)
    assert merged(tmp_path, plan, {}, 2, Begun.now()).aa.band == 1


def test_a_case_that_was_lost_says_with_whom(plan, tmp_path):
    write_shares(tmp_path, [1.0] * 4)
    run = merged(tmp_path, plan, {2: "ended with status 137"}, 2, Begun.now())
    assert [(each.status, each.reason) for each in run.rows] == [
        ("ok", ""),
        ("ok", ""),
        ("skipped", "no worker came to it"),
        ("crashed", "worker 2, which had taken it, ended with status 137"),
    ]


def test_times_of_unlike_machines_become_no_table(plan, tmp_path):
    write_shares(tmp_path, [1.0] * 4, cores=64)
    with pytest.raises(UsageError) as refused:
        merged(tmp_path, plan, {}, 2, Begun.now())
    assert refused.value.code == "SK-B002"
    assert "one, 2 cores" in refused.value.what and "one, 64 cores" in refused.value.what


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--jobs", "2"], "--jobs was given without --launcher."),
        (["--launcher", "local", "--quality"], "--quality trains here, one case after the other"),
        (["--launcher", "local"], "the suite 'quick' fits size and batch to one machine"),
    ],
)
def test_what_no_workers_can_do_is_refused_before_anything_starts(words, told, tmp_path):
    out = tmp_path / "out"
    ran = CliRunner().invoke(command, ["quick", *words, "--device", "cpu", "--out", str(out)])
    assert (ran.exception.code, out.exists()) == ("SK-C009", False)
    assert told in ran.exception.what


@pytest.mark.slow
def test_two_workers_give_the_table_of_one_within_the_bands_of_both(probes, tmp_path):
    milliseconds = (4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32)
    probe = ", ".join(f"probe(milliseconds={each})" for each in milliseconds)
    (tmp_path / "twelve.yaml").write_text(
        f"rounds: 3\nround_seconds: 0.1\ngrids:\n  - {{task: benchmark, benchmark: [{probe}]}}\n"
    )

    def run(out, *words):
        words = ["bench", "twelve.yaml", "--device", "cpu", "--out", out, *words]
        ended = subprocess.run(
            [sys.executable, "-m", "segkit", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return read_run(tmp_path / out)

    one = run("one")
    two = run("two", "--launcher", "local", "--jobs", "2", "--job-cpus", "1")
    result = compare(one, two)
    ratios = {each.case: (each.ratio, each.low, each.high) for each in result.comparisons}
    assert result.count("tie") == 12, (result.band, ratios)
    assert [row.case for row in two.rows] == [row.case for row in one.rows]
    # What one calls different, two does: the shortest sleep is an eighth of the longest.
    assert two.rows[11].times["step"].median > 6 * two.rows[0].times["step"].median
    assert len(two.aa.pairs) == 6 and two.method.jobs == 2
    assert (tmp_path / "two" / "report.html").is_file()
    samples = json.loads((tmp_path / "two" / "samples.json").read_text())
    assert list(samples) and set(samples) == {row.case.name for row in two.rows}
