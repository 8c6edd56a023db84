"""Exports that were kept are served, with the lists that the model gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_croloss import Recommender, load_pretrained
from tests.formats.kept import CLEAR, EXPORTS, Run

pytest.importorskip("pyarrow", reason="exports have tables")
pytest.importorskip("onnxruntime", reason="exports are served by onnxruntime")
pytest.importorskip("faiss", reason="one of the exports has an index")

HISTORIES = [["i01", "i02"], ["i30"], []]
#: What is asked besides of a model that reads it.
TIMES = [[1000, 2500], [40], []]
EVENT_FEATURES = {"rating": [[5, None], [1], []], "kind": [["buy", "view"], [None], []]}
USERS = ["u01", "u30", "u47"]


def asked_of(model: Any) -> dict[str, Any]:
    """Return a request of all that a model reads."""
    asked: dict[str, Any] = {"histories": HISTORIES}
    if model.needs_known_users:
        asked["users"] = USERS
    if model.metadata.events.times is not None:
        asked["times"] = TIMES
    if names := model.metadata.events.names:
        asked["event_features"] = {name: EVENT_FEATURES[name] for name in names}
    return asked


@pytest.mark.parametrize("run", EXPORTS, indirect=True)
def test_an_old_export_is_served(run: Run) -> None:
    folder = Path("exports", run.name)
    described = json.loads((folder / "manifest.json").read_text())["model"]
    # exports that do not say leave out what a user had
    exclude_history = described.get("exclude_history", True)
    model: Any = load_pretrained(run.folder)
    asked = asked_of(model)
    served = Recommender.from_export(folder).recommend(**asked, n=5)
    expected = model.recommend_tokens(**asked, n=6, exclude_history=exclude_history)
    for found, right in zip(served, expected, strict=True):
        assert found.fallback == right.fallback
        assert found.tokens == right.tokens[:5]
        assert found.titles == (right.titles and right.titles[:5])
        assert found.scores == pytest.approx(right.scores[:5], abs=1e-4)
        if not right.fallback:
            assert np.diff(right.scores).max() < -CLEAR  # no place hangs on a last bit
