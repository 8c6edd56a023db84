"""What callbacks and schedulers monitor: a check before training, and whether it was still improving."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightning_croloss.common.called_later import read_called_later
from lightning_croloss.errors import suggest

#: Where callbacks come from that log nothing under a name that is a metric's.
_LOG_NOTHING_ELSE = (
    "lightning.",
    "lightning_croloss.callbacks",
    "lightning_croloss.cli",
    "lightning_croloss.training",
)
#: What the names begin with that ``CROLossCallback`` alone logs.
BY_THE_CALLBACK = ("croloss/", "train/soft_rank")
_STAGE = re.compile(r"(val|valid|validation|test)[/_.]", re.IGNORECASE)
#: What Lightning lets a ``ModelCheckpoint`` monitor besides.
COUNTS = ("epoch", "step")
#: What is logged besides the metrics, and gets better as it falls.
FALLING = ("train/loss", "train/soft_rank")


def check_monitors(watchers: Iterable[object], names: Sequence[str]) -> None:
    """Refuse to monitor a metric @N that is not measured, or in the wrong direction.

    Lightning would notice the one after the first epoch, and the other never: ``EarlyStopping`` and
    ``ModelCheckpoint`` have the mode "min" unless told otherwise, and would keep the worst epoch. Of a
    scheduler the wrong direction gets a warning.

    A subclass of the model may log what it likes. So a name is refused only if it is one of ours with another
    N, or a slip of the pen for one: letters in another order or case, another separator, or one letter too
    few, too many or wrong in a long word.

    Args:
        watchers: what has a ``monitor``: callbacks, configurations of schedulers as Lightning has them, or
            the ``functools.partial`` of a scheduler.
        names: the metrics that will be logged, such as ``val/recall@20``; all are better the larger they are.

    Raises:
        ValueError: naming the watcher and the nearest metric, or the mode.
    """
    kinds = {_kind(name) for name in names}
    for watcher in watchers:
        cls, monitor, mode = _described(watcher)
        right = "max" if monitor in names else "min" if monitor in FALLING else mode
        if mode is not None and mode != right:
            told = f"{cls.__name__} monitors {monitor!r} with mode={mode!r}"
            if not issubclass(cls, ReduceLROnPlateau):
                raise ValueError(f"{told} and would take the worst for the best: set mode={right!r}")
            # runs of the first release may go on that have it
            rank_zero_warn(f"{told} and lowers the rate while it improves: set mode={right!r}")
        if not isinstance(monitor, str) or monitor in names:
            continue
        kind = _kind(monitor)
        if kind in kinds or any(_slip(kind, known) for known in kinds):
            raise ValueError(
                f"{cls.__name__} monitors {monitor!r}, which is not measured{suggest(monitor, names)} "
                "(ns are the model's)"
            )


def check_logged(watchers: Sequence[object], names: Sequence[str], trainer: Trainer) -> None:
    """Refuse to monitor what a model of this package does not log, and warn where nothing is measured.

    A callback of the user's may log what it likes: then nothing is refused.

    Args:
        watchers: the callbacks and the scheduler, as for :func:`check_monitors`.
        names: the metrics of validation.
        trainer: what will train the model.

    Raises:
        ValueError: naming the watcher, and what to monitor or to add.
    """
    logging = [watcher for watcher in watchers if isinstance(watcher, Callback)]
    ours = all(type(callback).__module__.startswith(_LOG_NOTHING_ELSE) for callback in logging)
    prefixes = tuple(prefix for callback in logging for prefix in getattr(callback, "LOGS", ()))
    for watcher in watchers:
        cls, monitor, _ = _described(watcher)
        if monitor is None and issubclass(cls, ReduceLROnPlateau):
            raise ValueError(
                "lr_scheduler: the ReduceLROnPlateau of torch is not told which metric it follows: take "
                "lightning.pytorch.cli.ReduceLROnPlateau, with monitor='train/loss', or with "
                f"monitor={names[0]!r} and mode='max'"
            )
        if not isinstance(monitor, str):
            continue
        told = f"{cls.__name__} monitors {monitor!r}"
        if monitor in names and not trainer.limit_val_batches:
            rank_zero_warn(
                f"{told}, which limit_val_batches={trainer.limit_val_batches} never measures: no checkpoint "
                "is chosen by it, and nothing is stopped or lowered"
            )
        elif ours and monitor.startswith(BY_THE_CALLBACK) and not monitor.startswith(prefixes or "\0"):
            raise ValueError(f"{told}, which CROLossCallback logs: add it to the callbacks")
        elif ours and monitor not in (*names, *FALLING) and not monitor.startswith(BY_THE_CALLBACK):
            if issubclass(cls, ModelCheckpoint) and monitor in COUNTS:
                continue
            raise ValueError(
                f"{told}, which is not measured{_nearest(monitor, names)} (mode='max'), or 'train/loss' "
                "(mode='min')"
            )


def still_improving(trainer: Trainer) -> list[str]:
    """Return the names of what is monitored and was at its best when training came to its end."""
    if trainer.should_stop or trainer.fast_dev_run:  # type: ignore[attr-defined]
        return []
    watchers = trainer.callbacks  # type: ignore[attr-defined]
    return sorted({watcher.monitor for watcher in watchers if _best_now(watcher, trainer)})


def _best_now(watcher: object, trainer: Trainer) -> bool:
    if isinstance(watcher, EarlyStopping):
        best, latest = watcher.best_score, watcher.wait_count == 0
    elif isinstance(watcher, ModelCheckpoint) and watcher.best_model_score is not None:
        best = watcher.best_model_score
        saved_now = watcher._last_global_step_saved == trainer.global_step
        latest = saved_now and [*watcher.best_k_models][-1:] == [watcher.best_model_path]
    else:
        return False
    now = trainer.callback_metrics.get(str(watcher.monitor))
    return latest and now is not None and float(now) == float(best)


def _described(watcher: object) -> tuple[type, object, object]:
    """Return the class of a watcher, what it monitors, and its mode if it has one."""
    if isinstance(watcher, (type, functools.partial)) and (scheduler := read_called_later(watcher)):
        cls = scheduler.cls or type(watcher)
        mode = scheduler.keywords.get("mode", "min") if issubclass(cls, ReduceLROnPlateau) else None
        return cls, scheduler.keywords.get("monitor"), mode
    monitor = getattr(watcher, "monitor", None)
    acts = watcher.scheduler if isinstance(watcher, LRSchedulerConfig) else watcher
    mode = getattr(acts, "mode", None) if isinstance(monitor, str) else None
    return type(acts), monitor, mode if mode in ("min", "max") else None


def _nearest(monitor: str, names: Sequence[str]) -> str:
    """Return the metric that is meant, of ``recall@5`` that of validation."""
    if not _STAGE.match(monitor) and f"val/{monitor}" in names:
        return f"; did you mean {f'val/{monitor}'!r}?"
    return suggest(monitor, names)


def _kind(name: str) -> str:
    return name.split("@")[0]


def _slip(given: str, known: str) -> bool:
    """Tell whether ``given``, such as ``val/recal``, is meant to be ``known``, such as ``val/recall``."""
    letters = (sorted(filter(str.isalnum, name.lower())) for name in (given, known))
    if next(letters) == next(letters):
        return True
    (stage, _, word), (known_stage, _, known_word) = given.partition("/"), known.partition("/")
    # a short word is near too many others (dcg is a metric too), and recall_of_new holds recall on purpose
    return (
        stage == known_stage
        and len(known_word) >= 6
        and known_word not in word
        and _one_letter_apart(word, known_word)
    )


def _one_letter_apart(one: str, other: str) -> bool:
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) == len(longer):
        return sum(left != right for left, right in zip(one, other, strict=True)) == 1
    return any(shorter == longer[:index] + longer[index + 1 :] for index in range(len(longer)))
