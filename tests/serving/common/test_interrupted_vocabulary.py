"""Ctrl-C in the middle of encoding and decoding is never lost."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from croloss_serving.common.vocabulary import Vocabulary

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer of signals")
SIZE = 20_000
NUMBERS = np.random.default_rng(0).integers(1, SIZE + 1, SIZE)


@pytest.fixture
def interrupting() -> Iterator[list[int]]:
    came: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield came
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", ["decode integers", "decode text", "encode integers", "encode text", "make"])
def test_no_interrupt_is_lost(interrupting: list[int], kind: str) -> None:
    tokens: Any = np.arange(SIZE) * 7 if "integers" in kind else [f"item {number}" for number in range(SIZE)]
    vocabulary = Vocabulary(tokens)
    given = vocabulary.decode(NUMBERS) if "encode" in kind else NUMBERS.tolist()
    work: Callable[[], object] = {
        "decode": lambda: vocabulary.decode(given),
        "encode": lambda: vocabulary.encode(given),
        "make": lambda: Vocabulary(tokens),
    }[kind.split()[0]]
    begin = time.perf_counter()
    work()
    took = time.perf_counter() - begin
    drawn = random.Random(0)
    raised = 0
    for _ in range(60):
        interrupting.clear()
        try:
            signal.setitimer(signal.ITIMER_REAL, drawn.uniform(0.05, 1.0) * took + 1e-5)
            while not interrupting:
                work()
        except KeyboardInterrupt:
            raised += 1
    assert raised == 60


@pytest.mark.parametrize("tokens", [[5, 7, 2**40], [5, 2**64 - 1], ["a", "b"], []])
def test_tokens_and_padding_are_decoded(tokens: list[Any]) -> None:
    vocabulary = Vocabulary(tokens)
    ids = [0, *range(1, len(tokens) + 1), 0]
    assert vocabulary.decode(ids) == ["", *tokens, ""]
    assert {type(token) for token in vocabulary.decode(ids)} <= {str, int}
    assert vocabulary.decode([]) == []
