"""What is checked, said and undone before a run goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segkit.config import TrainConfig, read_settings
from segkit.errors import UsageError
from segkit.training.checkpoint.position import Position
from segkit.training.monitoring.events import Events
from segkit.training.preparation.setup import Setup
from segkit.training.preparation.summary import sentences
from segkit.training.resuming.identity import changed_settings, samples_of
from segkit.training.resuming.run_state import Resumed
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
    if different:
        watching.warned("It goes on as another run: " + "; ".join(different) + ".")
    for moved in resumed.state.moved_to(setup.group) if resumed else ():
        watching.warned(moved)


def rewind(run: RunFolder, setup: Setup, resumed: Resumed | None, *, changed: bool) -> None:
    """The run's folder as it was at the checkpoint."""
    run.checkpoints.sweep()
    run.rewind(resumed.state.position.epoch if resumed else 0)
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
    return changed_settings(resumed.state.identity, tuple(given), config)


def refuse_fewer_epochs(config: TrainConfig, position: Position) -> None:
    """Raises UsageError SK-C009 where the run has come further than it may."""
    begun = position.epoch + (position.batch > 0)
    if config.epochs is not None and config.epochs < begun:
        raise UsageError(
            "SK-C009",
            f"--epochs {config.epochs}: the run is in epoch {begun} already.",
            f"Give {begun} or more, or leave --epochs out.",
        )
