"""What ``croloss tune --n N`` chooses on a data set: its search, over trials that have been run already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from benchmarks.common.rows import Row, Settings, identity
from benchmarks.losses.datasets import PARTS
from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.outcome import Outcome, Validation
from lightning_croloss.tuning.plan import FitLength, Plan, make_plan
from lightning_croloss.tuning.portfolio import portfolio
from lightning_croloss.tuning.search import Job, search

#: Steps of a part; a validation costs as much as 5 of them, which is more than on any data set here.
STEPS, VALIDATION = 100, 5
LENGTH = FitLength(PARTS * STEPS, tuple(STEPS * part for part in range(1, PARTS + 1)), VALIDATION)
#: Class of a loss -> the side that has it.
SIDES = {"CROLoss": "CROLoss", "SoftmaxLoss": "softmax", "SLAtKLoss": "SL@K"}


class MissingTrialError(LookupError):
    """A setting of the portfolio has not been run to its end."""


def trial_of(candidate: Candidate) -> tuple[str, Settings]:
    """Return side and setting of a candidate of the portfolio."""
    assert candidate.loss is not None
    return SIDES[candidate.loss["class_path"]], dict(candidate.loss["init_args"])


def tuned(
    rows: Iterable[Row],
    n: int,
    candidates: Sequence[Candidate] | None = None,
    architecture: str = "YouTubeDNN",
) -> tuple[str, Settings, Plan]:
    """Return side and setting that ``tune`` chooses for an N, and its plan with what it costs.

    Args:
        rows: the rows of one data set.
        n: the N.
        candidates: what it chooses among; None = the portfolio for the N.
        architecture: whose trials.

    Raises:
        MissingTrialError: a candidate has not been run.
    """
    whole = {
        identity({"side": row["settings"]["side"], "setting": row["settings"]["setting"]}): row
        for row in rows
        if row["settings"]["purpose"] == "tuning"
        and row["settings"]["architecture"] == architecture
        and "parts" not in row["settings"]
    }
    candidates = candidates or portfolio((n,))
    valid = []
    for candidate in candidates:
        side, setting = trial_of(candidate)
        row = whole.get(identity({"side": side, "setting": setting}))
        if row is None:
            raise MissingTrialError(f"{side}, {candidate.name}")
        valid.append(row["valid"][str(n)])

    def read(jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        for job in jobs:
            seen = valid[job.number][: job.step // STEPS]
            validations = (
                Validation(STEPS * part, {f"val/recall@{n}": value}) for part, value in enumerate(seen, 1)
            )
            yield job, Outcome(job.step, tuple(validations), finished=job.last)

    plan = make_plan(len(candidates), LENGTH)
    choice = search(candidates, plan, [Objective("recall", {n: 1.0})], read)
    side, setting = trial_of(choice.candidates[choice.winners[0]])
    return side, setting, plan
