"""Settings beyond the portfolio, drawn by Optuna's TPE sampler from what came of those before.

Each draw depends on the settings so far, their values and the seed alone: a search that was killed and goes
on draws the same ones again.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.distributions import ALPHA, KERNELS, TEMPERATURE, distribution_of
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.outcome import Outcome
from lightning_croloss.tuning.search import Propose
from lightning_croloss.tuning.space import Choices, Dimension, Range, described, unique
from lightning_croloss.tuning.study import require_optuna

#: Draws of one setting that was tried already, before it is given up.
DRAWS = 40
_LOSS = "loss."


def proposing(
    space: Mapping[str, Dimension],
    objectives: Sequence[Objective],
    losses: Sequence[Candidate] | None,
    seed: int,
) -> Propose:
    """Return what draws one candidate after the other.

    Args:
        space: fields of the config; may be empty.
        objectives: what is looked for; with several, the mean of the values.
        losses: the losses of which one is drawn; None draws kernel, alpha and temperature of a CROLoss.
        seed: of the draws.

    Raises:
        MissingExtraError: Optuna is not installed.
    """
    optuna = require_optuna("the TPE sampler")

    def propose(tried: Sequence[tuple[Candidate, Outcome]]) -> Candidate | None:
        names = {candidate.name for candidate, _ in tried}
        for draw in range(DRAWS):
            own = seed + 1000 * len(tried) + draw
            if draw < DRAWS // 2:
                sampler = optuna.samplers.TPESampler(seed=own, n_startup_trials=max(5, len(losses or ())))
            else:  # it proposes nothing but what is known: a small space
                sampler = optuna.samplers.RandomSampler(seed=own)
            study = optuna.create_study(direction="maximize", sampler=sampler)
            distributions = _distributions(space, losses)
            for candidate, outcome in tried:
                values = [outcome.value(objective) for objective in objectives]
                params = _params(candidate, space, losses, distributions)
                if params is not None and all(map(math.isfinite, values)):
                    known = {name: distributions[name] for name in params}
                    trial = optuna.trial.create_trial(
                        params=params, distributions=known, value=statistics.fmean(values)
                    )
                    study.add_trial(trial)
            found = _candidate(study.ask(distributions).params, space, losses)
            if found.name not in names:
                return Candidate(unique(found.name, names), found.loss, found.fields)
        return None

    return propose


def _distributions(space: Mapping[str, Dimension], losses: Sequence[Candidate] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if losses is not None:
        found["loss"] = distribution_of(Choices(tuple(candidate.name for candidate in losses)))
    else:
        found["loss.kernel"] = distribution_of(Choices(KERNELS))
        found["loss.alpha"] = distribution_of(ALPHA)
        found["loss.temperature"] = distribution_of(TEMPERATURE)
    for name, each in space.items():
        # by their places, since Optuna knows no values such as classes
        drawn = Choices(tuple(range(len(each.values)))) if isinstance(each, Choices) else each
        found[name] = distribution_of(drawn)
    return found


def _params(
    candidate: Candidate,
    space: Mapping[str, Dimension],
    losses: Sequence[Candidate] | None,
    distributions: Mapping[str, Any],
) -> dict[str, Any] | None:
    """Return a candidate as parameters, as far as it sets them; None if it is of another kind."""
    params: dict[str, Any] = {}
    loss = dict(candidate.loss or {})
    arguments = dict(loss.get("init_args") or {})
    if losses is not None:
        name = next((each.name for each in losses if each.loss == candidate.loss), None)
        if name is None:
            return None
        params["loss"] = name
    else:
        kind = str(loss.get("class_path", "")).rpartition(".")[2]
        if kind == "SoftmaxLoss":  # the same at alpha 1
            arguments = {"kernel": "exp", "alpha": 1.0} | arguments
        elif kind != "CROLoss" or not set(arguments) <= {"kernel", "alpha", "temperature"}:
            return None
        params |= {f"{_LOSS}{name}": value for name, value in arguments.items()}
    for name, value in candidate.fields.items():
        each = space[name]
        params[name] = list(each.values).index(value) if isinstance(each, Choices) else value
    held = {name: value for name, value in params.items() if name in distributions}
    inside = all(
        distributions[name]._contains(distributions[name].to_internal_repr(held[name])) for name in held
    )
    return held if inside else None


def _candidate(
    params: Mapping[str, Any], space: Mapping[str, Dimension], losses: Sequence[Candidate] | None
) -> Candidate:
    fields = {}
    for name, each in space.items():
        value = params[name]
        fields[name] = each.values[value] if isinstance(each, Choices) else _rounded(value, each)
    if losses is not None:
        loss = next(each.loss for each in losses if each.name == params["loss"])
        begin = str(params["loss"])
    else:
        alpha, temperature = float(f"{params['loss.alpha']:.3g}"), float(f"{params['loss.temperature']:.3g}")
        kernel = params["loss.kernel"]
        arguments = {"kernel": kernel, "alpha": alpha, "temperature": temperature}
        loss = {"class_path": "CROLoss", "init_args": arguments}
        begin = f"{kernel}, alpha {alpha:g}, temperature {temperature:g}"
    return Candidate(", ".join(filter(None, [begin, described(fields)])), loss, fields)


def _rounded(value: Any, of: Range) -> Any:
    if isinstance(value, int) or of.step is not None:
        return value
    return min(max(float(f"{value:.3g}"), of.low), of.high)


__all__ = ["proposing"]
