"""What is checked, said and undone before a run goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segkit.config import TrainConfig, read_settings
from segkit.errors import ModelFileError, UsageError
from segkit.model.folder import refuse_damaged
from segkit.training.checkpoint.position import Position
from segkit.training.monitoring.events import Events
from segkit.training.preparation.setup import Setup
from segkit.training.preparation.summary import sentences
from segkit.training.resuming.identity import changed_settings, samples_of, word
from segkit.training.resuming.run_state import Resumed
from segkit.training.run.run_folder import CONFIG as COPY
from segkit.training.run.run_folder import RunFolder


def tell(
    run: RunFolder,
    setup: Setup,
    resumed: Resumed | None,
    allowed: Sequence[str],
    different: Sequence[str],
    watching: Events,
) -> None:
    """What goes on, from where, and all that differs from how it began."""
    position = resumed.state.position if resumed else Position()
    place = f"{run.folder}, from epoch {position.epoch + 1}, step {position.step + 1}"
    changed = [("changed", sentence) for sentence in allowed]
    watching.decided([*sentences(setup), ("resume", place), *changed])
    for warning in _lost(run, resumed) if resumed else ():
        watching.warned(warning)
    if different:
        watching.warned("It goes on as another run: " + "; ".join(different) + ".")
    for moved in resumed.state.moved_to(setup.group) if resumed else ():
        watching.warned(moved)


def rewind(run: RunFolder, setup: Setup, resumed: Resumed | None, *, changed: bool) -> None:
    """The run's folder as it was at the checkpoint."""
    run.sweep()
    run.rewind(resumed.state.position.epoch if resumed else 0)
    if resumed:
        run.checkpoints.remove([*resumed.damaged])
    if changed:
        run.write_config(setup.config)
        run.write_samples_list(samples_of(setup))


def settings_changed(
    run: RunFolder, config: TrainConfig, changes: Mapping[str, Any], resumed: Resumed | None
) -> tuple[list[str], list[str]]:
    """As `identity.changed_settings`; a run without a checkpoint has nothing to differ from."""
    if resumed is None:
        return [], []
    given = {**read_settings(run.config_file), **changes}
    other, allowed = changed_settings(resumed.state.identity, tuple(given), config)
    if not other and not allowed:
        allowed = _other_text(run.config_file, resumed.folder / COPY, changes)
    return other, allowed


@contextmanager
def offering_the_copy(run: RunFolder) -> Iterator[None]:
    """Adds to an error about a run's config.yaml the command that puts it back as it was."""
    try:
        yield
    except UsageError as error:
        copies = [each / COPY for each in run.checkpoints.steps() if (each / COPY).is_file()]
        if copies and copies[-1].read_bytes() != run.config_file.read_bytes():
            copy = f"cp {copies[-1]} {run.config_file}"
            error.fix = f"{error.fix}\nAs it was when it was last saved: {copy}"
        raise


def _other_text(file: Path, copy: Path, changes: Mapping[str, Any]) -> list[str]:
    """A sentence for each of the free settings that differs; one where only the text does."""
    if file.read_bytes() == copy.read_bytes():
        return []
    now, was = read_settings(file), read_settings(copy)
    different = [
        f"{key} is {word(now[key].value)} and was {word(was[key].value)}"
        for key in now
        if key in was and key not in changes and now[key].value != was[key].value
    ]
    return different or ["the text of config.yaml, not what it sets"]


def _lost(run: RunFolder, resumed: Resumed) -> Iterator[str]:
    """A warning for each thing on the disk that is no longer what was written."""
    position = resumed.state.position
    for folder, why in resumed.damaged.items():
        yield (
            f"THE CHECKPOINT {folder} IS DAMAGED ({why}). It goes on from the one before, after "
            f"step {position.step}, as if the steps since then had never been."
        )
    if position.best_epoch is not None:
        try:
            refuse_damaged(run.model)
        except ModelFileError as error:
            yield (
                f"THE MODEL OF EPOCH {position.best_epoch}, THE BEST SO FAR, IS LOST: {error.what} "
                "The next that is evaluated takes its place."
            )
            # The first of those that follow is the best, then.
            position.best = position.best_epoch = None


def refuse_fewer_epochs(config: TrainConfig, position: Position) -> None:
    """Raises UsageError SK-C009 where the run has come further than it may."""
    begun = position.epoch + (position.batch > 0)
    if config.epochs is not None and config.epochs < begun:
        raise UsageError(
            "SK-C009",
            f"--epochs {config.epochs}: the run is in epoch {begun} already.",
            f"Give {begun} or more, or leave --epochs out.",
        )
