"""A launcher by its name, and its jobs from the launch to the end of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from segkit.errors import PluginError, SegkitError
from segkit.interfaces import Job, JobNews, Launcher
from segkit.registry.components import Component, default_registry

Told = Callable[[JobNews], None]


class JobsFailed(SegkitError):
    """SK-L003, with the exit status of the first job that failed."""

    def __init__(self, what: str, fix: str, status: int | None) -> None:
        super().__init__("SK-L003", what, fix)
        self.exit_code = status or 1


def launcher_of(written: str) -> Component:
    """The launcher that is named, with its options; raises as `Registry.component` does."""
    return default_registry().component("launchers", written)


def built(launcher: Component, folder: Path) -> Launcher:
    """The launcher with its own folder; raises PluginError SK-P003 where it is none."""
    return cast("Launcher", launcher.built(folder=folder.absolute()))


def followed(launcher: Launcher, jobs: Sequence[Job], told: Told) -> list[JobNews]:
    """The end of every job, in the order in which they come; `told` hears all news.

    Raises EnvironmentFault SK-L001, SK-L002 before a job begins, and PluginError SK-P003 where the
    launcher forgets a job or tells of one twice.
    """
    ends: dict[str, JobNews] = {}
    with closing(_news(launcher, jobs)) as news:
        for each in news:
            if each.what == "ended":
                if each.job.name in ends:
                    raise _broken(launcher, f"told twice that {each.job.name} ended")
                ends[each.job.name] = each
            told(each)
    if forgotten := [job.name for job in jobs if job.name not in ends]:
        raise _broken(launcher, f"never told how {forgotten[0]} ended")
    return list(ends.values())


def handed_over(launcher: Launcher, jobs: Sequence[Job]) -> list[JobNews]:
    """Launches jobs that outlive this process, and waits for none; where each of them is."""
    launched: dict[str, JobNews] = {}
    with closing(_news(launcher, jobs)) as news:
        for each in news:
            launched.setdefault(each.job.name, each)
            if len(launched) == len(jobs):
                break
    return list(launched.values())


def _news(launcher: Launcher, jobs: Sequence[Job]) -> Any:
    """The launcher's news; an iterator that cannot be closed gets a `close` that does nothing."""
    news: Iterator[JobNews] = launcher.launch(jobs) if jobs else iter(())
    return news if hasattr(news, "close") else (each for each in news)


def _broken(launcher: Launcher, what: str) -> PluginError:
    return PluginError(
        "SK-P003",
        f"the launcher {type(launcher).__name__} {what}.",
        "Please report it to its authors; `segkit plugins --check` names them.",
    )
