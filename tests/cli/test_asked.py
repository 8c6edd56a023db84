"""Several processes that ask each other now and then whether one was told to end."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lightning_croloss.cli import asked
from lightning_croloss.cli.asked import Asked


class Processes:
    """As many processes as there are threads, whose ``reduce`` adds up."""

    def __init__(self, number: int) -> None:
        self.number, self.calls = number, 0
        self._parts: list[torch.Tensor] = []
        self._all_there = threading.Barrier(number, self._add_up, timeout=20)

    def _add_up(self) -> None:
        self.calls += 1
        self._sum, self._parts = torch.stack(self._parts).sum(0), []

    def trainer(self) -> Any:
        def reduce(part: torch.Tensor, reduce_op: str) -> torch.Tensor:
            assert reduce_op == "sum"
            self._parts.append(part)
            self._all_there.wait()
            return self._sum

        strategy = SimpleNamespace(reduce=reduce, root_device=torch.device("cpu"))
        return SimpleNamespace(strategy=strategy, world_size=self.number)


@pytest.mark.parametrize("seconds", [(0.001, 0.003), (0.02, 0.01), (0.3, 0.6)])
def test_all_end_after_the_same_batch_and_soon(
    seconds: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    processes, ended = Processes(len(seconds)), {}
    clocks = threading.local()
    monkeypatch.setattr(asked.time, "monotonic", lambda: getattr(clocks, "now", 0.0))

    def run(rank: int, told_at: int) -> None:
        clocks.now = 100.0 * rank
        ask, trainer = Asked(), processes.trainer()
        for batch in range(20_000):
            clocks.now += seconds[rank]
            if ask.any(trainer, here=rank == 1 and batch >= told_at):
                ended[rank] = batch
                return

    threads = [threading.Thread(target=run, args=(rank, 3000)) for rank in range(len(seconds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert ended[0] == ended[1] >= 3000
    mean = sum(seconds) / len(seconds)
    most = max(1, asked.PERIOD / mean)
    assert ended[0] - 3000 <= most
    assert processes.calls <= 3 + ended[0] / max(1.0, most - 1)
