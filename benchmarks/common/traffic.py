"""The bytes that a process sends to others through the collectives of ``torch.distributed``."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from torch import Tensor, distributed

COLLECTIVES = ("all_to_all_single", "all_gather", "all_reduce")


@contextlib.contextmanager
def counted_traffic() -> Iterator[Counter[str]]:
    """Count, for each kind of collective, the bytes that this process sends to others; and the calls.

    What goes to the process itself does not count. An ``all_gather`` sends what there is to each of the
    others, an ``all_reduce`` counts as that of a ring, 2 (W − 1) / W of the tensor. Only calls from Python
    are seen.

    Yields:
        Bytes under the name of the collective, and their number under ``"calls"``.
    """
    before = {name: getattr(distributed, name) for name in COLLECTIVES}
    found: Counter[str] = Counter()

    def counting(name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            found[name] += _sent(name, *arguments)
            found["calls"] += 1
            return before[name](*arguments, **options)

        return call

    for name in COLLECTIVES:
        setattr(distributed, name, counting(name))
    try:
        yield found
    finally:
        for name, original in before.items():
            setattr(distributed, name, original)


def _sent(name: str, *arguments: Any) -> int:
    processes, rank = distributed.get_world_size(), distributed.get_rank()
    if name == "all_reduce":
        return int(2 * (processes - 1) / processes * _bytes(arguments[0]))
    if name == "all_gather":
        return (processes - 1) * _bytes(arguments[1])
    values: Tensor = arguments[1]
    sent = arguments[3] if len(arguments) > 3 else None
    own = len(values) // processes if sent is None else sent[rank]
    return (len(values) - own) * (_bytes(values) // max(1, len(values)))


def _bytes(values: Tensor) -> int:
    return values.numel() * values.element_size()
