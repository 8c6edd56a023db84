"""What ``tune`` refuses before it builds or writes anything, in one sentence that names the argument."""

import re

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from lightning_croloss import SoftmaxLoss, tune
from lightning_croloss.tuning import Candidate, SearchFailedError
from tests.tuning.cases import Plain, candidates, plain_data, plain_model

CPU = {"accelerator": "cpu", "max_epochs": 4}
LOSS = {"class_path": "SoftmaxLoss"}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n": 2.5}, TypeError, "n must be an integer or a list of integers or a dictionary, got 2.5"),
        ({"n": "20"}, TypeError, "n must be an integer"),
        ({"n": True}, TypeError, "n must be an integer"),
        ({"n": None}, TypeError, "n must be an integer"),
        ({"n": [5.5]}, TypeError, "n must be an integer"),
        ({"n": {"5": 1, "10": 1}}, TypeError, "n must be an integer, 1 or more, got '5'"),
        ({"n": {5: "a"}}, TypeError, "the weight of n = 5 must be a number above 0, got 'a'"),
        ({"n": {5: float("nan")}}, ValueError, "the weight of n = 5 must be a number above 0, got nan"),
        ({"metric": 3}, TypeError, "metric must be a text, got 3"),
        ({"fits": "3"}, TypeError, "fits must be a number, got '3'"),
        ({"fits": float("nan")}, ValueError, "fits must be at least 1"),
        ({"candidates": SoftmaxLoss()}, TypeError, "candidates must be a list of losses or of Candidate"),
        ({"candidates": LOSS}, TypeError, "candidates must be a list of losses or of Candidate"),
        ({"candidates": ["SoftmaxLoss"]}, TypeError, "candidates[0] must be a loss or a Candidate"),
        (
            {"candidates": [Candidate("a", LOSS), Candidate("b", LOSS, {"widht": 3})]},
            TypeError,
            "the fields widht by candidate 'b', which it does not take",
        ),
        ({"model_factory": plain_model()}, TypeError, "model_factory must be a function that builds"),
        ({"model_factory": None}, TypeError, "model_factory must be a function that builds"),
        ({"model_factory": lambda: None}, TypeError, "model_factory is called with a loss by candidate"),
        ({"seed": "x"}, TypeError, "seed must be an integer, got 'x'"),
        ({"seed": None}, TypeError, "seed must be an integer, got None"),
        ({"seed": -1}, ValueError, "seed must be 0 … 4294967295, got -1"),
        ({"num_proposed": -1}, ValueError, "num_proposed must be at least 0"),
        ({"num_proposed": 3}, ValueError, "propose and num_proposed belong together"),
        ({"propose": lambda tried: None}, ValueError, "propose and num_proposed belong together"),
        ({"folder": None}, TypeError, "folder must be a text"),
        ({"folder": ""}, FileExistsError, "folder . is the current folder"),
        ({"folder": "a file"}, FileExistsError, "folder a file is a file"),
        ({"folder": "a file/inner"}, FileExistsError, "folder a file/inner cannot lie in a file"),
    ],
)
def test_a_mistake_in_an_argument(change, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a file").touch()
    given = {"model_factory": Plain, "data": plain_data, "n": 5, "trainer": CPU, "candidates": candidates()}
    with pytest.raises(error, match=re.escape(message)):
        tune(**{**given, "folder": "search", **change})
    assert [path.name for path in tmp_path.iterdir()] == ["a file"]


class Stream(IterableDataset):
    """Five batches, of which nobody knows before."""

    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        for _ in range(5):
            yield (
                1 + torch.randint(40, (16, 4), generator=generator),
                1 + torch.randint(40, (16,), generator=generator),
            )


def test_data_of_unknown_length(tmp_path):
    train, valid = plain_data()
    stream = DataLoader(Stream(), None)

    def search(loaders, **limits):
        folder = tmp_path / f"search {limits}"
        return tune(
            Plain, loaders, 5, trainer=CPU | limits, candidates=candidates()[:2], fits=1.7, folder=folder
        )

    with pytest.raises(ValueError, match=r"training data has no known length.* set limit_train_batches"):
        search((stream, valid))
    with pytest.raises(ValueError, match=r"validation data have no known length.* set limit_val_batches"):
        search((train, stream))
    with pytest.raises(SearchFailedError, match=r"data end after 5: set limit_train_batches to 5.*overwrite"):
        search((stream, valid), limit_train_batches=8)
    found = search((stream, stream), limit_train_batches=5, limit_val_batches=2)
    assert [rung.step for rung in found.plan.rungs] == [10, 20]
