"""Launchers, good and wrong: each wrong one differs from the good one in what its name says."""

import os
import subprocess

import torch

from segkit.interfaces import JobNews


class Sound:
    outlives = False
    mode = "ab"

    def __init__(self, folder) -> None:
        self.folder = folder

    def launch(self, jobs):
        for job in jobs:
            process = self.start(job)
            try:
                yield JobNews(job, "launched", "here")
                status = process.wait()
            finally:
                self.end(process)
            yield JobNews(job, "ended", "here", self.shown(status))

    def start(self, job):
        job.log.parent.mkdir(exist_ok=True)
        with job.log.open(self.mode) as log:
            return subprocess.Popen(self.words(job), stdout=log, stderr=log, **self.place(job))

    def end(self, process):
        if process.poll() is None:
            process.terminate()
            process.wait()

    def words(self, job):
        return job.command

    def place(self, job):
        return {"cwd": job.folder, "env": os.environ | job.environment}

    def shown(self, status):
        return status if status >= 0 else 128 - status


class Outliving(Sound):
    outlives = True


class TellsNoLaunch(Sound):
    def launch(self, jobs):
        return (news for news in super().launch(jobs) if news.what == "ended")


class ForgetsTheLast(Sound):
    def launch(self, jobs):
        return super().launch(jobs[:2])


class AllIsWell(Sound):
    def shown(self, status):
        return 0


class PythonsOwnStatus(Sound):
    def shown(self, status):
        return status


class ThroughAShell(Sound):
    def words(self, job):
        quoted = (f'"{word}"' for word in job.command)
        return ["sh", "-c", " ".join(quoted)]


class Elsewhere(Sound):
    def place(self, job):
        return {"env": os.environ | job.environment}


class WithoutVariables(Sound):
    def place(self, job):
        return {"cwd": job.folder}


class WritesAnew(Sound):
    mode = "wb"


class LeavesThemRunning(Sound):
    def end(self, process):
        pass


class KillsAtOnce(Sound):
    def end(self, process):
        process.kill()
        process.wait()


class Seeds(Sound):
    def __init__(self, folder) -> None:
        super().__init__(folder)
        torch.manual_seed(0)


class Prints(Sound):
    def __init__(self, folder) -> None:
        super().__init__(folder)
        print("here I am")  # noqa: T201


GOOD = (Sound, Outliving)
# The check that is to see it, and what it is to see.
WRONG = {
    TellsNoLaunch: ("tells_launch_and_end_of_every_job", r"of job-0 it told \['ended'\]"),
    ForgetsTheLast: ("tells_launch_and_end_of_every_job", r"of job-2 it told \[\]"),
    AllIsWell: ("gives_the_exit_status", "'badly': 0"),
    PythonsOwnStatus: ("gives_the_exit_status", "'killed': -9"),
    ThroughAShell: ("runs_the_very_words", "the (words were|status was)|the log"),
    Elsewhere: ("runs_the_very_words", "it ran in"),
    WithoutVariables: ("runs_the_very_words", "SEGKIT_CONFORMANCE was None"),
    WritesAnew: ("appends_to_the_log", r"the log held \['err', 'out'\]"),
    LeavesThemRunning: ("closing_ends_what_does_not_outlive", "the job went on"),
    KillsAtOnce: ("closing_ends_what_does_not_outlive", "without being asked"),
    Seeds: ("leaves_the_process_alone", "seeds torch's random state"),
    Prints: ("prints_nothing", "it wrote 'here I am"),
}
