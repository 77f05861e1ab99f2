"""Opening a data set, whatever it is: a folder, a published set by name, or the demo set."""

from __future__ import annotations

from pathlib import Path

from segkit.data.files.facts import Progress
from segkit.data.opening.demo import open_demo
from segkit.data.opening.folder import open_folder
from segkit.data.opening.folds import with_fold
from segkit.data.opening.named import open_named
from segkit.data.opening.opened import Data
from segkit.data.options import PLAIN_OPTIONS, DataOptions
from segkit.registry.components import Registry


def open_data(
    root: Path | None,
    options: DataOptions = PLAIN_OPTIONS,
    *,
    progress: Progress | None = None,
    registry: Registry | None = None,
) -> Data:
    """The data set of a folder (or of the data.yaml given), or the demo set where root is None.

    progress   called with (files or samples looked at, all of them)
    registry   where options.dataset is looked up; None: what is installed

    Every file is decoded once and remembered in the user's cache folder. Raises DataError SK-D0xx
    with all files at fault, StorageError SK-D018, and UsageError where the options do not fit.
    """
    if options.dataset is not None:
        data = open_named(root, options, progress=progress, registry=registry)
    elif root is None:
        data = open_demo(options.seed, in_channels=options.in_channels or 3)
    else:
        data = open_folder(Path(root), options, progress)
    return with_fold(data, options.fold, options.seed) if options.fold else data
