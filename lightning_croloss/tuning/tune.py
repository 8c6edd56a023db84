"""tune: find the loss for the N that will be deployed, and the model trained with it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from croloss_serving.common.home_folder import expanded
from lightning_croloss.common.locks import claimed
from lightning_croloss.configurable import Configurable, to_config
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.tuning.arguments import check_factory, check_types, read_candidates
from lightning_croloss.tuning.best_checkpoint import best_path
from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.length import measure_length
from lightning_croloss.tuning.objective import Objective, objectives_of
from lightning_croloss.tuning.outcome import Outcome
from lightning_croloss.tuning.plan import FitLength, Plan, make_plan
from lightning_croloss.tuning.portfolio import portfolio
from lightning_croloss.tuning.records import Records, has_trained
from lightning_croloss.tuning.result import TuneResult, Winner
from lightning_croloss.tuning.runner import (
    FAILURES,
    ModelFactory,
    Runner,
    quiet,
    seeded,
)
from lightning_croloss.tuning.search import Choice, Execute, Job, Propose, SearchFailedError, search
from lightning_croloss.tuning.segment import Data
from lightning_croloss.tuning.trainers import TrainerArguments, described


def tune(
    model_factory: ModelFactory,
    data: Data | Callable[[], Data],
    n: int | Sequence[int] | Mapping[int, float] = 100,
    *,
    trainer: TrainerArguments | None = None,
    candidates: Sequence[Candidate | RetrievalLoss] | None = None,
    metric: str = "recall",
    fits: float = 2.5,
    folder: str | Path = "runs/tune",
    seed: int = 42,
    propose: Propose | None = None,
    num_proposed: int = 0,
    overwrite: bool = False,
) -> TuneResult:
    """Find the settings of the loss that give the best validation metric at N, and the model trained so.

    Successive halving: every candidate trains an eighth of a fit, the better half of them a quarter, and so
    on; the winner is trained to the end, exactly as ``Trainer.fit`` would have. All of it costs at most
    ``fits`` fits, counted in training steps and validation batches. What is done is kept in ``folder``: the
    same call again goes on where it was killed, and returns at once when it was done.

    Args:
        model_factory: builds a new module around a loss: any module that holds one ``RetrievalLoss`` and logs
            the metric in validation. It is called anew for each segment, always after the same seeding.
        data: a data module, loaders of training and validation, or a function that makes one of them, which
            is called for each segment; None if the module has loaders of its own.
        n: the N that will be deployed; several, which share the runs, each with a winner of its own and one
            more fit at most; or the weight of each N in one mean.
        trainer: the arguments of ``Trainer``, with ``max_epochs`` or ``max_steps``, which are copied for each
            segment; or a function that makes them, or a trainer, and may take the folder of the candidate,
            where a logger may write. None trains ten epochs.
        candidates: what to choose from, the most promising ones first: losses, or ``Candidate`` objects,
            whose ``fields`` are passed to ``model_factory`` by name. None is a portfolio for N, another one
            for models whose users have vectors of their own.
        metric: "recall", "ndcg" …, logged as ``val/recall@100``; or the whole name of a metric of the
            module's own, such as "val/hits", or with the N in it, "val/hits_{n}".
        fits: the budget.
        folder: where records and checkpoints are kept.
        seed: the seed of every fit.
        propose: asked for further candidates, one after the other, once the others are at the first rung; is
            given all so far with what came of them, and must depend on that alone.
        num_proposed: how many it is asked for at most; they share the budget.
        overwrite: whether to begin anew if ``folder`` holds a search.

    Returns:
        The winners, with their checkpoints and models, and the table of the rungs.

    Raises:
        ValueError: an argument is out of range, the folder holds another search, or the metric is not logged.
        FileExistsError: another process is tuning in the same folder, or it is a file.
        TypeError: ``model_factory`` does not build a new module around the loss, or an argument is of another
            type.
        SearchFailedError: every candidate failed.
    """
    check_types(tune, locals())
    objectives = objectives_of(n, metric)
    given = _candidates(candidates, objectives)
    check_factory(model_factory, given)
    runner = Runner(model_factory, data, trainer, objectives, seed)
    where = expanded(folder)
    with claimed(where):
        length, settings, module = _look(runner, given, where)
        if candidates is None and getattr(module, "needs_known_users", False):
            given = _portfolio(objectives, known_users=True)
        plan = make_plan(len(given) + num_proposed, length, fits, len(objectives))
        if plan.num_candidates < len(given) + num_proposed:
            rank_zero_warn(_told_of_few(plan, len(given) + num_proposed, length, fits))
        settings |= {
            "candidates": [each.to_plain() for each in given],
            "objectives": [each.to_plain() for each in objectives],
            "plan": plan.to_plain(),
            "seed": seed,
        }
        # a search that has trained nothing, as after a mistake in an argument, may be another one now
        records = Records(where, settings, overwrite or not has_trained(where))
        execute = records.remembering(_telling(functools.partial(runner.execute, records), objectives, plan))
        try:
            choice = search(given, plan, objectives, execute, propose, records.leave)
        except SearchFailedError as error:  # which is noted, and would be told again
            raise SearchFailedError(f"{error}; overwrite=True tries again") from None
    winners = tuple(
        _winner(runner, records, choice, number, objective)
        for number, objective in zip(choice.winners, objectives, strict=True)
    )
    return TuneResult(winners, choice, plan, length, where)


def _telling(execute: Execute, objectives: Sequence[Objective], plan: Plan) -> Execute:
    """Return an executor that says what comes of each job."""

    def run(jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        for job, outcome in execute(jobs):
            values = ", ".join(f"{each} {outcome.value(each):.4f}" for each in objectives)
            told = values if outcome.error is None else f"failed: {outcome.error}"
            rank_zero_info(f"tune: rung {job.rung + 1} of {len(plan.rungs)}: {job.candidate.name}: {told}")
            yield job, outcome

    return run


def _told_of_few(plan: Plan, asked: int, length: FitLength, fits: float) -> str:
    where = ""
    if length.resumable is not None:
        where = (
            ", as rungs must be at ends of epochs: the training loader has no state_dict and "
            "load_state_dict, by which a fit can be taken up within an epoch"
        )
    return f"fits={fits:g} holds {plan.num_candidates} of {asked} candidates, the first ones{where}"


def _candidates(
    given: Sequence[Candidate | RetrievalLoss] | None, objectives: Sequence[Objective]
) -> list[Candidate]:
    if given is None:
        return _portfolio(objectives)
    return read_candidates(given)


def _portfolio(objectives: Sequence[Objective], known_users: bool = False) -> list[Candidate]:
    return list(portfolio([n for each in objectives for n in each.weights], known_users=known_users))


def _look(
    runner: Runner, candidates: Sequence[Candidate], folder: Path
) -> tuple[FitLength, dict[str, Any], LightningModule]:
    """Return the length of a fit, what distinguishes it from others, and its module, by beginning one."""
    module = None
    with seeded(runner.seed), quiet():
        for candidate in candidates:  # the first that can be built
            try:
                module = runner.module(candidate)
            except FAILURES:
                continue
            break
        if module is None:
            module = runner.module(candidates[0])
        settings = {"model": _described(module)}
        data = runner.data()
        trainer = runner.trainer(folder)
        settings["trainer"] = described(trainer)
        settings["data"] = (
            to_config(data) if isinstance(data, Configurable) else {"class": type(data).__name__}
        )
        length = measure_length(trainer, module, data, runner.objectives)
    return length, settings, module


def _described(module: LightningModule) -> dict[str, Any]:
    """Return what can be told of a module without its loss: its class, its weights, its hyperparameters."""
    told = {}
    for name, value in module.hparams.items():
        try:
            told[name] = to_config(value)
        except TypeError:  # what has no form in a file
            continue
    shapes = {name: list(value.shape) for name, value in module.named_parameters()}
    told.pop("loss", None)
    return {"class": type(module).__name__, "hyperparameters": told, "parameters": shapes}


def _winner(runner: Runner, records: Records, choice: Choice, number: int, objective: Objective) -> Winner:
    path = best_path(records.candidate_folder(number), objective)
    outcome = choice.latest(number)
    if not path.exists():  # a fit that never validates: its last weights
        path = next(iter(records.candidate_folder(number).glob("step_*.ckpt")))
    return Winner(
        objective, choice.candidates[number], outcome.value(objective), path, runner.module, runner.loss
    )
