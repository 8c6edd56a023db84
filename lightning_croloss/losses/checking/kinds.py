"""What an argument is: its type, shape and device, as one sentence if it is not what it must be."""

from __future__ import annotations

import math
from numbers import Real
from typing import NoReturn

import torch
from torch import Tensor

from lightning_croloss.common.dense_tensor import dense_tensor
from lightning_croloss.common.item_lists import ItemLists
from lightning_croloss.common.unread_values import is_unread

#: The integers that the losses can sort and compare.
ID_DTYPES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
#: The shapes of what is given of each candidate, in words.
OF_COLUMNS = "(M,) or (B, M)"


def check_tensor(name: str, value: object, shape: str) -> Tensor:
    """Return ``value`` if it is a dense tensor, else raise ``TypeError``."""
    if value is None:
        raise TypeError(f"{name} must be a tensor {shape}, got None")
    return dense_tensor(name, value, shape)


def check_floats(name: str, value: object, shape: str) -> Tensor:
    """Return ``value`` if it is a tensor of floating-point numbers.

    Args:
        name: the argument, for the message.
        value: what was given.
        shape: the shape that it should have, in words.

    Raises:
        TypeError: it is not a tensor.
        ValueError: it has numbers of another type.
    """
    tensor = check_tensor(name, value, shape)
    if not tensor.is_floating_point():
        hint = ""
        if not tensor.is_complex():
            hint = f": are these ids? {name} are what was computed from them"
        raise ValueError(f"{name} must be floating-point numbers {shape}, got {tensor.dtype}{hint}")
    if tensor.itemsize < 2:  # torch stores them, and computes nothing
        raise ValueError(f"{name} must be of 16 bits or more, got {tensor.dtype}: give {name}.float()")
    return tensor


def check_ids(name: str, value: object, shape: str) -> Tensor:
    """Return ``value`` if it is a tensor of integers; arguments and errors as of :func:`check_floats`."""
    tensor = check_tensor(name, value, shape)
    if tensor.dtype not in ID_DTYPES:
        raise ValueError(f"{name} must be integer ids {shape}, got {tensor.dtype}: give {name}.long()")
    return tensor


def check_mask(name: str, value: object, shape: str = OF_COLUMNS) -> Tensor:
    """Return ``value`` if it is a tensor of bool; arguments and errors as of :func:`check_floats`."""
    mask = check_tensor(name, value, shape)
    if mask.dtype == torch.bool:
        return mask
    additive = f", and a mask of 0 and −inf that is added to scores {name} < 0" * mask.is_floating_point()
    raise ValueError(
        f"{name} must be bool, True = ignore, got {mask.dtype}: if 1 marks what to ignore give "
        f"{name}.bool(), if 1 marks what counts {name} == 0{additive}"
    )


def check_columns(name: str, value: Tensor, shape: torch.Size, device: torch.device) -> None:
    """Check what is given of each candidate: (M,), (B, M), or of ``shape``."""
    size = value.shape
    if size != shape and size != shape[-1:] and size != (shape[0], shape[-1]):
        like = "(M,) or (B, M)" if len(shape) == 2 else "(M,), (B, M) or (B, L, M)"
        raise ValueError(
            f"{name} must be {like} with M={shape[-1]} candidates and B={shape[0]} rows, got {tuple(size)}"
        )
    if value.device != device:
        refuse_device(name, value, "the candidates", device)


def check_excluded(excluded: object, rows: torch.Size, device: torch.device) -> None:
    """Check ``excluded_ids``: (B, E) padded, or lists."""
    if isinstance(excluded, ItemLists):
        if len(excluded) != rows[0]:
            raise ValueError(f"excluded_ids must have B={rows[0]} lists, got {len(excluded)}")
        ids = excluded.values
    else:
        ids = check_ids("excluded_ids", excluded, "(B, E), padded")
        if ids.dim() < 2 or ids.shape[:-1] not in (rows, rows[:1]):
            raise ValueError(f"excluded_ids must be (B, E) with B={rows[0]}, padded, got {tuple(ids.shape)}")
    if ids.device != device:
        refuse_device("excluded_ids", ids, "users", device)


def check_number(number: object, rows: torch.Size) -> None:
    """Check ``num_sampled``: a number of draws, or one for each row."""
    if isinstance(number, Tensor):
        check_tensor("num_sampled", number, "(B,)")
        if number.is_complex() or number.dtype == torch.bool:
            raise ValueError(f"num_sampled must be numbers of draws, got {number.dtype}")
        if number.shape not in (torch.Size(), rows, rows[:1]):
            raise ValueError(f"num_sampled must be a number or (B,), got {tuple(number.shape)}")
        check_amounts("num_sampled", number)
    elif isinstance(number, bool) or not isinstance(number, Real):
        raise TypeError(f"num_sampled must be a number or a tensor (B,), got {type(number).__name__}")
    elif not 0.0 <= float(number) < math.inf:
        raise ValueError(f"num_sampled must be a number of draws, at least 0, got {number}")


def check_weight(weight: object, rows: torch.Size, like: str, device: torch.device) -> None:
    """Check ``sample_weight``: one for each row."""
    weight = check_tensor("sample_weight", weight, "(B,)")
    if weight.is_complex():
        raise ValueError(f"sample_weight must be real numbers, got {weight.dtype}")
    if weight.shape != rows and weight.shape != rows[:1]:
        raise ValueError(f"sample_weight must be (B,) like {like} {tuple(rows)}, got {tuple(weight.shape)}")
    if weight.device != device:
        refuse_device("sample_weight", weight, like, device)
    check_amounts("sample_weight", weight)


def check_amounts(name: str, amounts: Tensor) -> None:
    """Refuse weights or numbers of draws that are negative or not finite, if they are on the host.

    Those of a device are asked for, see ``Inspection.amounts``.
    """
    if amounts.device.type == "cpu" and amounts.numel() and not is_unread(amounts):
        judge_amounts(name, ends_of_amounts(amounts).tolist())


@torch.no_grad()
def ends_of_amounts(amounts: Tensor) -> Tensor:
    """Return the least and the largest (2,) of some, both NaN if one is, where they are."""
    return torch.stack(torch.aminmax(amounts.detach().double()))


def judge_amounts(name: str, ends: list[float]) -> None:
    """Raise ``ValueError`` if amounts with these ends are no amounts."""
    least, most = ends
    if not (least >= 0.0 and most < math.inf):
        found = least if math.isnan(least) or least < 0.0 else most
        raise ValueError(f"{name} must hold finite numbers of at least 0, got {found:g}")


def refuse_device(name: str, value: Tensor, other: str, device: torch.device) -> NoReturn:
    """Say that a tensor is on another device."""
    raise ValueError(
        f"{name} must be on the device of {other}, {device}, got {value.device}: give "
        f"{name}.to({str(device)!r})"
    )
