"""Memory that runs out ends in advice on what to make smaller."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightning_croloss import YouTubeDNN
from lightning_croloss.cli import main
from lightning_croloss.cli.errors import explained
from tests.cli.cases import error_of
from tests.cli.small import FIT

CUDA = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 3.45 "
    "GiB is free. See documentation for Memory Management (https://pytorch.org/docs/stable/notes/cuda.html)"
)
CPU = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
    "allocate 400000000000 bytes. Error code 12 (Cannot allocate memory)"
)
FIELDS = ("data.batch_size", "data.eval_batch_size", "model.tile_elements")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError(CUDA), "(CUDA out of memory; Tried to allocate 20.00 GiB)"),
        (RuntimeError(CPU), "(can't allocate memory: you tried to allocate 400000000000 bytes;"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"), "(MPS backend out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), "(CUDA error"),
        (MemoryError(), "memory ran out: make"),
        (np._core._exceptions._ArrayMemoryError((2**40,), np.dtype("f8")), "(Unable to allocate 8.00 TiB"),
    ],
)
def test_the_sentence(error: Exception, said: str) -> None:
    sentence = str(explained(error))
    assert sentence.startswith("memory ran out")
    assert said in sentence
    assert all(field in sentence for field in FIELDS)
    assert len(sentence) < 400


@pytest.mark.parametrize("error", [RuntimeError("size mismatch"), OSError(12, "Cannot allocate memory")])
def test_another_error_is_left_alone(error: Exception) -> None:
    assert explained(error) is error


@pytest.mark.parametrize("method", ["training_step", "validation_step"])
def test_a_fit(method: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError(CUDA)

    monkeypatch.setattr(YouTubeDNN, method, full)
    said = error_of(capsys, "fit", *FIT)
    assert all(field in said for field in FIELDS)


def test_the_fields_exist() -> None:
    main(["fit", *FIT, *(f"--{field}=64" for field in FIELDS), "--trainer.fast_dev_run=1"])
