"""The device and precision a training takes, and what is said where they cannot be had."""

import pytest
import torch

from segkit import device as choices
from segkit.device import autocast, choose_device, choose_precision, default_workers
from segkit.errors import EnvironmentFault

CPU = torch.device("cpu")


def test_a_gpu_is_taken_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert choose_device("auto", local_rank=1) == torch.device("cuda", 1)
    assert choose_device("cuda:0", local_rank=1) == torch.device("cuda", 0)


def test_a_torch_without_cuda_says_so(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(EnvironmentFault) as caught:
        choose_device("cuda")
    assert str(caught.value) == (
        f"SK-E002: 'cuda' was asked for, and torch {torch.__version__} is built for CPUs only.\n"
        "         python -m pip install --force-reinstall torch torchvision, or use --device cpu."
    )
    assert caught.value.exit_code == 4


def test_a_gpu_that_is_not_there_says_how_many_are(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        EnvironmentFault, match="GPU number 3 was asked for, and torch finds 1 GPU on"
    ):
        choose_device("cuda:3")


@pytest.mark.parametrize(("has_instructions", "expected"), [(True, "bf16"), (False, "fp32")])
def test_a_cpu_computes_in_bf16_only_where_it_has_the_instructions(
    monkeypatch, has_instructions, expected
):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: has_instructions, raising=False)
    assert choose_precision("auto", CPU) == expected


@pytest.mark.parametrize(("generation", "expected"), [(7, "fp32"), (8, "bf16"), (9, "bf16")])
def test_a_gpu_computes_in_bf16_from_ampere_on(monkeypatch, generation, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (generation, 0))
    assert choose_precision("auto", torch.device("cuda")) == expected


def test_autocast_computes_in_the_precision_named():
    layer, x = torch.nn.Linear(2, 2), torch.zeros(1, 2)
    with autocast(CPU, "bf16"):
        assert layer(x).dtype is torch.bfloat16
    with autocast(CPU, "fp32"):
        assert layer(x).dtype is torch.float32


def test_a_cpu_training_has_no_readers_beside_it(monkeypatch):
    monkeypatch.setattr(choices.os, "cpu_count", lambda: 16)
    assert default_workers(CPU, 1) == 0
    assert default_workers(torch.device("cuda"), 1) == 8
    assert default_workers(torch.device("cuda"), 4) == 3
