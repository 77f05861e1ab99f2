"""Both launchers against the contract; SLURM's programs are fakes."""

import pytest

from segkit.testing import Case, conformance


@conformance("segkit-launchers", examples={"slurm": ["slurm(poll=0.1)"]})
@pytest.mark.skipif("sys.platform != 'linux'")
def test_conformance(case: Case, fake_slurm) -> None:
    case.run()
