"""Networks of other libraries, trained by a plain loop, as benchmarks of segkit.

    segkit bench peers       the suite: each as its documentation has it, and at its best

Each is measured with its own library's loss where it has one, on the same random images and label
maps, with AdamW.
"""

from __future__ import annotations

from collections.abc import Iterable

from segkit.api import Benchmark, Factory, hookimpl
from segkit_bench_peers.data import Loading
from segkit_bench_peers.inference import SegkitLabels, SmpLabels
from segkit_bench_peers.losses import LossStep, LossTail
from segkit_bench_peers.metrics import Argmax, Counting, LabelTail
from segkit_bench_peers.networks import ClassicUnet, MonaiUnet, SmpUnet, TorchvisionFcn
from segkit_bench_peers.start import Start
from segkit_bench_peers.steady import Steady
from segkit_bench_peers.tiling import Tiles
from segkit_bench_peers.training import SegkitTraining, SmpTraining

MEMBERS: dict[str, Factory[Benchmark]] = {
    "peers/argmax": Argmax,
    "peers/label_tail": LabelTail,
    "peers/counting": Counting,
    "peers/tiles": Tiles,
    "peers/loading": Loading,
    "peers/loss": LossStep,
    "peers/loss_tail": LossTail,
    "peers/smp_training": SmpTraining,
    "peers/segkit_training": SegkitTraining,
    "peers/smp_labels": SmpLabels,
    "peers/segkit_labels": SegkitLabels,
    "peers/start": Start,
    "peers/steady": Steady,
    "peers/smp_unet": SmpUnet,
    "peers/classic_unet": ClassicUnet,
    "peers/monai_unet": MonaiUnet,
    "peers/torchvision_fcn": TorchvisionFcn,
}


@hookimpl
def segkit_benchmark(name: str) -> Factory[Benchmark] | None:
    return MEMBERS.get(name)


@hookimpl
def segkit_members(kind: str, family: str) -> Iterable[str] | None:
    return MEMBERS if family == "peers" else None
