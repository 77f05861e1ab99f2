"""How a benchmark looks while it runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from segkit.bench.display.labels import (
    FASTEST,
    baselines_line,
    limit_text,
    memory_beside_baseline,
    milliseconds,
    plain,
    shared_and_own,
    speed_beside_baseline,
)
from segkit.bench.display.watching import Quiet
from segkit.bench.records.case import Case
from segkit.bench.records.controls import Controls
from segkit.bench.records.machine import Ceilings, Environment
from segkit.bench.records.row import Row
from segkit.bench.records.run import Run
from segkit.errors import visible
from segkit.reporting.tables import aligned
from segkit.reporting.words import duration

COLUMNS = (
    *("case", "ms/step", "95 %", "images/s", "times as fast"),
    *("peak MiB", "of its", "M par.", "x fastest", "notes"),
)
STYLES = {"ok": "", "skipped": "dim", "refused": "yellow", "oom": "red", "crashed": "red"}


class PlainDisplay(Quiet):
    """A line when a case is prepared, a line when it is done, and the table at the end."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write
        self.said = ("", "")

    def began(self, environment: Environment, ceilings: Ceilings | None) -> None:
        for line in opening_lines(environment, ceilings):
            self.write(line)

    def planned(self, cases: Sequence[Case]) -> None:
        self.write(f"{len(cases)} cases.")

    def working(self, case: Case, stage: str, share: float, seconds_left: float | None) -> None:
        part = stage if stage.startswith(("round", "epoch")) else "preparing"
        said = (part if part.startswith("round") else case.name, part)
        if said == self.said:
            return
        self.said = said
        left = f", {duration(seconds_left)} left" if seconds_left is not None else ""
        what = part if part.startswith("round") else f"{part} {case.name}"
        self.write(f"  {share:4.0%}  {what}{left}")

    def preliminary(self, row: Row) -> None:
        # After that, all rounds of all cases would be a flood.
        if not row.steps:
            self.write(f"        about {one_line(row)}")

    def finished_row(self, row: Row) -> None:
        self.write(f"  {row.case.name}: {one_line(row)}")

    def noticed(self, text: str) -> None:
        self.write(text)

    def finished(self, run: Run) -> None:
        self.write("")
        self.write(plain_table(run.rows))
        for line in closing_lines(run):
            self.write(line)


