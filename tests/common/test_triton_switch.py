"""Where kernels in Triton run, and how they are turned off; Triton itself is not needed for it."""

import subprocess
import sys

import pytest
import torch

from lightning_croloss.common import triton_switch
from lightning_croloss.common.triton_switch import VARIABLE, takes_triton, triton_kernels

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def installed_and_able(monkeypatch):
    monkeypatch.setattr(triton_switch, "_is_installed", lambda: True)
    monkeypatch.setattr(triton_switch, "_is_able", lambda index: True)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.mark.parametrize(("asked", "on_gpu", "on_cpu"), [("", 1, 0), ("0", 0, 0), ("1", 1, 1)])
def test_the_environment_decides(monkeypatch, asked, on_gpu, on_cpu):
    monkeypatch.setenv(VARIABLE, asked)
    assert takes_triton(GPU) is bool(on_gpu)
    assert takes_triton(CPU) is bool(on_cpu)
    assert takes_triton(torch.device("meta")) is False
    # what would be slower runs only if it is asked for
    assert takes_triton(GPU, pays=False) is (asked == "1")


def test_the_context_decides_above_the_environment(monkeypatch):
    monkeypatch.setenv(VARIABLE, "0")
    with triton_kernels(True):
        assert takes_triton(GPU)
        assert takes_triton(CPU)
        with triton_kernels(False):
            assert not takes_triton(GPU)
        assert takes_triton(GPU)
    assert not takes_triton(GPU)


def test_a_processor_needs_the_interpreter(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET")
    with triton_kernels(True):
        assert not takes_triton(CPU)
        assert takes_triton(GPU)


def test_what_is_missing_or_not_able_takes_the_portable_path(monkeypatch):
    monkeypatch.setattr(triton_switch, "_is_able", lambda index: False)
    assert not takes_triton(GPU)
    monkeypatch.setattr(triton_switch, "_is_installed", lambda: False)
    with triton_kernels(True):
        assert not takes_triton(GPU)
        assert not takes_triton(CPU)


@pytest.mark.parametrize(
    ("capability", "cuda", "able"),
    [
        ((8, 0), "13.0", True),
        ((8, 9), "13.0", False),
        ((9, 0), "13.0", True),
        ((10, 3), "13.0", True),
        ((12, 0), "13.0", False),
        ((9, 0), None, False),
    ],
)
def test_devices_of_data_centres_are_able(monkeypatch, capability, cuda, able):
    monkeypatch.undo()
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
    assert triton_switch._is_able.__wrapped__(0) is able


def test_another_value_is_refused(monkeypatch):
    monkeypatch.setenv(VARIABLE, "off")
    with pytest.raises(ValueError, match="CROLOSS_TRITON must be 0 or 1, got 'off'"):
        takes_triton(CPU)


def test_nothing_imports_triton_before_a_kernel_runs():
    code = (
        "import sys, torch, lightning_croloss as package;"
        "assert 'triton' not in sys.modules;"  # PyTorch itself may import it later
        "loss = package.CROLoss(num_items=9, fused=True);"
        "vectors = [torch.rand(n, 4, requires_grad=True) for n in (3, 3, 9)];"
        "loss.from_embeddings(*vectors).backward();"
        "assert not [name for name in sys.modules if 'triton.compiled' in name]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
