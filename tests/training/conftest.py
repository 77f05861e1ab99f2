"""A folder small enough to train on in a second, and settings for it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.config import TrainConfig, layered
from segkit.distributed import Group
from segkit.training.events import Silence, StepReport
from segkit.training.training import train

TINY = {
    "encoder": "unet(depth=3, width=6)",
    "decoder": "unet(dropout=0.2)",
    "metric": "miou,pixel_accuracy",
    "weights": "none",
    "epochs": 4,
    "batch": 4,
    "size": 16,
    "samples": 1,
    "device": "cpu",
    "precision": "fp32",
    "workers": 0,
}


class Interrupted(Exception):
    """Stands for a process that is killed."""


class InterruptAt(Silence):
    """Ends a training after the report on a step: the process sees no step that follows."""

    def __init__(self, step: int) -> None:
        self.step = step

    def stepped(self, report: StepReport) -> None:
        if report.step >= self.step:
            raise Interrupted


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def interrupted() -> Callable[..., None]:
    """interrupted(config, after=5): trains and dies after the report on that step."""

    def run(config: TrainConfig, after: int) -> None:
        with pytest.raises(Interrupted):
            train(config, InterruptAt(after))

    return run


@pytest.fixture
def alone() -> Group:
    return Group(0, 1, 1, torch.device("cpu"))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images to train on and five of two sizes to validate: three classes told by colour."""
    root = tmp_path_factory.mktemp("tiny")
    generator = np.random.default_rng(0)
    for split, sizes in {"train": [(24, 24)] * 12, "val": [(20, 24)] * 3 + [(17, 31)] * 2}.items():
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for number, (height, width) in enumerate(sizes):
            mask_HW = np.zeros((height, width), np.uint8)
            mask_HW[3:11, 2:12] = 1
            mask_HW[8:17, 10:20] = 2
            colour_K3 = np.array([[60, 60, 60], [200, 40, 40], [40, 40, 200]])
            noise_HW3 = generator.normal(0, 20, (height, width, 3))
            image_HW3 = np.clip(colour_K3[mask_HW] + noise_HW3, 0, 255).astype(np.uint8)
            Image.fromarray(image_HW3).save(root / "images" / split / f"{number}.png")
            Image.fromarray(mask_HW).save(root / "masks" / split / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def tiny_settings(tiny_folder: Path) -> dict[str, object]:
    """Settings of a training that takes a second."""
    return {**TINY, "data": str(tiny_folder)}


@pytest.fixture
def settings(tiny_settings: dict[str, object], tmp_path: Path) -> Callable[..., TrainConfig]:
    """settings(epochs=2, ...): the same as a configuration, with changes."""

    def make(**changes: object) -> TrainConfig:
        return layered(None, tiny_settings | {"out": str(tmp_path / "run")} | changes)

    return make
