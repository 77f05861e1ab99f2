"""What is submitted, what becomes of it, and what a second launch does, beside fake programs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from segkit_launchers.slurm import SlurmLauncher

from segkit.api import EnvironmentFault, Job

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the fake looks into /proc")


def job(folder, name="a", program="pass", **needs):
    words = (sys.executable, "-c", program)
    return Job(name, words, folder, folder / "logs" / f"{name}.log", **needs)


def directives(folder):
    lines = sorted(folder.glob("*.sbatch"))[-1].read_text().splitlines()
    return [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]


@LINUX
def test_needs_become_options_of_sbatch(fake_slurm, tmp_path):
    launcher = SlurmLauncher(tmp_path / "s", partition="gpu", account="lab", extra="--nice", poll=0)
    needs = {"gpus": 2, "cpus": 8, "memory_gib": 1.5, "minutes": 90}
    list(launcher.launch([job(tmp_path, "a", processes=2, **needs)]))
    assert directives(tmp_path / "s") == [
        "--job-name=segkit-a",
        "--array=0-0",
        f"--output={tmp_path}/s/slurm-%A_%a.txt",
        "--open-mode=append",
        "--requeue",
        "--nodes=1",
        "--ntasks=1",
        "--cpus-per-task=8",
        "--gres=gpu:2",
        "--mem=1536M",
        "--time=90",
        "--signal=B:TERM@120",
        "--partition=gpu",
        "--account=lab",
        "--nice",
    ]


@LINUX
def test_jobs_of_equal_needs_are_one_array(fake_slurm, tmp_path):
    jobs = [job(tmp_path, name, cpus=1) for name in "abc"] + [job(tmp_path, "d", cpus=2)]
    news = list(SlurmLauncher(tmp_path / "s", poll=0.05).launch(jobs))
    places = {each.job.name: each.where for each in news}
    assert places == {"a": "SLURM job 100_0", "b": "SLURM job 100_1", "c": "SLURM job 100_2"} | {
        "d": "SLURM job 101_0"
    }


def test_the_script_is_one_that_bash_reads(tmp_path):
    from segkit_launchers.script import script_of

    jobs = [job(tmp_path / "it's here", name, "print('$HOME')", cpus=2) for name in "ab"]
    script = script_of(jobs, tmp_path, [], "export A='b c'")
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, "")


@LINUX
def test_a_signal_reaches_the_command_whose_own_status_is_kept(fake_slurm, tmp_path):
    saving = (
        "import pathlib, signal, sys, time\n"
        "def save(*_): time.sleep(0.5); print('saved'); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, save); pathlib.Path('begun').touch(); time.sleep(60)"
    )
    news = SlurmLauncher(tmp_path / "s", poll=0.05).launch([job(tmp_path, "a", saving)])
    next(news)
    while not (tmp_path / "begun").exists():
        time.sleep(0.02)
    os.kill(int(next(fake_slurm.glob("*/0/process")).read_text()), signal.SIGTERM)
    [end] = news
    assert end.status == 143
    assert end.job.log.read_text() == "saved\n"


@LINUX
def test_a_second_launch_watches_what_is_queued_and_submits_the_rest(fake_slurm, tmp_path):
    slow = job(tmp_path, "slow", "import time; print('once'); time.sleep(1)")
    next(SlurmLauncher(tmp_path / "s", poll=0.05).launch([slow]))
    other = job(tmp_path, "other")
    news = list(SlurmLauncher(tmp_path / "s", poll=0.05).launch([slow, other]))
    ends = {each.job.name: (each.where, each.status) for each in news if each.what == "ended"}
    assert ends == {"slow": ("SLURM job 100_0", 0), "other": ("SLURM job 101_0", 0)}
    assert slow.log.read_text() == "once\n"


@LINUX
def test_of_a_job_that_left_no_status_accounting_is_asked(fake_slurm, tmp_path):
    news = SlurmLauncher(tmp_path / "s", poll=0.05).launch(
        [job(tmp_path, "a", "import time; time.sleep(60)")]
    )
    next(news)
    [place] = fake_slurm.glob("*/0")
    (place / "ends").write_text("NODE_FAIL")
    os.killpg(int((place / "process").read_text()), signal.SIGKILL)
    [end] = news
    assert (end.status, end.reason) == (None, "SLURM says NODE_FAIL")


@LINUX
def test_while_the_queue_does_not_answer_nothing_has_ended(fake_slurm, tmp_path):
    news = SlurmLauncher(tmp_path / "s", poll=0.05).launch([job(tmp_path)])
    next(news)
    (fake_slurm / "silent").touch()
    time.sleep(0.3)
    (fake_slurm / "silent").unlink()
    assert [each.status for each in news] == [0]


def test_a_refusal_is_passed_on_in_slurms_words(fake_slurm, tmp_path):
    (fake_slurm / "refusing").touch()
    with pytest.raises(EnvironmentFault) as refused:
        next(SlurmLauncher(tmp_path / "s").launch([job(tmp_path)]))
    assert str(refused.value).startswith(
        f"SK-L002: sbatch refused {tmp_path}/s/000.sbatch: sbatch: error: invalid partition "
        "specified: nowhere."
    )


def test_without_slurm_it_says_where_to_be(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(Path("/nowhere")))
    with pytest.raises(EnvironmentFault, match=r"SK-L002: there is no sbatch on this machine"):
        next(SlurmLauncher(tmp_path / "s").launch([job(tmp_path)]))
