"""The rungs of a search as rows and as a table, and what they have cost."""

from __future__ import annotations

from typing import Any

from lightning_croloss.common.text_table import aligned
from lightning_croloss.tuning.plan import FitLength, Plan
from lightning_croloss.tuning.search import Choice


def rung_rows(choice: Choice, plan: Plan) -> list[dict[str, Any]]:
    """Return a row for each candidate at each rung, for a file.

    Returns:
        Under "rung", "step", "candidate", "went_on", "error" and "seconds" what they say, and under the name
        of each objective its best value so far, None if there is none.
    """
    rows = []
    for number, (rung, outcomes) in enumerate(zip(plan.rungs, choice.outcomes, strict=True)):
        for index, outcome in outcomes.items():
            last = number == len(plan.rungs) - 1
            values = {str(each): outcome.value(each) for each in choice.objectives}
            rows.append(
                {
                    "rung": number + 1,
                    "step": rung.step,
                    "candidate": choice.candidates[index].name,
                    "went_on": index in (choice.winners if last else choice.kept[number]),
                    "error": outcome.error,
                    "seconds": round(outcome.seconds, 3),
                    **{name: value if abs(value) < float("inf") else None for name, value in values.items()},
                }
            )
    return rows


def rung_table(choice: Choice, plan: Plan) -> str:
    """Return a table for a terminal: for each candidate the best value so far at each rung.

    With several objectives one table for each; ``*`` marks the winner, and those that failed say why below.
    """
    tables = []
    for objective, winner in zip(choice.objectives, choice.winners, strict=True):
        head = [str(objective), *(f"step {rung.step}" for rung in plan.rungs)]
        rows = [head]
        for index, candidate in enumerate(choice.candidates):
            cells = []
            for outcomes in choice.outcomes:
                if index not in outcomes:
                    cells.append("")
                elif outcomes[index].error is not None:
                    cells.append("failed")
                else:
                    cells.append(f"{outcomes[index].value(objective):.4f}")
            rows.append([f"{'*' if index == winner else ' '} {candidate.name}", *cells])
        tables.append(aligned(rows, "<" + ">" * len(plan.rungs)))
    failed = []
    for index, candidate in enumerate(choice.candidates):
        error = choice.latest(index).error
        if error is not None:
            failed.append(f"{candidate.name} failed: {error}")
    return "\n\n".join([*tables, *(["\n".join(failed)] if failed else [])])


def steps_spent(choice: Choice, length: FitLength) -> float:
    """Return what all candidates together have cost, in fits: training steps and validation batches."""
    latest = [choice.latest(number) for number in range(len(choice.candidates))]
    validations = sum(len(outcome.validations) for outcome in latest)
    steps = sum(outcome.step for outcome in latest)
    return (steps + length.validation_batches * validations) / length.cost


def seconds_spent(choice: Choice) -> float:
    """Return how many seconds all candidates together took to train and validate."""
    return sum(choice.latest(number).seconds for number in range(len(choice.candidates)))
