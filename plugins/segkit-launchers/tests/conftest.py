"""A cluster that is not there: see fake_slurm.py."""

import os
import stat
import sys
from pathlib import Path

import pytest


@pytest.fixture
def fake_slurm(tmp_path, monkeypatch):
    """The folder in which the fake programs keep what they know; they are first on PATH."""
    programs, known = tmp_path / "programs", tmp_path / "known"
    programs.mkdir()
    known.mkdir()
    source = Path(__file__).with_name("fake_slurm.py").read_text("utf-8")
    for name in ("sbatch", "squeue", "sacct"):
        file = programs / name
        file.write_text(f"#!{sys.executable}\n{source}", "utf-8")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("FAKE_SLURM", str(known))
    return known
