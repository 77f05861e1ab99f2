"""What tests share: a made-up distribution installed for one test, and a training of a second."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from forked_commands import ForkedCommands

if TYPE_CHECKING:
    from segkit.config import TrainConfig
    from segkit.distributed import Group

InstallFake = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_data_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keeps what is remembered about made-up data sets out of the user's cache folder."""
    monkeypatch.setenv("SEGKIT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def no_pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the page at a training's end, which takes seconds, but in tests of reports."""
    about_pages = any("report" in part for part in request.path.parts[-2:])
    if not about_pages and "segkit.training.run.report" in sys.modules:
        monkeypatch.setattr("segkit.training.run.report.write_report", lambda folder: folder)


@pytest.fixture
def install_fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstallFake:
    """install_fake("dist", {"encoders": {"tiny": "module"}}, module="source of it")."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def install(
        distribution: str,
        entries: Mapping[str, Mapping[str, str]],
        *,
        version: str = "1.0",
        requires: str = "segkit-core>=0.1,<0.2",
        **modules: str,
    ) -> Path:
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: {distribution}\nVersion: {version}\n"
            f"Requires-Dist: {requires}\n"
        )
        lines = []
        for kind, names in entries.items():
            lines += [f"[segkit.{kind}]", *(f"{n} = {module}" for n, module in names.items()), ""]
        (info / "entry_points.txt").write_text("\n".join(lines))
        for name, source in modules.items():
            (site / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        return site

    yield install
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(site)):
            del sys.modules[name]


@pytest.fixture(scope="session")
def forked() -> Iterator[ForkedCommands]:
    """forked.run(["segkit", ...], cwd=...): a command in a process of its own, quickly."""
    commands = ForkedCommands()
    yield commands
    commands.end()


TINY = {
    "recipe": "plain",
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


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch computes with one thread: small networks gain nothing by more."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def alone() -> Group:
    """A group of one process, on the CPU."""
    import torch

    from segkit.distributed import Group

    return Group(0, 1, 1, torch.device("cpu"))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images to train on and five of two sizes to validate: three classes told by colour."""
    import numpy as np
    from PIL import Image

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
def settings(
    tiny_settings: dict[str, object], tmp_path: Path, one_thread: None
) -> Callable[..., TrainConfig]:
    """settings(epochs=2, ...): the same as a configuration, with changes."""

    from segkit.config import layered

    def make(**changes: object) -> TrainConfig:
        return layered(None, tiny_settings | {"out": str(tmp_path / "run")} | changes)

    return make
