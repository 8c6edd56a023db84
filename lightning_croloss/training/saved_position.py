"""Whether what a checkpoint says of its moment in training is what a run has written."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from croloss_serving.common.terminal import printable
from lightning_croloss.training.epoch_sums import SETTINGS
from lightning_croloss.training.position import AFTER_BATCH, AFTER_EPOCH, AFTER_VALIDATION, BETWEEN

_MOMENTS = (AFTER_BATCH, AFTER_VALIDATION, AFTER_EPOCH, BETWEEN)
_SUMS = ("fx", "settings", "reduce_fx", "sync_dist", "rank_zero_only", "value", "weight", "latest")


def check_position(
    position: object, weights: Mapping[str, Tensor], parameters: Mapping[str, Tensor], told: bool = False
) -> None:
    """Refuse the description of a moment that no run can have written, before any of it is used.

    Args:
        position: what the checkpoint holds.
        weights: those of the model, for their shapes.
        parameters: those of its weights that are trained.
        told: whether it must tell a moment, or why it does not.

    Raises:
        ValueError: naming what is wrong.
    """
    if not isinstance(position, Mapping):
        raise _damaged("position")
    if "moment" not in position:
        if told and not position.keys() & {"missing", "unknown"}:
            raise _damaged("position")
        return
    checks: dict[str, Callable[[object], bool]] = {
        "moment": lambda value: isinstance(value, str) and value in _MOMENTS,
        "metrics": lambda value: _all(value, lambda name, entry: isinstance(entry, Tensor)),
        "saved": lambda value: _all(value, lambda name, entry: _is_saved(entry)),
        "sums": lambda value: isinstance(value, list) and all(map(_is_sum, value)),
        "weights": lambda value: _all(value, lambda name, entry: _is_weight(entry, weights.get(name))),
        "gradients": lambda value: _all(value, lambda name, entry: _fits(entry, parameters.get(name))),
    }
    for name, is_right in checks.items():
        absent: object = {"sums": [], "weights": {}, "gradients": {}}.get(name)
        if not is_right(position.get(name, absent)):
            raise _damaged(f"position.{name}")


def _all(value: object, is_right: Callable[[str, object], bool]) -> bool:
    if not isinstance(value, Mapping):
        return False
    return all(isinstance(name, str) and is_right(name, entry) for name, entry in value.items())


def _is_saved(entry: object) -> bool:
    """Tell the step at which a callback has saved, and whether it waits for a validation to save."""
    return isinstance(entry, list) and [type(value) for value in entry] == [int, bool]


def _is_sum(entry: object) -> bool:
    if not isinstance(entry, Mapping) or set(_SUMS) != entry.keys():
        return False
    settings = entry["settings"]
    tensors = [entry["value"], *(entry[name] for name in ("weight", "latest") if entry[name] is not None)]
    texts = isinstance(entry["fx"], str) and isinstance(entry["reduce_fx"], str)
    named = isinstance(settings, Mapping) and set(SETTINGS) == settings.keys()
    return texts and named and all(isinstance(tensor, Tensor) for tensor in tensors)


def _fits(entry: object, own: Tensor | None) -> bool:
    return isinstance(entry, Tensor) and own is not None and entry.shape == own.shape


def _is_weight(entry: object, own: Tensor | None) -> bool:
    """Tell whether this can take the place of weights of the model: of the same kind, and finite."""
    if not isinstance(entry, Tensor) or own is None or not _fits(entry, own):
        return False
    if not (own.is_floating_point() and entry.is_floating_point()):
        return entry.dtype == own.dtype
    # what a model keeps besides what it has learned may be meant to be infinite, as a mask is
    return bool(entry.isfinite().all()) or not bool(own.isfinite().all())


def _damaged(name: str) -> ValueError:
    return ValueError(
        f"the checkpoint cannot be resumed: its {printable(name)} is damaged: take another checkpoint, or "
        "start a new run from its weights with --pretrained"
    )
