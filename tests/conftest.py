"""What tests share: installing a made-up distribution for the length of one test."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

InstallFake = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_data_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keeps what is remembered about made-up data sets out of the user's cache folder."""
    monkeypatch.setenv("SEGKIT_CACHE", str(tmp_path_factory.mktemp("cache")))


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
