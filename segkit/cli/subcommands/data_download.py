"""`segkit data download`: fetches a published data set, or says where it is to be had."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segkit.cli.options.completion import ComponentName
from segkit.cli.options.declaring import TorchCommand, say

if TYPE_CHECKING:
    from segkit.registry.components import Registry


@click.command("download", cls=TorchCommand)
@click.argument("name", type=ComponentName("datasets"), required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Where it goes. [default: ./NAME]")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Take the archives from DIR, offline. [default: from the owners]",
)
@click.option(
    "--expect",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Hold them to another copy's segkit-download.json. [default: none]",
)
def download_command(
    name: str | None, out: Path | None, source: Path | None, expect: Path | None
) -> None:
    """Fetch the data set NAME from its owners, check it and unpack it; without NAME, list all.

    \b
    segkit data download                  which there are, and on what terms
    segkit data download oxford-iiit-pet
    segkit data download oxford-iiit-pet --from Downloads

    A broken download goes on where it stopped when the command is given again.
    """
    from segkit.registry.components import default_registry

    registry = default_registry()
    if name is None:
        say(_table(registry))
        return
    from segkit.data.capabilities import published_of
    from segkit.data.fetching.download import download, read_expected
    from segkit.errors import DataError

    component = registry.component("datasets", name)
    plain = component.entry.name
    published = published_of(component.factory)
    if published is None:
        raise DataError(
            "SK-D028",
            f"the plugin of '{plain}' does not say where it is published.",
            f"Its documentation may; `segkit info dataset {plain}` names the plugin.",
        )
    done = download(
        plain,
        published,
        out or Path(plain.replace("/", "-")),
        source=source,
        expected=read_expected(expect) if expect else None,
        progress=_show if sys.stderr.isatty() else None,
    )
    for archive in done.archives:
        held = "no checksum is published" if archive.checked == "none" else archive.checked.upper()
        say(f"{archive.url}: {archive.bytes:,} bytes, SHA-256 {archive.sha256} ({held})")
    say(f"{done.files:,} files in {done.folder}. Licence: {published.licence}.")
    say(f"Please cite: {published.citation}.")
    say(f"segkit train --dataset {plain} --data {shlex.quote(str(done.folder))}")


def _table(registry: Registry) -> str:
    from segkit.data.capabilities import published_of
    from segkit.reporting.tables import aligned

    rows = []
    for entry in registry.index.of_kind("datasets"):
        published = published_of(registry.factory(entry, entry.name))
        if published is not None:
            way = "download" if published.archives else "by hand"
            rows.append([entry.name, way, published.licence, published.homepage])
    return aligned(rows, ["name", "how", "licence", "homepage"])


def _show(have: int, total: int | None) -> None:
    of = f" of {total / 1e6:,.0f}" if total else ""
    say(f"\r{have / 1e6:,.0f}{of} MB", nl=have == total, err=True)
