"""What the tests of scores share."""

import pytest
import torch

from segkit.distributed import Group


@pytest.fixture
def alone() -> Group:
    return Group(0, 1, 1, torch.device("cpu"))
