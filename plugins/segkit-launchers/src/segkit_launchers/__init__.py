"""Launchers for this machine (`local`) and for SLURM clusters (`slurm`)."""

from segkit.api import Factory, Launcher, hookimpl
from segkit_launchers.local import LocalLauncher
from segkit_launchers.slurm import SlurmLauncher

LAUNCHERS: dict[str, Factory[Launcher]] = {"local": LocalLauncher, "slurm": SlurmLauncher}


@hookimpl
def segkit_launcher(name: str) -> Factory[Launcher] | None:
    return LAUNCHERS.get(name)
