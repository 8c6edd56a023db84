"""Steps of optimizers in one pass over the memory: PyTorch's fused ones, where they are right."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer
from torch.utils._foreach_utils import _get_fused_kernels_supported_devices

#: Those that refuse sparse gradients anyway, and those whose fused step does though they do not.
_DENSE, _DENSE_WHERE_FUSED = (Adam, AdamW), (SGD, Adagrad)


def fuse_steps(optimizers: Iterable[Optimizer], modules: Iterable[nn.Module]) -> None:
    """Let optimizers take fused steps, equal to the others to rounding, unless the user chose a kind of step.

    It is decided here for each training anew, and not when the optimizer is built: a checkpoint brings the
    choice of the run that wrote it, perhaps on another device, and the choice is no setting of the user's.

    ``_step_supports_amp_scaling`` stays unset: with it a ``GradScaler`` would leave it to the step to unscale
    the gradients, and Lightning then refuses to clip them.

    Args:
        optimizers: of a training that is about to start, their states restored already.
        modules: those of the model, some of which may have sparse gradients.
    """
    sparse = any(getattr(module, "sparse", False) is True for module in modules)
    for optimizer in optimizers:
        kind, said = type(optimizer), optimizer.defaults
        if kind not in (*_DENSE, *_DENSE_WHERE_FUSED) or said["fused"] is not None:
            continue
        if said["foreach"] is not None or said.get("capturable") or said["differentiable"]:
            continue
        for group in optimizer.param_groups:
            fuses = kind in _DENSE or not sparse
            fuses = fuses and all(_can_fuse(parameter, kind) for parameter in group["params"])
            group["fused"] = True if fuses else None
            for parameter in group["params"] if fuses else ():
                step = optimizer.state.get(parameter, {}).get("step")
                if isinstance(step, Tensor):  # where steps were not fused it may be elsewhere
                    optimizer.state[parameter]["step"] = step.to(parameter.device, torch.float32)


def _can_fuse(parameter: Tensor, kind: type[Optimizer]) -> bool:
    devices = ["cpu"] if kind is Adagrad else _get_fused_kernels_supported_devices()
    plain = type(parameter) in (Tensor, nn.Parameter)
    # on a CPU fused steps in half precision are wrong: those of SGD move nothing (PyTorch 2.13)
    right = parameter.dtype in (torch.float32, torch.float64) or parameter.device.type == "cuda"
    return plain and right and parameter.is_floating_point() and parameter.device.type in devices
