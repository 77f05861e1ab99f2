"""`segkit data check`: reads every file and tells all that is wrong or odd."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segkit.cli.options.data_options import (
    data_choices,
    data_options,
    dataset_option,
    outside,
    progress_bar,
)
from segkit.cli.options.declaring import TorchCommand, say
from segkit.reporting.words import counted

if TYPE_CHECKING:
    from segkit.data.checks.report import CheckReport
    from segkit.data.findings import Finding
    from segkit.data.options import DataOptions
    from segkit.reporting.pictures import Picture

    Sheet = Callable[[], Picture | None]

SHOWN = 20


@click.command("check", cls=TorchCommand)
@click.argument("folder", type=click.Path(path_type=Path))
@dataset_option
@data_choices
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where the report goes. [default: check-FOLDER]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; write nothing without --out.")
@click.option(
    "--write-manifest",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the SHA-256 of every file, as sha256sum does. [default: none]",
)
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Tell files that are not as this manifest says. [default: none]",
)
@click.pass_context
def check_command(
    ctx: click.Context,
    /,
    folder: Path,
    dataset: str | None,
    out: Path | None,
    as_json: bool,
    write_manifest: Path | None,
    manifest: Path | None,
    **asked: Any,
) -> None:
    """Decode every file of FOLDER and tell all that is wrong or odd; status 3 if anything is wrong.

    \b
    segkit data check photos                 to the terminal and check-photos/
    segkit data check cells --instances foreground
    segkit data check pets --dataset oxford-iiit-pet
    segkit data check photos --write-manifest photos.sha256
    segkit data check photos --manifest photos.sha256
    """
    from dataclasses import asdict

    from segkit.data.files.manifest import write_manifest as write

    if write_manifest is not None:
        outside(write_manifest, folder)
    if dataset is None:
        report, sheet = _of_folder(folder, data_options(None, asked), manifest, as_json)
    else:
        report, sheet = _of_named(folder, data_options(dataset, asked), manifest, as_json)
    if as_json:
        say(json.dumps(asdict(report), indent=2))
    else:
        _show(report)
    if out is not None or not as_json:
        _write(report, sheet, folder, out or Path(f"check-{folder.resolve().name}"))
    if write_manifest is not None:
        with progress_bar(as_json, "hashing") as progress:
            count = write(folder, write_manifest, progress)
        say(f"{write_manifest}: {count} files.", err=as_json)
    ctx.exit(3 if report.has_errors else 0)


def _of_folder(
    folder: Path, options: DataOptions, manifest: Path | None, quiet: bool
) -> tuple[CheckReport, Sheet]:
    from segkit.data.checks.report import report_on
    from segkit.data.checks.sheets import sheet_of_files
    from segkit.data.opening.inspection import inspect

    with progress_bar(quiet, "checking") as progress:
        seen = inspect(folder, options, progress)
    return report_on(seen, _differences(folder, manifest, quiet)), lambda: sheet_of_files(seen)


def _of_named(
    folder: Path, options: DataOptions, manifest: Path | None, quiet: bool
) -> tuple[CheckReport, Sheet]:
    from segkit.data.checks.report import report_on_named
    from segkit.data.checks.sheets import sheet_of_data
    from segkit.data.opening.named import find_named, refuse_options

    named = find_named(options.dataset or "", folder)
    refuse_options(options, named.datasets["train"].ignore_index)
    with progress_bar(quiet, "checking") as progress:
        look = named.look(progress)
    report, data = report_on_named(named, look, options, _differences(folder, manifest, quiet))
    return report, lambda: sheet_of_data(data) if data is not None else None


def _differences(folder: Path, manifest: Path | None, quiet: bool) -> Sequence[Finding]:
    from segkit.data.files.manifest import against_manifest

    if manifest is None:
        return ()
    with progress_bar(quiet, "comparing") as progress:
        return against_manifest(folder, manifest, progress)


def _show(report: CheckReport) -> None:
    from segkit.reporting.tables import aligned

    for note in report.notes:
        say(note)
    rows = [[row.label, row.values, row.name, row.pixels, row.masks] for row in report.classes]
    more = f"\n… and {len(rows) - SHOWN} more values." if len(rows) > SHOWN else ""
    header = ["label", "value", "class", "pixels", "masks"]
    say("\n" + aligned(rows[:SHOWN], header) + more)
    for title, counts in (("sizes (height x width)", report.sizes), ("files", report.kinds)):
        few = [f"{count} of {what}" for what, count in list(counts.items())[:5]]
        rest = f"; and {len(counts) - 5} more" if len(counts) > 5 else ""
        say(f"\n{title}: {'; '.join(few)}{rest}" if few else "", nl=bool(few))
    for group in report.findings:
        _show_group(group)
    errors = sum(group["count"] for group in report.findings if group["level"] == "error")
    warnings = sum(group["count"] for group in report.findings if group["level"] != "error")
    verdict = "ready to train" if not errors else "not ready to train"
    say(f"\n{verdict}: {counted(errors, 'error')}, {counted(warnings, 'warning')}.")


def _show_group(group: dict[str, Any]) -> None:
    say(f"\n{group['level']} {group['code']}: {group['meaning']}")
    for finding in group["findings"][:SHOWN]:
        for line in finding["what"].splitlines():
            say(f"  {line}")
    if group["count"] > SHOWN:
        say(f"  … and {group['count'] - SHOWN} more, in check.json.")
    for fix in dict.fromkeys(f["fix"] for f in group["findings"] if f["fix"]):
        for line in fix.splitlines():
            say(f"  -> {line}")


def _write(report: CheckReport, sheet: Sheet, folder: Path, out: Path) -> None:
    from dataclasses import asdict

    from segkit.reporting.pictures import write_picture

    outside(out, folder).mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(report), indent=2)
    (out / "check.json").write_text(text + "\n", encoding="utf-8")
    written, picture = [out / "check.json"], sheet()
    if picture is not None:
        write_picture(out / "sheet.png", picture)
        written.append(out / "sheet.png")
    say(f"All of it: {', '.join(str(path) for path in written)}")
