"""Every job ends once, and a launcher that says otherwise is told of."""

import sys

import pytest

from segkit.errors import PluginError
from segkit.interfaces import JobNews
from segkit.launchers.following import followed, handed_over
from segkit.launchers.jobs import Needs, plain_name, segkit_job


class Told:
    """Tells what it was given to tell; notes when it is closed."""

    outlives = True

    def __init__(self, *news):
        self.news, self.closed = news, False

    def launch(self, jobs):
        try:
            yield from self.news
        finally:
            self.closed = True


@pytest.fixture
def jobs(tmp_path):
    return [segkit_job(name, ["list"], tmp_path / name, Needs(cpus=2)) for name in "ab"]


def news(job, what, status=None):
    return JobNews(job, what, "there", status)


def test_a_job_is_this_segkit_here_with_the_variables_that_steer_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGKIT_DISABLE", "acme")
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.chdir(tmp_path)
    job = segkit_job("a", ["list", "two words"], tmp_path / "log", Needs(gpus=1, minutes=3))
    assert job.command == (sys.executable, "-m", "segkit", "list", "two words")
    assert (job.folder, job.gpus, job.minutes) == (tmp_path, 1, 3)
    assert job.environment["SEGKIT_DISABLE"] == "acme"
    assert "SECRET" not in job.environment


def test_ends_come_in_their_order(jobs):
    a, b = jobs
    heard = []
    ends = followed(
        Told(news(a, "launched"), news(b, "launched"), news(b, "ended", 3), news(a, "ended", 0)),
        jobs,
        heard.append,
    )
    assert [(end.job.name, end.status) for end in ends] == [("b", 3), ("a", 0)]
    assert len(heard) == 4


def test_a_job_that_is_forgotten_is_the_launchers_fault(jobs):
    a, _ = jobs
    with pytest.raises(PluginError, match="Told never told how b ended"):
        followed(Told(news(a, "launched"), news(a, "ended", 0)), jobs, print)


def test_a_job_that_ends_twice_is_the_launchers_fault(jobs):
    a, _ = jobs
    launcher = Told(news(a, "ended", 0), news(a, "ended", 0))
    with pytest.raises(PluginError, match="told twice that a ended"):
        followed(launcher, jobs, print)
    assert launcher.closed


def test_handing_over_waits_for_no_end(jobs):
    a, b = jobs
    never = iter([])
    launcher = Told(news(a, "launched"), news(b, "launched"), news(a, "ended", next(never, 1)))
    assert [each.what for each in handed_over(launcher, jobs)] == ["launched", "launched"]
    assert launcher.closed


def test_without_jobs_nothing_is_launched():
    assert followed(Told(news(None, "launched")), [], print) == []


def test_names_stay_apart_and_are_harmless():
    texts = ["lr=0.001", "loss=dice+ce", "loss=0.5*dice", "loss=0.5/dice", "../..", "x" * 200, "é"]
    names = [plain_name(text) for text in texts]
    assert names[:2] == texts[:2]
    assert len({*names}) == len(texts)
    assert all(name[0].isalnum() and "/" not in name and len(name) < 120 for name in names)
