"""The kernels compile for a GPU where there is none; only there can it be told how fast they are."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="Triton is not installed: pip install triton, or the extra dev")

CODE = """
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from lightning_croloss.losses.fused.triton.compiled.candidates import candidates_kernel
from lightning_croloss.losses.fused.triton.compiled.sweep import sweep_kernel
from lightning_croloss.losses.fused.triton.layout import Layout, padded_width
from lightning_croloss.retrieval.triton.compiled import count_kernel, pairs_kernel

MOST_SHARED = 227 * 1024  # bytes that a program may have of a multiprocessor


def compile(kernel, cut, pointers, floats, constants):
    signature, constants = {}, dict(constants)
    for name in kernel.arg_names:
        if name in pointers:
            signature[name] = pointers[name]
        elif name in constants:
            signature[name] = "constexpr"
        else:
            signature[name] = "fp32" if name in floats else "i32"
    options = {"num_warps": cut.warps, "num_stages": cut.stages, "enable_fp_fusion": True}
    made = triton.compile(ASTSource(kernel, signature, constants), GPUTarget("cuda", 90, 32), options)
    assert made.metadata.shared <= MOST_SHARED, (kernel.__name__, made.metadata.shared)
    assert made.asm["cubin"]


def losses(vectors, dtype, width, kernel, other, logarithms, precision):
    layout = Layout.choose(width, dtype, torch.device("cpu"))
    names = "positive_scores coefficients log_scales inverse_lengths log_weights"
    names += " sums other_sums slope_sums products gradients candidates"
    pointers = {name: "*fp32" for name in names.split()} | {"users": vectors}
    pointers |= {"target_ids": "*i64", "candidate_ids": "*i64", "mask": "*u8"}
    pointers |= {"listed": "*i32", "listed_starts": "*i32"}
    constants = {"KERNEL": kernel, "LOGARITHMS": logarithms, "OTHER": other, "OTHER_LOGARITHMS": False}
    constants |= {"FINISHES": True, "PRECISION": precision, "WIDTH": width, "PADDED": padded_width(width)}
    if not logarithms:
        constants["log_scales"] = None
        del pointers["log_scales"]
    floats = {"inverse_scale", "parameter", "other_ratio", "other_parameter"}
    for function, cut in ((sweep_kernel, layout.sweep), (candidates_kernel, layout.gradient)):
        told = {**constants, "ROWS": cut.rows, "COLUMNS": cut.columns}
        told = {name: value for name, value in told.items() if name in function.arg_names}
        compile(function, cut, pointers, floats, told)


losses("*bf16", torch.bfloat16, 64, "psl_atan", "softplus", True, "ieee")
losses("*fp32", torch.float32, 16, "sigmoid", "heaviside", False, "ieee")
cut = Layout.choose(64, torch.bfloat16, torch.device("cpu")).sweep._replace(stages=2)
told = {"PRECISION": "tf32x3", "INTERESTS": 2, "ROWS": 64, "COLUMNS": 64, "WIDTH": 16, "PADDED": 16}
vectors = {"users": "*fp32", "items": "*fp32"}
compile(pairs_kernel, cut, {**vectors, "rows": "*i64", "places": "*i64", "scores": "*fp32"}, (), told)
of_counts = {"bounds": "*fp32", "places": "*i64", "below": "*i32", "own": "*fp32"}
compile(count_kernel, cut, {**vectors, **of_counts}, (), {**told, "GROUP": 2})
"""


@pytest.mark.slow
def test_the_kernels_compile_for_a_gpu(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
