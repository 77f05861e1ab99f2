"""The launcher against the contract, on a cluster of this machine; and what it refuses."""

import importlib.util
import subprocess
import sys

import pytest

from segkit.api import EnvironmentFault, Job
from segkit.testing import Case, conformance

HAS_RAY = importlib.util.find_spec("ray") is not None


@pytest.fixture(scope="module")
def cluster():
    """A cluster of one node that the launcher finds running."""
    if not HAS_RAY:
        yield None
        return
    import ray

    ray.init(num_cpus=2, log_to_driver=False, logging_level="error", include_dashboard=False)
    yield ray
    ray.shutdown()


@conformance("segkit-ray")
@pytest.mark.integration
@pytest.mark.skipif(not HAS_RAY, reason="needs ray")
def test_conformance(case: Case, cluster) -> None:
    case.run()


@pytest.mark.integration
@pytest.mark.skipif(not HAS_RAY, reason="needs ray")
def test_what_no_node_has_is_refused_before_anything_runs(cluster, tmp_path):
    from segkit_ray.launcher import RayLauncher

    small, large = (
        Job(name, (sys.executable, "-c", "pass"), tmp_path, tmp_path / name, cpus=cpus)
        for name, cpus in (("small", 1), ("large", 3))
    )
    with pytest.raises(EnvironmentFault) as refused:
        next(RayLauncher(tmp_path).launch([small, large]))
    assert str(refused.value) == (
        "SK-L001: large needs 3 cores, 0 GPUs and 0 GiB on one node, and none of the 1 nodes of "
        "the Ray cluster has them.\n         Ask for less, or add a node; `ray status` shows what "
        "there is."
    )
    assert not (tmp_path / "small").exists()


@pytest.mark.integration
@pytest.mark.skipif(not HAS_RAY, reason="needs ray")
def test_without_a_cluster_it_says_how_to_start_one(tmp_path):
    program = (
        "from pathlib import Path; from segkit_ray.launcher import RayLauncher\n"
        "next(RayLauncher(Path('.'), address='127.0.0.1:1').launch([]), None)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert "SK-L002: no Ray cluster answers at 127.0.0.1:1." in ran.stderr


@pytest.mark.integration
def test_naming_it_does_not_import_ray():
    program = "import segkit_ray, sys; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
