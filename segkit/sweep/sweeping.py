"""Trains the points of a sweep by a launcher; what is finished is never trained again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from segkit.config import TrainConfig, to_yaml
from segkit.errors import UsageError
from segkit.interfaces import Job, JobNews, Launcher, MetricTraits
from segkit.launchers.following import JobsFailed, followed
from segkit.launchers.jobs import Needs, segkit_job
from segkit.registry.components import default_registry
from segkit.registry.expression import parse_list
from segkit.storage import replace_text, storage_errors
from segkit.sweep.outcomes import Outcome, Summary, outcome_of, summaries, write_tables
from segkit.sweep.points import Point
from segkit.training.preparation.setup import refuse_unknown_names


@dataclass(frozen=True)
class Sweep:
    """A folder of runs.

    sweep.json    what all points share and what each varies
    points/       a configuration each
    runs/  logs/  a run and a log each
    statuses.json exit status of each run's last job
    results.csv  summary.csv  launcher/
    """

    folder: Path
    points: Sequence[Point]
    needs: Needs

    def run_of(self, point: Point) -> Path:
        return self.folder / "runs" / point.name

    def log_of(self, point: Point) -> Path:
        return self.folder / "logs" / f"{point.name}.log"

    def outcomes(self) -> list[Outcome]:
        """Every point's run as it lies on the disk."""
        ended = self._statuses()
        return [outcome_of(p, self.run_of(p), ended.get(p.name)) for p in self.points]

    def begin(self) -> list[Outcome]:
        """Refuses what cannot be, writes the points; what became of them so far.

        Raises UsageError: SK-L004 where the folder holds another sweep or something else, and what
        the parts named say.
        """
        for point in self.points:
            refuse_unknown_names(point.config)
        self._refuse_another_sweep()
        with storage_errors(self.folder):
            for name in ("points", "runs", "logs"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            for point in self.points:
                replace_text(self._file_of(point), to_yaml(point.config, _said(point.config)))
            replace_text(self.folder / "sweep.json", json.dumps(self._record(), indent=1) + "\n")
        return self.outcomes()

    def train(
        self, launcher: Launcher, unfinished: Sequence[Outcome], told: Callable[[JobNews], None]
    ) -> None:
        """Launches a job for each, and follows them; tables are written after every end.

        Raises JobsFailed SK-L003 where not all end well, and what the launcher refuses.
        """
        statuses = self._statuses()

        def heard(news: JobNews) -> None:
            if news.what == "ended":
                if news.status is not None:
                    statuses[news.job.name] = news.status
                with storage_errors(self.folder):
                    replace_text(self.folder / "statuses.json", json.dumps(statuses) + "\n")
                self.tables()
            told(news)

        with self._tables_at_the_end():
            ends = followed(launcher, [self.job_of(each.point) for each in unfinished], heard)
        _refuse_failures(ends)

    def tables(self) -> tuple[list[Outcome], list[Summary]]:
        """Writes results.csv and summary.csv anew, and gives what is in them."""
        outcomes = self.outcomes()
        means = summaries(outcomes, higher_is_better=self._higher_is_better())
        write_tables(outcomes, means, self.folder)
        return outcomes, means

    def job_of(self, point: Point) -> Job:
        """Its command line: starts the run, and goes on with it when given again."""
        words = ["train", "--config", str(self._file_of(point).absolute())]
        words += ["--resume-or-start", str(self.run_of(point).absolute())]
        if point.config.minutes is not None:
            words += ["--minutes", f"{point.config.minutes:g}"]
        if self.needs.processes > 1:
            words += ["--devices", str(self.needs.processes)]
        return segkit_job(point.name, words, self.log_of(point), self.needs)

    def _file_of(self, point: Point) -> Path:
        return self.folder / "points" / f"{point.name}.yaml"

    def _record(self) -> dict[str, object]:
        varied = {key for point in self.points for key in point.settings}
        shared = self.points[0].config.model_dump(exclude={*varied, "out"})
        return {"shared": shared, "points": {p.name: dict(p.settings) for p in self.points}}

    def _refuse_another_sweep(self) -> None:
        file = self.folder / "sweep.json"
        if not self.folder.exists() or (self.folder.is_dir() and not any(self.folder.iterdir())):
            return
        try:
            before = json.loads(file.read_text("utf-8"))["shared"]
        except (OSError, ValueError, KeyError, TypeError):
            raise UsageError(
                "SK-L004", f"{self.folder} is there and holds no sweep.", "Give another --out."
            ) from None
        now = json.loads(json.dumps(self._record()["shared"]))
        other = [
            f"{key}: {before[key]} before, {value} now"
            for key, value in now.items()
            if before.get(key, value) != value
        ]
        if other:
            raise UsageError(
                "SK-L004",
                f"{self.folder} holds a sweep with other settings ({'; '.join(other)}).",
                "Give them as they were, or another --out.",
            )

    def _statuses(self) -> dict[str, int]:
        try:
            found: dict[str, int] = json.loads((self.folder / "statuses.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found

    def _higher_is_better(self) -> bool:
        first = parse_list(self.points[0].config.metric)[0]
        component = default_registry().component("metrics", first)
        return MetricTraits.of(component.build(num_classes=2, ignore_index=None)).higher_is_better

    @contextmanager
    def _tables_at_the_end(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.tables()


def _said(config: TrainConfig) -> set[str]:
    """The settings for the run's file: what nobody said is left to the recipe, and the run's folder
    and minutes stand on its command line."""
    return config.model_fields_set - {"out", "minutes"}


def _refuse_failures(ends: Sequence[JobNews]) -> None:
    failed = [end for end in ends if end.status != 0]
    if not failed:
        return
    shown = [
        f"{end.job.name}: {end.reason or f'status {end.status}'}, {end.job.log}"
        for end in failed[:5]
    ]
    more = [f"and {len(failed) - 5} more"] * (len(failed) > 5)
    raise JobsFailed(
        f"{len(failed)} of {len(ends)} runs did not end well:\n" + "\n".join([*shown, *more]),
        "The logs say why. The same command runs again what is not finished.",
        failed[0].status,
    )
