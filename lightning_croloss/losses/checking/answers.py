"""Answers: values that are asked for now and read once they have arrived, so that nothing waits for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

#: Devices whose streams can tell whether they have come to an event; values of others are not asked for.
_WITH_EVENTS = ("cuda", "xpu")


class Arrival(NamedTuple):
    """A copy on the host that may still be on its way.

    Attributes:
        values: (K,) on the host.
        ready: tells whether they have arrived.
    """

    values: Tensor
    ready: Callable[[], bool]


def send_to_host(values: Tensor) -> Arrival | None:
    """Begin to copy values (K,) to the host; None where that could not be done without waiting."""
    device = values.device
    if device.type == "cpu":
        return Arrival(values, lambda: True)
    if device.type not in _WITH_EVENTS:
        return None
    module = torch.get_device_module(device)
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return None  # a graph that is being captured would copy again at every replay
    host = torch.empty(values.shape, dtype=values.dtype, device="cpu", pin_memory=True)
    host.copy_(values, non_blocking=True)
    event = module.Event()
    event.record(module.current_stream(device))
    return Arrival(host, event.query)


class Answers:
    """Questions whose values may still be on their way.

    Args:
        send: begins to copy values to the host.
    """

    def __init__(self, send: Callable[[Tensor], Arrival | None] = send_to_host) -> None:
        self._send = send
        self._waiting: list[tuple[Arrival, Callable[[list[float]], None]]] = []

    def ask(self, values: Tensor, answer: Callable[[list[float]], None]) -> None:
        """Call ``answer`` with the values (K,): now if they are on the host, else once they have arrived."""
        arrival = self._send(values.detach())
        if arrival is not None:
            self._waiting.append((arrival, answer))
            self.read()

    def read(self) -> None:
        """Answer the questions whose values have arrived, in their order."""
        while self._waiting and self._waiting[0][0].ready():
            arrival, answer = self._waiting.pop(0)
            answer(arrival.values.tolist())

    def __deepcopy__(self, memo: dict[int, object]) -> Answers:
        """Return one without questions: what is on its way belongs to the original."""
        return Answers(self._send)

    def __reduce__(self) -> tuple[type[Answers], tuple[()]]:
        """Pickle as a new one, likewise."""
        return Answers, ()