class LiveDisplay(Quiet):
    """The table as it fills, and below it what is being done; for a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.cases: Sequence[Case] = ()
        self.shared, self.own = "", dict[str, str]()
        self.rows: dict[str, Row] = {}
        self.done: set[str] = set()
        self.now: tuple[Case, str] | None = None
        self.share, self.left = 0.0, ""
        self.live = Live(console=console, refresh_per_second=4, transient=True)

    def began(self, environment: Environment, ceilings: Ceilings | None) -> None:
        for line in opening_lines(environment, ceilings):
            self.console.print(Text(visible(line)))

    def planned(self, cases: Sequence[Case]) -> None:
        self.cases = cases
        self.shared, self.own = shared_and_own(cases)
        self.live.start()
        self._show()

    def working(self, case: Case, stage: str, share: float, seconds_left: float | None) -> None:
        self.now, self.share = (case, stage), share
        self.left = f"{duration(seconds_left)} left" if seconds_left is not None else ""
        self._show()

    def preliminary(self, row: Row) -> None:
        self.rows[row.case.name] = row
        self._show()

    def finished_row(self, row: Row) -> None:
        self.rows[row.case.name] = row
        self.done.add(row.case.name)
        self._show()

    def noticed(self, text: str) -> None:
        self.console.print(Text(visible(text), style="yellow"))

    def finished(self, run: Run) -> None:
        self.close()
        shared, own = shared_and_own([row.case for row in run.rows])
        self.console.print(Text(visible(f"all: {shared}"), style="bold") if shared else "")
        cells = [table_cells(row, own[row.case.name]) for row in run.rows]
        self.console.print(_rich_table(cells, run.rows))
        for line in closing_lines(run):
            self.console.print(Text(visible(line)))

    def close(self) -> None:
        """Gives the terminal back; also when a benchmark ends in an error."""
        self.live.stop()

    def _show(self) -> None:
        self.live.update(self.view())

    def view(self) -> Group:
        """What fits the window: the rows around the case at work, and how far all is."""
        room = max(self.console.height - 8, 4)
        names = [case.name for case in self.cases]
        at = names.index(self.now[0].name) if self.now and self.now[0].name in names else 0
        first = max(0, min(at - room // 2, len(names) - room))
        cells, rows = [], []
        for case in self.cases[first : first + room]:
            row = self.rows.get(case.name)
            working = self.now is not None and self.now[0].name == case.name
            stage = self.now[1] if self.now and working else ""
            cells.append(self._cells(case, row, stage))
            rows.append(row)
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            ProgressBar(total=1.0, completed=self.share, width=40),
            Text(f"{self.share:.0%}  {self.left}"),
            Text("Ctrl-C skips the case, twice ends", style="dim"),
        )
        return Group(Text(visible(f"all: {self.shared}")), _rich_table(cells, rows), bar)

    def _cells(self, case: Case, row: Row | None, stage: str) -> list[str]:
        """A line of the table; of a case that is not done, its note says so."""
        name = self.own[case.name]
        if row is None:
            return _without_figures(name, stage)
        cells = table_cells(row, name)
        if case.name not in self.done:
            cells[-1] = stage or "so far"
        return cells


def opening_lines(environment: Environment, ceilings: Ceilings | None) -> list[str]:
    """The machine, and what it was seen to do."""
    lines = [
        f"{environment.hardware}; load {environment.load_before}",
        "torch "
        f"{environment.packages.get('torch', '?')}, segkit "
        f"{environment.packages.get('segkit-core', '?')}, {environment.threads} threads",
    ]
    if ceilings:
        rates = ", ".join(
            f"{name} {(ceilings.flops(name) or 0) / 1e9:,.0f} GFLOP/s"
            for name in ceilings.matmul_flops
        )
        lines.append(f"ceilings: {rates}, copy {ceilings.copy_bytes / 1e9:.1f} GB/s")
    return lines


def table_cells(row: Row, name: str) -> list[str]:
    """A row as the table shows it, under this name."""
    step = row.times.get("step")
    if row.status != "ok" or step is None:
        return _without_figures(name, f"{row.status}: {row.reason}")
    counts = row.counts
    # The first reason will do; the results hold all.
    notes = [f"noisy: {row.noisy.partition(';')[0]}"] * bool(row.noisy)
    if row.quality and row.quality.score is not None:
        notes.insert(0, f"{row.quality.metric} {row.quality.score:.3f}")
    if row.checkerboard is not None:
        after = row.checkerboard.after_training
        notes.append(f"checkerboard {row.checkerboard.at_start:.1%}, trained {after or 0:.1%}")
    return [
        name,
        milliseconds(step.median),
        interval_text(row),
        plain(row.images_per_s) if row.images_per_s else "",
        speed_beside_baseline(row),
        f"{row.memory.peak_bytes / 2**20:,.0f}" if row.memory else "",
        memory_beside_baseline(row),
        f"{counts.parameters / 1e6:.1f}" if counts and counts.parameters else "",
        limit_text(row),
        "; ".join(notes),
    ]


def one_line(row: Row) -> str:
    """A row in a line."""
    if row.status != "ok":
        return f"{row.status}: {row.reason}"
    cells = table_cells(row, row.case.name)
    known = dict(zip(COLUMNS, cells, strict=True))
    interval = f" ({known['95 %']})" * bool(known["95 %"])
    memory = f", {known['peak MiB']} MiB" * bool(known["peak MiB"])
    return f"{known['ms/step']} ms a step{interval}, {known['images/s']} {row.unit}s/s{memory}"


def plain_table(rows: Sequence[Row]) -> str:
    """All rows as aligned text, below what all cases have in common."""
    shared, own = shared_and_own([row.case for row in rows])
    cells = [table_cells(row, own[row.case.name]) for row in rows]
    kept = _filled(cells)
    table = aligned([[line[at] for at in kept] for line in cells], [COLUMNS[at] for at in kept])
    return f"all: {shared}\n\n{table}" if shared else table


def closing_lines(run: Run) -> list[str]:
    """The A/A line, and what the columns mean."""
    lines = [controls_line(run.aa)]
    if told := baselines_line(run.rows):
        lines.append(told)
    if run.ceilings:
        lines.append(f"x fastest: {FASTEST}")
    noisy = sum(1 for row in run.rows if row.noisy)
    if noisy:
        rows = "1 row is" if noisy == 1 else f"{noisy} rows are"
        lines.append(f"{rows} noisy: {quieter(run)}")
    if out := [row for row in run.rows if row.status == "skipped" and not run.interrupted]:
        lines.append(f"{len(out)} of {len(run.rows)} cases were left out: {out[0].reason}.")
    if run.interrupted:
        lines.append("Ended by hand: rows are missing.")
    lines.append(f"{len(run.rows)} cases in {duration(run.seconds)}.")
    return lines


def quieter(run: Run) -> str:
    """What may be done about noise."""
    if run.environment.device != "cpu" or any(row.case.threads == 1 for row in run.rows):
        return "close other programs and repeat, with more --rounds."
    return (
        "close other programs and repeat; with --threads 1 no core waits for another, "
        "or for what else is at work there."
    )


def controls_line(controls: Controls | None) -> str:
    """What this run would call a difference where there is none."""
    if controls is None:
        return "Same case twice (A/A): none was, so small differences cannot be told from noise."
    ratios = ", ".join(f"{pair.ratio:.3f}" for pair in controls.pairs)
    memory = ""
    if any(pair.memory_bytes for pair in controls.pairs):
        memory = f"; of memory, within {controls.memory_band / 2**20:.1f} MiB"
    return (
        f"Same case twice (A/A): two processes of one and the same case gave ratios of {ratios}; "
        f"rows within {controls.band - 1:.1%} of one another are a tie{memory}."
    )


def _rich_table(cells: Sequence[Sequence[str]], rows: Sequence[Row | None]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold")
    kept = _filled(cells)
    for name in (COLUMNS[at] for at in kept):
        numeric = name not in ("case", "notes")
        table.add_column(name, justify="right" if numeric else "left", no_wrap=numeric)
    for line, row in zip(cells, rows, strict=True):
        style = "dim" if row is None else STYLES.get(row.status, "red")
        table.add_row(*(Text(visible(line[at])) for at in kept), style=style)
    return table


def _filled(cells: Sequence[Sequence[str]]) -> list[int]:
    """The columns that some row fills, and those that will be."""
    always = (0, 1, 2, 3, len(COLUMNS) - 1)
    return [at for at in range(len(COLUMNS)) if at in always or any(line[at] for line in cells)]


def _without_figures(name: str, note: str) -> list[str]:
    return [name, *[""] * (len(COLUMNS) - 2), note]


def interval_text(row: Row) -> str:
    """The 95 % interval of a step, ms; "" of a row that has none yet."""
    step = row.times["step"]
    if step.low == step.high:
        return ""
    return f"{milliseconds(step.low)} to {milliseconds(step.high)}"
