"""`segkit predict` in shards that a launcher runs, and their sum."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segkit.cli.options.declaring import say
from segkit.cli.running.launching import LAUNCHING, as_typed, tell, without

if TYPE_CHECKING:
    from segkit.launchers.jobs import Needs

# Of a prediction: all went well, or some images could not be read.
DONE = (0, 3)
LONGEST_LOG = 100_000


def predict_by_jobs(launcher: str, jobs: int, needs: Needs, out: Path, *, as_json: bool) -> int:
    """Predicts every shard in a job of its own, adds them up in another; the exit status.

    Raises UsageError SK-C007 where a shard is asked for beside, JobsFailed SK-L003 where a job did
    not end well: the same command goes on, and what is predicted stays.
    """
    from segkit.launchers.following import JobsFailed, built, followed, launcher_of
    from segkit.launchers.jobs import segkit_job

    words = without(as_typed(), LAUNCHING)
    _refuse_shards(words)
    place = out.absolute() / "launcher"
    chosen = built(launcher_of(launcher), place)

    def run(named: Sequence[tuple[str, list[str]]]) -> list[int]:
        lines = [segkit_job(name, words, place / f"{name}.log", needs) for name, words in named]
        ends = followed(chosen, lines, (lambda news: None) if as_json else tell)
        if failed := [end for end in ends if end.status not in DONE]:
            how = failed[0].reason or f"status {failed[0].status}"
            raise JobsFailed(
                f"{len(failed)} of {len(ends)} jobs did not end well; {failed[0].job.name}: {how}.",
                f"See {failed[0].job.log}. The same command goes on with what is not predicted.",
                failed[0].status,
            )
        return [end.status or 0 for end in ends]

    shards = range(1, jobs + 1)
    run([(f"shard-{at}-of-{jobs}", [*words, "--shard", f"{at}/{jobs}"]) for at in shards])
    log = place / "merge.log"
    log.unlink(missing_ok=True)
    kept = [word for word in words if word not in ("--overwrite", "--resume", "--json")]
    [status] = run([("merge", [*kept, "--merge"])])
    if as_json:
        click.echo((out / "predictions.json").read_text(encoding="utf-8"), nl=False)
    else:
        lines = log.read_text(encoding="utf-8", errors="replace")[-LONGEST_LOG:].splitlines()
        say("\n".join(each for each in lines if not each.endswith("loading PyTorch ...")))
    return status


def _refuse_shards(words: Sequence[str]) -> None:
    from segkit.errors import UsageError

    if any(word.partition("=")[0] in ("--shard", "--merge") for word in words):
        raise UsageError(
            "SK-C007",
            "--launcher predicts every shard and adds them up by itself.",
            "Leave out --shard and --merge, or --launcher.",
        )
