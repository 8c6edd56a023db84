"""Who competes, and how hard each is tuned: seven settings of the loss, by ``tune``, on validation."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_croloss.tuning import Candidate, portfolio

#: The N that the tables are judged at.
N = 10
ARCHITECTURES = ("SASRec", "ESASRec")

#: Name of a side -> what ``tune`` chooses from: its own portfolio, or as many temperatures.
SIDES: dict[str, Sequence[Candidate]] = {
    "CROLoss": portfolio((N,)),
    "softmax": tuple(
        Candidate(
            f"softmax, temperature {temperature}",
            {"class_path": "SoftmaxLoss", "init_args": {"temperature": temperature}},
        )
        for temperature in (0.1, 0.14, 0.07, 0.2, 0.12, 0.05, 0.28)
    ),
}
