"""Labels of logits: from what callers of ``RetrievalLoss.from_logits`` have to the positives of each row."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_INTEGERS = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
_SHAPES = "logits must be (B, C), (B, L, C) or (B, C, L)"


@dataclass(frozen=True)
class Labels:
    """Logits with the classes last, one row for each label or set of labels, and these labels.

    Attributes:
        logits: (R, C), a view where that is possible.
        values: (R,) class indices, (R, P) padded class indices, or (R, C) bool.
        shape: what the R rows were: (), (B,) or (B, L).
        class_dim: where the classes were in the logits, 0 to 2.
    """

    logits: Tensor
    values: Tensor
    shape: torch.Size
    class_dim: int

    @classmethod
    def check(cls, logits: Tensor, labels: Tensor, class_dim: int | None) -> Labels:
        """Find out which dimension is which.

        Raises:
            ValueError: types or shapes do not fit, or fit in more than one way.
        """
        _check_types(logits, labels)
        if logits.dim() == 1 and labels.dim() == 0:
            return cls(logits.unsqueeze(0), labels.unsqueeze(0), labels.shape, 0)
        if logits.dim() not in (2, 3):
            raise ValueError(
                f"{_SHAPES}, with labels (B,) or (B, L); got {_shape(logits)} and labels {_shape(labels)}"
            )
        several_hot = labels.dtype not in _INTEGERS
        if not several_hot and labels.shape == logits.shape:
            raise ValueError(
                f"integer labels of the logits' own shape {_shape(logits)} could be class indices or "
                "multi-hot: give multi-hot labels as labels.bool()"
            )
        if several_hot and labels.shape != logits.shape:
            what = "bool" if labels.dtype == torch.bool else "floating"
            raise ValueError(
                f"{what} labels are multi-hot and must have the logits' shape {_shape(logits)}, got "
                f"{_shape(labels)}: give class indices as integers, labels.long()"
            )
        where = _class_dim(logits, labels, class_dim, several_hot)
        values = _multi_hot(labels) if several_hot else labels
        if logits.dim() == 3 and where == 1:
            logits = logits.transpose(1, 2)
            values = values.transpose(1, 2) if several_hot else values
        shape = logits.shape[:-1]
        return cls(
            logits.reshape(-1, logits.shape[-1]),
            values.reshape(shape.numel(), *values.shape[len(shape) :]),
            shape,
            where,
        )

    def rows_of(self, name: str, value: Tensor) -> Tensor:
        """Return a tensor (C,), (R, C) of what the caller gave for classes: (C,), or like the logits.

        For positions, (B, C) is the same for all L.

        Raises:
            ValueError: the shape is neither.
        """
        columns, batch = self.logits.shape[1], self.shape[:1]
        whole = list(self.shape)
        whole.insert(self.class_dim, columns)
        if value.shape == (columns,):
            return value
        if list(value.shape) == whole:
            if len(whole) == 3 and self.class_dim == 1:
                value = value.transpose(1, 2)
            return value.reshape(-1, columns)
        if len(whole) == 3 and value.shape == (*batch, columns):
            return value.unsqueeze(1).expand(*self.shape, columns).reshape(-1, columns)
        raise ValueError(
            f"{name} must be (C,)={(columns,)} or like the logits {tuple(whole)}, got {_shape(value)}"
        )

    def weight_of_rows(self, sample_weight: Tensor) -> Tensor:
        """Return the (R,) weights of the rows from (B,) or (B, L).

        Raises:
            ValueError: the shape is neither.
        """
        if sample_weight.shape == self.shape:
            return sample_weight.reshape(-1)
        if len(self.shape) == 2 and sample_weight.shape == self.shape[:1]:
            return sample_weight.repeat_interleave(self.shape[1])
        raise ValueError(
            f"sample_weight must be {tuple(self.shape)}, one weight for each row of the logits, got "
            f"{_shape(sample_weight)}"
        )


def _check_types(logits: Tensor, labels: Tensor) -> None:
    if not logits.is_floating_point():
        raise ValueError(f"logits must be floating, got {logits.dtype}: are logits and labels exchanged?")
    if labels.dtype not in _INTEGERS and labels.dtype != torch.bool and not labels.is_floating_point():
        raise ValueError(f"labels must be integer class indices or bool, got {labels.dtype}")
    if labels.device != logits.device:
        raise ValueError(
            f"labels are on {labels.device} and logits on {logits.device}: give labels.to(logits.device)"
        )


def _class_dim(logits: Tensor, labels: Tensor, class_dim: int | None, several_hot: bool) -> int:
    """Return the dimension of the classes, 1 or 2."""
    given, last = class_dim, logits.dim() - 1
    if class_dim is not None:
        class_dim = class_dim + logits.dim() if class_dim < 0 else class_dim
        if class_dim not in (1, last):
            raise ValueError(f"class_dim must be -1 or 1, got {given}")
    if several_hot:
        return last if class_dim is None else class_dim
    fits = [
        where
        for where in sorted({1, last})
        if labels.dim() in (last, last + 1)
        and labels.shape[:last] == logits.shape[:where] + logits.shape[where + 1 :]
    ]
    if class_dim in fits:
        return class_dim
    if class_dim is not None or not fits:
        raise ValueError(_misfit(logits, labels, given))
    if len(fits) == 2:
        raise ValueError(
            f"logits {_shape(logits)} may be (B, L, C) or (B, C, L): say class_dim=-1 if the classes come "
            "last, class_dim=1 if they come second"
        )
    return fits[0]


def _misfit(logits: Tensor, labels: Tensor, class_dim: int | None) -> str:
    """Return a sentence on labels whose shape does not fit."""
    if logits.dim() == 2:
        wanted = f"({logits.shape[0]},) class indices, ({logits.shape[0]}, P) padded with ignore_index"
    elif class_dim is None:
        batch, second, third = logits.shape
        wanted = f"{(batch, second)} or, with classes second, {(batch, third)}; (B, L, P) likewise"
    else:
        length = logits.shape[1] if class_dim in (-1, 2) else logits.shape[2]
        wanted = f"{(logits.shape[0], length)} class indices, ({logits.shape[0]}, {length}, P) padded ones"
    return (
        f"labels of logits {_shape(logits)} must be {wanted}, or bool of the logits' shape; "
        f"got {_shape(labels)}"
    )


def _multi_hot(labels: Tensor) -> Tensor:
    """Return multi-hot labels as bool."""
    if labels.dtype == torch.bool:
        return labels
    positive = labels == 1
    other = ~(positive | (labels == 0))
    if other.any():  # counting the positives waits for a device too
        raise ValueError(
            f"floating labels are multi-hot and must be 0 or 1, got {float(labels[other][0]):g}: weights and "
            "soft labels are not supported, use sample_weight for weights of rows"
        )
    return positive


def _shape(value: Tensor) -> tuple[int, ...]:
    return tuple(value.shape)
