"""How a table is trained on where nobody says: split, histories, batches, negatives, and why.

Pure functions of the data's statistics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_croloss.errors import DataError
from lightning_croloss.tuning.chosen_filters import FEWEST_USERS, Filters
from lightning_croloss.tuning.table_statistics import Statistics

#: Users in validation, and in the test, below which a share of the users is too few to compare models by.
ENOUGH_USERS = 500
#: Users that are enough to measure by in any case.
MOST_USERS = 10_000
#: What a division in time must leave: users in each part, and the most targets that training never saw.
LATER_USERS, LATER_UNSEEN = 1_000, 0.2
HISTORIES = (10, 20, 30, 50)
#: Share of repeats below which nobody wants an item twice.
NO_REPEATS = 0.01
#: Negatives that are sampled at least; a catalogue of which a third would be sampled is taken whole.
SAMPLED = 2560
#: Catalogues that are taken whole in any case; multiply-adds a second; passes that the time must hold.
SMALL, SPEED, PASSES = 5_000, 2e10, 60
#: Width of the embeddings, and of those of catalogues that would not fit otherwise.
WIDTH, NARROW, HUGE = 64, 32, 3_000_000


@dataclass(frozen=True)
class Decisions:
    """How a table is trained on.

    Args:
        data: arguments of ``TableDataModule``, as a config has them.
        sequence_batch: rows of a batch for models that train on all positions of a history at once.
        model: arguments of every model, as a config has them.
        targets: events to predict in one pass over the training data, about.
        reasons: why, by the dotted name of the field in the config.
    """

    data: Mapping[str, Any]
    sequence_batch: int
    model: Mapping[str, Any]
    targets: int
    reasons: Mapping[str, str] = field(default_factory=dict)


def decide(
    found: Statistics,
    filters: Filters,
    ns: Sequence[int],
    minutes: float,
    given: Mapping[str, Any] | None = None,
    gpu: bool = False,
) -> Decisions:
    """Decide how to train on a table for the N that will be deployed.

    Args:
        found: what the filters leave of the table.
        filters: which users and events are trained on.
        ns: the N that will be deployed.
        minutes: the time for all of it.
        given: arguments of ``TableDataModule`` that the user has set, which stay.
        gpu: whether a GPU trains.

    Raises:
        DataError: there are too few users or items for what is wanted.
    """
    given = dict(given or {})
    if max(ns) >= found.items:
        raise DataError(_too_few_items(found, filters, max(ns), given))
    reasons: dict[str, str] = dict(filters.reasons)
    data: dict[str, Any] = dict(filters.data)

    def choose(name: str, value: Any, reason: str) -> None:
        data[name] = given.get(name, value)
        reasons[f"data.init_args.{name}"] = "as you asked" if name in given else reason

    users = _users(found, data["min_user_interactions"])
    if "split" in given:
        evaluated = found.at_least[4]
        choose("split", given["split"], "")
    else:
        split, reason, evaluated = _split(found, users)
        choose("split", split, reason)
    length = next((each for each in HISTORIES if each >= found.lengths["p90"]), HISTORIES[-1])
    choose(
        "max_history",
        length,
        f"nine of ten users have {found.lengths['p90']:,.0f} events or fewer"
        if length >= found.lengths["p90"]
        else f"half of the users have {found.lengths['median']:,.0f} events or fewer; longer ones cost more "
        "than they tell",
    )
    targets = max(1, found.events - found.users - 2 * evaluated)
    batch = _batch(targets, gpu)
    choose("batch_size", batch, f"for about {targets:,} events to predict")
    rows = data["batch_size"] / max(1.0, min(found.lengths["mean"] - 1, data["max_history"]))
    sequence_batch = min(512, max(32, 2 ** round(math.log2(2 * rows))))
    if evaluated > MOST_USERS * 1.2 or "max_eval_users" in given:
        choose(
            "max_eval_users",
            MOST_USERS,
            f"of {evaluated:,} users {MOST_USERS:,}, spread over all, are enough to measure by",
        )
    model, more = _model(found, ns, minutes, targets, gpu)
    return Decisions(data, sequence_batch, model, targets, reasons | more)


def _too_few_items(found: Statistics, filters: Filters, n: int, given: Mapping[str, Any]) -> str:
    fewest = filters.data["min_user_interactions"]
    if found.items == filters.before.items or "min_user_interactions" in given:
        return (
            f"--n {n}: the table has only {found.items:,} items, so that every Recall@{n} would be 1: give a "
            "smaller N"
        )
    milder = ", or --min_user_interactions 2" if n < filters.before.items and fewest > 2 else ""
    return (
        f"--n {n}: only {found.items:,} of the table's {filters.before.items:,} items are left without the "
        f"users of fewer than {fewest} events, so that every Recall@{n} would be 1: give a smaller N{milder}"
    )


def _users(found: Statistics, fewest: int) -> int:
    """Return how many users the filter leaves, about."""
    return found.at_least[min(max(fewest, 2), 5)]


def _split(found: Statistics, users: int) -> tuple[dict[str, Any], str, int]:
    """Return the split, why, and how many users its test has, about."""
    later = found.later
    if later is not None and min(later.valid, later.test) >= LATER_USERS and later.unseen <= LATER_UNSEEN:
        arguments = {"valid": 0.1, "test": 0.1}
        reason = (
            f"the times are real, and {later.test:,} users go on in the last tenth of the events: what a "
            "model meets that is trained once and then deployed"
        )
        return {"class_path": "GlobalTime", "init_args": arguments}, reason, later.test
    why_not = _why_not_later(found)
    left_out = found.at_least[4]
    if users / 10 >= ENOUGH_USERS or (users / 10 > left_out and users / 10 >= FEWEST_USERS):
        share = round(min(0.1, max(0.001, MOST_USERS / users)), 3)
        arguments = {"train": round(1 - 2 * share, 3), "valid": share, "test": share, "history": 0.8}
        reason = (
            f"{why_not}; of {users:,} users {share:.1%} are enough to validate by, and as many to test by"
        )
        return {"class_path": "UserDisjoint", "init_args": arguments}, reason, round(share * users)
    if left_out < FEWEST_USERS:
        raise DataError(
            f"too few users to measure by: {left_out:,} of {found.users:,} have 4 events or more, and "
            f"{FEWEST_USERS} are needed: is the column of the users the right one?"
        )
    reason = (
        f"{why_not}; with {users:,} users a tenth of them would be too few to measure by, so each user's "
        "last event is for the test and the one before for validation"
    )
    return {"class_path": "LeaveOneOut"}, reason, left_out


def _why_not_later(found: Statistics) -> str:
    if found.times == "none":
        return "there is no column of times, so the future cannot be held out"
    if found.times == "order":
        return "the times only number the events, or are all the same, so the future cannot be held out"
    later = found.later
    if later is None or min(later.valid, later.test) < LATER_USERS:
        number = 0 if later is None else min(later.valid, later.test)
        return f"too few users ({number:,}) go on in the last tenths of the time to hold these out"
    return (
        f"{later.unseen:.0%} of what happens in the last tenth of the events is with items that are new then"
    )


def _batch(targets: int, gpu: bool) -> int:
    batch = 256 if targets < 400_000 else 512 if targets < 4_000_000 else 1024
    return batch * 4 if gpu and targets > 100_000 else batch


def _model(
    found: Statistics, ns: Sequence[int], minutes: float, targets: int, gpu: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what all models have in common, and why."""
    reasons: dict[str, str] = {}
    width = NARROW if found.items > HUGE else WIDTH
    model: dict[str, Any] = {"embedding_dim": width}
    usual = {each for each in (20, 50, 100, 200, 500) if each < found.items}
    model["ns"] = sorted(usual | set(ns))
    if found.repeats < NO_REPEATS:
        model["exclude_history"] = True
        reasons["model.init_args.exclude_history"] = (
            f"{found.repeats:.1%} of the events are with an item that the user had before: nobody wants one "
            "twice"
        )
    sampled = max(SAMPLED, math.ceil(found.items / min(ns) / 256) * 256)
    # forward and backward, three products of the batch with the catalogue
    seconds = 3 * targets * found.items * width / (SPEED * (100 if gpu else 1))
    affordable = minutes * 60 >= PASSES * seconds
    if found.items <= SMALL or 3 * sampled >= found.items or affordable:
        model["negatives"] = {"class_path": "FullCatalogNegatives"}
        reasons["model.init_args.negatives"] = (
            f"{found.items:,} items are few enough to compare with all of them"
        )
    else:
        model["negatives"] = {"class_path": "UniformNegatives", "init_args": {"num_negatives": sampled}}
        reasons["model.init_args.negatives"] = (
            f"{found.items:,} items are too many to compare with all of them in this time; one of these "
            f"stands for {found.items / sampled:.1f} items, no more than N = {min(ns)}"
        )
    return model, reasons


__all__ = ["Decisions", "decide"]
