"""States of a checkpoint, compared with what they are loaded into.

Lightning and torch write them over the attributes of loops, callbacks, optimizers and schedulers, whatever
they hold: what does not belong there would make training fail later, and somewhere else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from croloss_serving.common.terminal import printable
from lightning_croloss.data.datamodule import RetrievalDataModule
from lightning_croloss.training.lazy_adam import LAST, LazyAdam

#: What an optimizer keeps of each value of a parameter.
_LIKE_PARAMETER = (
    "exp_avg",
    "exp_avg_sq",
    "max_exp_avg_sq",
    "momentum_buffer",
    "square_avg",
    "grad_avg",
    "sum",
)
#: What it keeps of each parameter, if of any.
_OF_EACH = {*_LIKE_PARAMETER, "step"}
_COUNTS = ("total", "current")
#: What the loader of this package keeps.
_LOADER = (
    "batches",
    "epoch",
    "processes",
    "rows",
    "rows_before",
    "rows_of_a_group",
    "rows_of_a_step",
    "rows_of_the_epoch",
    "seed",
    "trainer_epoch",
)
#: Without which it knows no place; the first format counted batches.
_PLACE = {"epoch", "seed"}
_ROWS = {"rows", "rows_of_a_step", "rows_of_the_epoch"}
#: What a run cannot go on without.
_POSITION = (
    "epoch_progress",
    "epoch_loop.automatic_optimization.optim_progress",
    "epoch_loop.batch_progress",
    "epoch_loop.scheduler_progress",
    "epoch_loop.state_dict",
    "epoch_loop.val_loop.batch_progress",
)
#: What each part of a loop's state that has these needs of them.
_OF_LOOPS = (
    *_COUNTS,
    "_batches_that_stepped",
    "completed",
    "optimizer",
    "processed",
    "ready",
    "started",
    "step",
    "zero_grad",
)
_OF_EARLY_STOPPING = ("best_score", "patience", "stopped_epoch", "wait_count")
#: Where a scheduler stands, and what of it belongs to the groups of parameters.
_OF_SCHEDULERS = ("T_cur", "base_lrs", "best", "cooldown_counter", "last_epoch", "num_bad_epochs")
_OF_GROUPS = ("_last_lr", "base_lrs", "min_lrs")


def check_run(trainer: Trainer, checkpoint: Mapping[str, Any]) -> None:
    """Refuse the state of a run that no run can have; before any of it is loaded.

    Args:
        trainer: the trainer of the resumed run.
        checkpoint: the content of the checkpoint.

    Raises:
        ValueError: naming the state.
    """
    if "optimizer_states" not in checkpoint:
        raise ValueError(
            "the checkpoint holds weights alone (save_weights_only), and no state of a run to go on with: "
            "start a new run from it with --pretrained, or load_from_checkpoint"
        )
    for name in ("optimizer_states", "lr_schedulers"):
        if not isinstance(checkpoint.get(name), list):
            raise _damaged(name)
    loops = checkpoint.get("loops")
    if not isinstance(loops, dict) or not isinstance(loops.get("fit_loop"), dict):
        raise _damaged("loops")
    fresh = trainer.fit_loop.state_dict()
    _compare(loops["fit_loop"], fresh, "loops.fit_loop")
    for name in _POSITION:
        if name not in loops["fit_loop"]:
            raise _damaged(f"loops.fit_loop.{name}")
    _check_places(trainer, loops["fit_loop"])
    for name in ("epoch", "global_step"):
        if not _is_count(checkpoint.get(name)):
            raise _damaged(name)
    if checkpoint["global_step"] > 0 and not checkpoint["optimizer_states"]:
        raise _damaged("optimizer_states")
    states = checkpoint.get("callbacks")
    if not isinstance(states, dict):
        raise _damaged("callbacks")
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if callback.state_key in states:
            state, name = states[callback.state_key], f"callbacks.{callback.state_key}"
            _compare(state, callback.state_dict(), name)
            for key in _OF_EARLY_STOPPING if isinstance(callback, EarlyStopping) else ():
                if key not in state:
                    raise _damaged(f"{name}.{key}")


def _check_places(trainer: Trainer, loop: Mapping[str, Any]) -> None:
    """Refuse places in the training rows that the loader of this package has not kept."""
    name = "loops.fit_loop.state_dict.combined_loader"
    of_data = loop.get("state_dict") or {}
    states = of_data.get("combined_loader", []) if isinstance(of_data, dict) else None
    if not isinstance(states, list):
        raise _damaged(name)
    batches = loop["epoch_loop.batch_progress"]["current"]
    ours = isinstance(trainer.datamodule, RetrievalDataModule)  # type: ignore[attr-defined]
    # after the last one the next epoch begins anyway, and what a finder of rates writes then holds no places
    within = batches["ready"] and not loop["epoch_loop.batch_progress"]["is_last_batch"]
    if ours and within and not states:
        raise _damaged(name)
    for state in states:
        if not ours and not (isinstance(state, dict) and state and state.keys() <= set(_LOADER)):
            continue  # of another loader, for which others answer
        if not isinstance(state, dict) or not all(type(entry) is int for entry in state.values()):
            raise _damaged(name)
        if not state.keys() >= _PLACE | ({"batches"} if "batches" in state else _ROWS):
            raise _damaged(name)


def check_optimizer(optimizer: Optimizer, state: object, name: str, begun: bool = False) -> None:
    """Refuse the state of another optimizer, or of other parameters.

    Args:
        optimizer: the one that gets it.
        state: what the checkpoint holds of it.
        name: what errors call that.
        begun: whether it has made steps, of which it must know.

    Raises:
        ValueError: naming the state.
    """
    groups = state.get("param_groups") if isinstance(state, dict) else None
    if not isinstance(state, dict) or not isinstance(groups, list):
        raise _damaged(name)
    own = optimizer.state_dict()["param_groups"]
    if len(groups) != len(own) or not all(isinstance(group, dict) for group in groups):
        raise ValueError(
            f"the checkpoint's {name} is of other parameters than this model's: resume with the optimizer "
            "that it was saved with"
        )
    for group, expected in zip(groups, own, strict=True):
        _compare(group, expected, f"{name}.param_groups")
        for key, value in group.items():
            # another optimizer's own settings, foreach=None and amsgrad=False of Adam among them
            if key not in expected and not (value is None or isinstance(value, bool) or _is_number(value)):
                raise _damaged(f"{name}.param_groups.{key}")
        if group.get("params") != expected["params"]:
            raise _damaged(f"{name}.param_groups.params")
        for key in optimizer.defaults:  # numbers; of what torch added later it knows the default
            given = expected.get(key)
            if key not in group and given is not None and not isinstance(given, (bool, str)):
                raise _damaged(f"{name}.param_groups.{key}")
    parameters = [entry for group in optimizer.param_groups for entry in group["params"]]
    kept = state.get("state")
    if not isinstance(kept, dict):
        raise _damaged(f"{name}.state")
    of_each = {key for values in kept.values() if isinstance(values, dict) for key in values} & _OF_EACH
    known = isinstance(optimizer, (Adam, LazyAdam))  # AdamW is one of them
    if known:
        of_each |= {"step", "exp_avg", "exp_avg_sq"}
    if begun and not any(kept.values()) and _keeps_states(optimizer):
        raise _damaged(f"{name}.state")
    for number, values in kept.items():
        if type(number) is not int or not 0 <= number < len(parameters) or not isinstance(values, dict):
            raise _damaged(f"{name}.state")
        for key in sorted(of_each - values.keys()) if values or known else ():
            raise _damaged(f"{name}.state.{number}.{key}")
        for key, value in values.items():
            like = key in _LIKE_PARAMETER and value is not None
            if like and not (isinstance(value, Tensor) and value.shape == parameters[number].shape):
                raise _damaged(f"{name}.state.{number}.{key}")
            if key == "step" and not _is_number(value):
                raise _damaged(f"{name}.state.{number}.step")
            if key == LAST and not _is_steps(value, parameters[number]):
                raise _damaged(f"{name}.state.{number}.{key}")


def check_number(states: list[Any], number: int, name: str, begun: bool) -> None:
    """Refuse too few states: none is of one that then would begin anew.

    Raises:
        ValueError: naming them.
    """
    if len(states) < number and (states or begun):
        raise _damaged(name)


def _keeps_states(optimizer: Optimizer) -> bool:
    """Tell whether an optimizer that has made a step is known to keep something of it."""
    if isinstance(optimizer, SGD):
        return any(group["momentum"] for group in optimizer.param_groups)
    return isinstance(optimizer, LazyAdam) or type(optimizer).__module__.startswith("torch.optim.")


def check_scheduler(scheduler: Any, state: object, name: str) -> None:
    """Refuse the state of another scheduler, which would take the place of its methods.

    Raises:
        ValueError: naming the state.
    """
    if not isinstance(state, dict):
        raise _damaged(name)
    for key in state:
        taken = getattr(type(scheduler), key, None) if isinstance(key, str) else None
        method = callable(taken) or isinstance(taken, property)
        if not isinstance(key, str) or method or key == "optimizer":
            raise _damaged(f"{name}.{key}")
    inner = state.get("_schedulers")
    own = getattr(scheduler, "_schedulers", None)
    if own is not None:
        if not isinstance(inner, list) or len(inner) != len(own):
            raise _damaged(f"{name}._schedulers")
        for each, of_each in zip(own, inner, strict=True):
            check_scheduler(each, of_each, f"{name}._schedulers")
    fresh = {key: value for key, value in scheduler.state_dict().items() if key != "_schedulers"}
    for key in _OF_SCHEDULERS:
        if key in fresh and key not in state:
            raise _damaged(f"{name}.{key}")
    _compare({key: state[key] for key in state if key != "_schedulers"}, fresh, name)
    for key in _OF_GROUPS:
        lists = [each[key] for each in (state, fresh) if isinstance(each.get(key), (list, tuple))]
        if len(lists) == 2 and len(lists[0]) != len(lists[1]):
            raise _damaged(f"{name}.{key}")


def _compare(value: Any, fresh: Any, name: str) -> None:
    """Compare a state with that of an object in which nothing has happened yet."""
    if isinstance(fresh, Mapping):
        if not isinstance(value, Mapping):
            raise _damaged(name)
        counts = name.rpartition(".")[2] in _COUNTS
        for key, entry in value.items():
            if key in fresh:
                _compare(entry, fresh[key], f"{name}.{key}")
            if counts and not (key in fresh and _is_count(entry)):
                raise _damaged(f"{name}.{key}")
        for key in (*_COUNTS, "is_last_batch", *(_OF_LOOPS if name.startswith("loops.") else ())):
            if key in fresh and key not in value:
                raise _damaged(f"{name}.{key}")
    elif isinstance(fresh, bool):
        if not isinstance(value, bool):
            raise _damaged(name)
    elif isinstance(fresh, (int, float, Tensor)):
        if not (_is_number(value) or (isinstance(fresh, Tensor) and isinstance(value, Tensor))):
            raise _damaged(name)
    elif isinstance(fresh, str):
        if not isinstance(value, str):
            raise _damaged(name)
    elif isinstance(fresh, (list, tuple)):
        if not isinstance(value, (list, tuple)):
            raise _damaged(name)
        for entry in value if fresh else ():
            _compare(entry, fresh[0], name)


def _is_number(value: object) -> bool:
    if isinstance(value, Tensor):
        return (
            value.ndim == 0 and not value.is_complex() and not value.is_meta and not math.isnan(float(value))
        )
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _is_steps(value: object, parameter: Tensor) -> bool:
    """Tell the step at which each row of a parameter was updated."""
    if not isinstance(value, Tensor) or value.is_floating_point() or value.is_complex():
        return False
    return value.shape == parameter.shape[:1] and bool((value >= 0).all())


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _damaged(name: str) -> ValueError:
    return ValueError(
        f"the checkpoint cannot be resumed: its {printable(name)} is damaged, or that of another run or "
        "version: take another checkpoint, or start a new run from its weights with --pretrained"
    )
