"""A RecBole that runs with today's libraries, and data small enough for it."""

from __future__ import annotations

import logging
import os
import random
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

ITEMS = 60
USERS = 40
#: What is loaded of the data, and no more than that is written or printed.
SETTINGS = {
    "data_path": "dataset",
    "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"], "item": ["item_id", "class"]},
    "gpu_id": "",
    "use_gpu": False,
    "state": "ERROR",
    "show_progress": False,
}


@contextmanager
def working_recbole(folder: Path) -> Iterator[None]:
    """Run RecBole in ``folder``, which has a dataset "mine", and leave the process as it was.

    RecBole 1.2.1 sets names of numpy that numpy 2 has no more, calls a method that dictionaries of scipy had,
    and imports ray for its search.
    """
    from recbole.config import Config
    from recbole.model import sequential_recommender
    from scipy.sparse import dok_matrix

    assert sequential_recommender
    write_data(folder / "dataset" / "mine", "mine")
    ray = types.ModuleType("ray")
    ray.tune = types.ModuleType("ray.tune")  # type: ignore[attr-defined]
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, "compatibility_settings", lambda self: None)
        patch.setattr(np, "float", float, raising=False)
        patch.setattr(dok_matrix, "_update", lambda self, values: self._dict.update(values), raising=False)
        patch.setitem(sys.modules, "ray", ray)
        patch.setattr("psutil.cpu_percent", lambda *_, **__: 0.0)  # asked for a table, it measures a second
        patch.setattr(sys, "argv", sys.argv[:1])
        patch.setenv("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", ""))  # RecBole sets it
        patch.chdir(folder)
        # importing RecBole's sequential models turns it on for the process
        torch.autograd.set_detect_anomaly(False)
        yield
        root.setLevel(level)
        root.handlers[:] = handlers


def write_data(folder: Path, name: str) -> None:
    """Write atomic files of users with a taste for every fourth item, in an order that says nothing."""
    folder.mkdir(parents=True)
    draw = random.Random(0)
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in range(USERS):
        taste = [item for item in range(ITEMS) if item % 4 == user % 4]
        lines += [f"u{user}\ti{item}\t4\t{time}" for time, item in enumerate(draw.sample(taste, 9))]
    (folder / f"{name}.inter").write_text("\n".join(lines) + "\n")
    items = [f"i{item}\t{'odd' if item % 2 else 'even'}" for item in range(ITEMS)]
    (folder / f"{name}.item").write_text("\n".join(["item_id:token\tclass:token_seq", *items]) + "\n")
