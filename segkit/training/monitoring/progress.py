"""How a training looks while it runs: live on a terminal, one plain line at a time elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from segkit.errors import visible
from segkit.reporting.words import counted, duration
from segkit.training.monitoring.events import EpochReport, Silence, StepReport, TrainingResult

QUIET_SECONDS = 10.0


class PlainProgress(Silence):
    """One line an event, and within a long epoch one every ten seconds."""

    def __init__(self, write: Callable[[str], None], warn: Callable[[str], None]) -> None:
        self.write, self.warn = write, warn
        self.said = time.monotonic()

    def decided(self, lines: Sequence[tuple[str, str]]) -> None:
        for subject, sentence in lines:
            self.write(f"{subject:<9} {sentence}")

    def warned(self, text: str) -> None:
        self.warn(f"WARNING: {text}")

    def stepped(self, report: StepReport) -> None:
        if time.monotonic() - self.said < QUIET_SECONDS:
            return
        self.said = time.monotonic()
        self.write(
            f"  epoch {report.epoch}/{report.epochs}  batch {report.batch}/{report.batches}  "
            f"{step_summary(report)}"
        )

    def finished_epoch(self, report: EpochReport) -> None:
        self.said = time.monotonic()
        self.write(epoch_line(report))

    def finished(self, result: TrainingResult) -> None:
        for line in closing_lines(result):
            self.write(line)


class LiveProgress(Silence):
    """A bar with what is happening now below the epochs that are done; for a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[summary]}", markup=False),
            console=console,
        )
        self.task = self.bar.add_task("", total=1, summary="", visible=False)
        self.live = Live(self.bar, console=console, refresh_per_second=8, transient=True)
        self.score = ""

    def decided(self, lines: Sequence[tuple[str, str]]) -> None:
        table = Table.grid(padding=(0, 2))
        for subject, sentence in lines:
            table.add_row(_text(subject, "bold"), _text(sentence))
        self.console.print(table)

    def warned(self, text: str) -> None:
        self.console.print(_text(f"WARNING: {text}", "bold yellow"))

    def stepped(self, report: StepReport) -> None:
        self.live.start()
        self.bar.update(
            self.task,
            description=f"epoch {report.epoch}/{report.epochs}",
            completed=report.batch,
            total=report.batches,
            summary=visible(f"{step_summary(report)}{self.score}"),
            visible=True,
        )

    def evaluating(self, done: int, images: int) -> None:
        self.bar.update(
            self.task, description="scoring", completed=done, total=images, summary="images"
        )

    def finished_epoch(self, report: EpochReport) -> None:
        style = "green" if report.is_best else ""
        if report.scores:
            self.score = f"  {report.score_name} {_score(report.scores[report.score_name])}"
        self.console.print(_text(epoch_line(report), style))

    def finished(self, result: TrainingResult) -> None:
        self.close()
        for line in closing_lines(result):
            self.console.print(_text(line))

    def close(self) -> None:
        """Gives the terminal back; also when a training ends in an error."""
        self.live.stop()


def _text(text: str, style: str = "") -> Text:
    """Text that may hold names from files: rich shows marks as they are, and lets escapes pass."""
    return Text(visible(text), style=style)


def step_summary(report: StepReport) -> str:
    """Loss, learning rate, speed, waiting for data, memory and the time left, in one line."""
    parts = [
        f"loss {report.loss:.4f}",
        f"lr {report.learning_rate:.2e}",
        f"{report.images_per_second:.1f} images/s",
        waiting(report.data_share),
    ]
    if report.memory is not None:
        parts.append(f"{report.memory / 2**30:.1f} GiB")
    if report.skipped:
        parts.append(skips(report.skipped))
    return "  ".join([*parts, f"{duration(report.seconds_left)} left"])


def waiting(share: float) -> str:
    """How much of the time batches were waited for: where it is much, more --workers may help."""
    return f"data {share:.0%}"


def epoch_line(report: EpochReport) -> str:
    """An epoch in one line; a star marks the best so far."""
    width = len(str(report.epochs))
    parts = [
        f"epoch {report.epoch:>{width}}/{report.epochs}",
        f"loss {report.loss:.4f}",
    ]
    if not math.isnan(report.val_loss):
        parts.append(f"val loss {report.val_loss:.4f}")
    if report.scores:
        star = " *" if report.is_best else ""
        parts.append(f"{report.score_name} {_score(report.scores[report.score_name])}{star}")
    parts += [
        f"lr {report.learning_rate:.2e}",
        f"{report.images_per_second:.1f} images/s",
        waiting(report.data_share),
        duration(report.seconds),
    ]
    if report.memory is not None:
        parts.append(f"{report.memory / 2**30:.1f} GiB")
    if report.skipped:
        parts.append(skips(report.skipped))
    return "  ".join(parts)


def skips(number: int) -> str:
    """Steps that fp16 lost: a few at the start are usual, many ask for --precision bf16."""
    return f"{counted(number, 'step')} skipped"


def closing_lines(result: TrainingResult) -> list[str]:
    """What was reached, and where everything lies."""
    if result.folds:
        return _of_folds(result)
    lines = [f"Trained {counted(result.epochs, 'epoch')} in {duration(result.seconds)}."]
    if result.stopped:
        lines = [f"Stopped after epoch {result.epochs}: {result.stopped}."]
    if result.best_epoch is not None:
        score = _score(result.scores[result.score_name])
        lines.append(f"Best {result.score_name} {score}, in epoch {result.best_epoch}.")
    places = {
        "model": result.folder / "model",
        "scores": result.folder / "metrics.csv",
        "pictures": result.folder / "samples",
        "report": result.folder / "report.html",
    }
    lines += [f"{what:<9} {place}" for what, place in places.items()]
    lines.append(f"Next: segkit predict {result.folder} IMAGES... --out DIR")
    return lines


def _of_folds(result: TrainingResult) -> list[str]:
    places = {
        "model": f"{result.folder / 'model'}, an ensemble of the {result.folds}",
        "scores": result.folder / "folds.csv",
        "report": result.folder / "report.html",
    }
    return [
        f"Trained {result.folds} folds in {duration(result.seconds)}.",
        *result.told,
        *(f"{what:<9} {place}" for what, place in places.items()),
        f"Next: segkit predict {result.folder} IMAGES... --out DIR",
    ]


def _score(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.4f}"
