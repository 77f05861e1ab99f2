"""The hooks a plugin module may implement, one per kind of component.

A distribution declares one entry point per component name, in the group `segkit.<kind>`, whose
value is the module with the hooks:

    [project.entry-points."segkit.encoders"]
    tiny = "my_package"

segkit imports that module only when the component is named, and asks its hook for the factory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import pluggy

if TYPE_CHECKING:
    from segkit.interfaces import (
        Benchmark,
        Dataset,
        Decoder,
        Encoder,
        Launcher,
        Loss,
        Metric,
        Upsampler,
    )


hookspec = pluggy.HookspecMarker("segkit")
hookimpl = pluggy.HookimplMarker("segkit")

Built = TypeVar("Built")
# Factory[Encoder]: a class or function that builds an encoder; the type checker holds it to that.
Factory = Callable[..., Built]


class HookSpecs:
    """Each hook returns the factory for a name, or None for a name it does not know."""

    @hookspec(firstresult=True)
    def segkit_encoder(self, name: str) -> Factory[Encoder] | None:
        """The factory of the encoder called `name` (for a family: the whole `family/member`)."""

    @hookspec(firstresult=True)
    def segkit_decoder(self, name: str) -> Factory[Decoder] | None:
        """The factory of the decoder called `name`."""

    @hookspec(firstresult=True)
    def segkit_upsampler(self, name: str) -> Factory[Upsampler] | None:
        """The factory of the upsampler called `name`."""

    @hookspec(firstresult=True)
    def segkit_loss(self, name: str) -> Factory[Loss] | None:
        """The factory of the loss called `name`."""

    @hookspec(firstresult=True)
    def segkit_metric(self, name: str) -> Factory[Metric] | None:
        """The factory of the metric called `name`."""

    @hookspec(firstresult=True)
    def segkit_dataset(self, name: str) -> Factory[Dataset] | None:
        """The factory of the data set called `name`."""

    @hookspec(firstresult=True)
    def segkit_benchmark(self, name: str) -> Factory[Benchmark] | None:
        """The factory of the benchmark called `name`."""

    @hookspec(firstresult=True)
    def segkit_launcher(self, name: str) -> Factory[Launcher] | None:
        """The factory of the launcher called `name`."""

    @hookspec(firstresult=True)
    def segkit_members(self, kind: str, family: str) -> Iterable[str] | None:
        """The members of a family, each as `family/member`: what lists and suggestions show."""


HOOKS: dict[str, str] = {
    "encoders": "segkit_encoder",
    "decoders": "segkit_decoder",
    "upsamplers": "segkit_upsampler",
    "losses": "segkit_loss",
    "metrics": "segkit_metric",
    "datasets": "segkit_dataset",
    "benchmarks": "segkit_benchmark",
    "launchers": "segkit_launcher",
}
