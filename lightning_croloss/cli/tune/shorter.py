"""Shorter fits, where there is no time to compare whole ones."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from lightning_croloss.cli.tune.budget import Budget
from lightning_croloss.tuning.plan import FitLength, Plan, make_plan

#: Share of the time that may go by with loading data and validating.
BESIDES = 0.5
#: Halvings by which the longest of the shorter fits is found.
HALVINGS = 20


def shorter_fits(
    budget: Budget, number: int, objectives: int, fits: float, config: Mapping[str, Any]
) -> tuple[dict[str, Any], FitLength, Plan]:
    """Return the longest fits of which there is time for a whole search.

    As many settings are tried as if whole fits were compared. Where most of the time would go by with loading
    data and validating, the further seeds are left out, and then there are fewer settings.

    Args:
        budget: the time that there is.
        number: how many settings are wanted.
        objectives: how many objectives share the runs.
        fits: what the search may cost, in fits of the shorter length.
        config: of a fit.

    Returns:
        Fields of the trainer that make a fit shorter, its length, and the plan.
    """
    for many in range(number, 0, -1):
        plan = make_plan(many, budget.length, fits, objectives)
        for seeds in sorted({budget.seeds, 0}, reverse=True):
            tried = _varied(budget, budget.length, seeds)
            if tried.besides(plan) <= BESIDES * tried.until_tests:
                found = _longest(tried, many, objectives, fits, config)
                if found is not None:
                    return found
    alone = _longest(_varied(budget, budget.length, 0), 1, 1, 1.0, config)
    if alone is not None:
        return alone
    fields, length = shortened(config, budget.length, 0.0)
    return fields, length, make_plan(1, length, 1.0, 1)


def _longest(
    budget: Budget, number: int, objectives: int, fits: float, config: Mapping[str, Any]
) -> tuple[dict[str, Any], FitLength, Plan] | None:
    """Return the longest of shorter fits of which there is time for a search, None if there is for none."""
    found = None
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        share = (low + high) / 2
        fields, length = shortened(config, budget.length, share)
        plan = make_plan(number, length, fits, objectives)
        tried = _varied(budget, length, budget.seeds)
        if tried.seconds(plan) <= tried.left:
            found, low = (fields, length, plan), share
        else:
            high = share
    return found


def _varied(budget: Budget, length: FitLength, seeds: int) -> Budget:
    """Return the same time for fits of another length, and so many further seeds."""
    other = copy.copy(budget)
    other.length, other.seeds = length, seeds
    return other


def shortened(config: Mapping[str, Any], length: FitLength, share: float) -> tuple[dict[str, Any], FitLength]:
    """Return fields of the trainer by which a fit is shorter, and its length.

    One that would end before its first validation has it at its end, so that its config keeps a checkpoint.

    Args:
        config: of a fit.
        length: its length.
        share: how much of it there is time for, below 1.
    """
    wanted = max(1, int(length.steps * share))
    epochs = wanted // length.epoch
    fields: dict[str, Any]
    if epochs:  # whole ones
        steps, fields = epochs * length.epoch, {"max_epochs": epochs}
    else:  # not by max_steps, which counts the batches of gradients that are accumulated as one
        steps, fields = wanted, {"max_epochs": 1, "limit_train_batches": wanted}
    validations = tuple(step for step in length.validations if step <= steps)
    if length.validations and not validations:
        validations = (steps,)
        fields |= {"val_check_interval": 1.0, "check_val_every_n_epoch": fields["max_epochs"]}
    elif validations and not epochs and isinstance(config["trainer"].get("val_check_interval"), float):
        fields["val_check_interval"] = validations[0]  # a part of the epoch, which has fewer batches now
    at = length.resumable
    if at is not None:
        at = tuple(step for step in at if step <= steps) if epochs else (steps,)
    return fields, FitLength(steps, validations, length.validation_batches, at, min(length.epoch, steps))


__all__ = ["shortened", "shorter_fits"]
