"""A launcher for Ray clusters, on Ray Core (Moritz et al. 2018, arXiv:1712.05889)."""

from segkit.api import Factory, Launcher, hookimpl
from segkit_ray.launcher import RayLauncher


@hookimpl
def segkit_launcher(name: str) -> Factory[Launcher] | None:
    return RayLauncher if name == "ray" else None
