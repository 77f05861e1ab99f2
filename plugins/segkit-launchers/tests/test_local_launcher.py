"""So many jobs at once as fit, each on GPUs and cores of its own, and none left behind."""

import os
import signal
import subprocess
import sys
import time

import pytest
from segkit_launchers import local
from segkit_launchers.local import LocalLauncher
from segkit_launchers.machine import Machine

from segkit.api import EnvironmentFault, Job

STAMPED = """
import os, sys, time
begin = time.monotonic()
time.sleep(0.5)
print(begin, time.monotonic(), repr(os.environ.get("CUDA_VISIBLE_DEVICES")),
      os.environ.get("OMP_NUM_THREADS"))
"""


@pytest.fixture
def launched(tmp_path, monkeypatch):
    """launched(machine, needs of each job, ...): what each job printed, in the order given."""

    def launch(machine, *needs, **options):
        monkeypatch.setattr(Machine, "this", classmethod(lambda cls: machine))
        jobs = [job(tmp_path, f"job-{at}", STAMPED, **each) for at, each in enumerate(needs)]
        for _ in LocalLauncher(tmp_path, **options).launch(jobs):
            pass
        return [each.log.read_text().split() for each in jobs]

    return launch


def job(folder, name, program, **needs):
    log = folder / f"{name}.log"
    return Job(name, (sys.executable, "-c", program), folder, log, **needs)


def most_at_once(printed):
    times = [(float(begin), float(end)) for begin, end, *_ in printed]
    return max(sum(b <= begin < e for b, e in times) for begin, _ in times)


def test_two_gpus_are_two_jobs_at_once_each_on_its_own(launched):
    printed = launched(Machine(("0", "GPU-b"), 8, 64), {}, {}, {})
    assert most_at_once(printed) == 2
    assert {gpus for _, _, gpus, _ in printed[:2]} == {"'0'", "'GPU-b'"}


def test_cores_bound_what_runs_at_once_and_the_threads_of_each(launched):
    printed = launched(Machine((), 4, 64), *[{"cpus": 2}] * 3)
    assert most_at_once(printed) == 2
    assert {threads for *_, threads in printed} == {"2"}


def test_without_a_number_of_cores_jobs_come_one_by_one(launched):
    assert most_at_once(launched(Machine((), 4, 64), {}, {})) == 1


def test_memory_bounds_too(launched):
    needs = {"cpus": 1, "memory_gib": 40}
    assert most_at_once(launched(Machine((), 4, 64), needs, needs)) == 1


def test_a_limit_of_ones_own_holds(launched):
    assert most_at_once(launched(Machine((), 4, 64), {"cpus": 1}, {"cpus": 1}, at_once=1)) == 1


def test_no_gpu_is_no_gpu(launched):
    [[_, _, gpus, _]] = launched(Machine(("0",), 4, 64), {"gpus": 0})
    assert gpus == "''"


def test_what_never_fits_is_refused_before_anything_runs(launched, tmp_path):
    with pytest.raises(EnvironmentFault) as refused:
        launched(Machine(("0",), 4, 64), {}, {"gpus": 2})
    assert str(refused.value) == (
        "SK-L001: job-1 needs 2 GPUs, and this machine has 1.\n         Ask for less, or launch "
        "on other machines; `segkit list launchers` shows how."
    )
    assert not (tmp_path / "job-0.log").exists()


def test_a_program_that_is_not_there_is_said_and_the_others_run(tmp_path):
    lost = Job("lost", ("/no/such/program",), tmp_path, tmp_path / "lost.log")
    news = list(LocalLauncher(tmp_path).launch([lost, job(tmp_path, "other", "pass")]))
    ends = {each.job.name: (each.status, each.reason) for each in news if each.what == "ended"}
    assert ends["other"] == (0, "")
    assert ends["lost"] == (None, "/no/such/program cannot be run (No such file or directory)")


def test_time_that_is_up_asks_the_job_to_end(tmp_path):
    [_, end] = LocalLauncher(tmp_path).launch(
        [job(tmp_path, "long", "import time; time.sleep(60)", minutes=0.01)]
    )
    assert end.status == 128 + signal.SIGTERM


def test_one_that_does_not_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "SECONDS_TO_SAVE", 0.2)
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1)\n"
    news = LocalLauncher(tmp_path).launch(
        [job(tmp_path, "long", f"{stubborn}import sys; sys.stdout.flush(); time.sleep(60)")]
    )
    launched = next(news)
    while not launched.job.log.read_text():
        time.sleep(0.01)
    news.close()
    process = int(launched.where.split()[1])
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="asks for a signal of Linux")
def test_jobs_are_asked_to_end_when_their_launcher_is_killed(tmp_path):
    asked = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path('asked').touch(), sys.exit()))\n"
        "pathlib.Path('begun').touch(); time.sleep(60)"
    )
    program = (
        "import sys; from pathlib import Path; from segkit.api import Job\n"
        "from segkit_launchers.local import LocalLauncher\n"
        f"here = Path({str(tmp_path)!r})\n"
        f"job = Job('a', (sys.executable, '-c', {asked!r}), here, here / 'a.log')\n"
        "list(LocalLauncher(here).launch([job]))"
    )
    launcher = subprocess.Popen([sys.executable, "-c", program])
    assert comes(tmp_path / "begun")
    launcher.kill()
    launcher.wait()
    assert comes(tmp_path / "asked")


def comes(file, seconds=60):
    for _ in range(20 * seconds):
        if file.exists():
            return True
        time.sleep(0.05)
    return False
