"""A model in float64 computes in float64: nothing that it makes of its weights is rounded on the way."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import lightning_croloss
from lightning_croloss.models import MIND, SASRec
from tests.data_for_tests import EventData, fit
from tests.models.test_precision_and_compile import MODELS, build

CASES = [
    *MODELS,
    (MIND, {"routing_init": "random", "readout": "attention"}),
    (SASRec, {"item_graph_weight": 0.5}),
]
NARROW = {torch.float16, torch.bfloat16, torch.float32}
PACKAGE = Path(lightning_croloss.__file__).parent
#: Where scores are looked at for warnings: what is computed there goes nowhere else.
ASIDE = PACKAGE / "losses" / "checking"


class Narrowed(TorchDispatchMode):
    """Collects the lines of the package that make narrower numbers of others, or of none but by chance."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        given, made = _types((args, kwargs)), _types(found)
        if made & NARROW and not given & NARROW and func != torch.ops.aten.rand.default:
            stack = [frame for frame in traceback.extract_stack() if PACKAGE in Path(frame.filename).parents]
            if not any(ASIDE in Path(frame.filename).parents for frame in stack):
                self.lines.update(f"{frame.filename}:{frame.lineno}: {frame.line}" for frame in stack[-1:])
        return found


def _types(several: Any) -> set[torch.dtype]:
    # one number alone leaves others their type
    return {each.dtype for each in tree_leaves(several) if isinstance(each, Tensor) and each.dim()}


@pytest.mark.parametrize(("cls", "arguments"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_every_architecture(cls: Any, arguments: dict[str, Any]) -> None:
    model, data = build(cls, arguments), EventData(seed=0)
    fit(model, data, max_steps=1, limit_val_batches=0)
    batch = next(iter(data.train_dataloader()))
    model.double()
    with Narrowed() as narrowed:
        for training in (True, False):
            model.train(training)
            loss = model.loss_of(batch)
            loss.backward()
            made = [loss, model.encode_users(batch), model.encode_items(None)]
            assert {each.dtype for each in made} == {torch.float64}
    assert not narrowed.lines
