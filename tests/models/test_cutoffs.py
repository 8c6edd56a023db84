"""The N of the metrics @N: below the size of the catalogue, or they say nothing of a model."""

from __future__ import annotations

import warnings

import pytest
import torch

from lightning_croloss import RetrievalModel
from lightning_croloss.errors import DataError
from lightning_croloss.metrics.few_candidates import FewCandidates
from lightning_croloss.models.cutoffs import DEFAULT, chosen_cutoffs, measurable
from lightning_croloss.pretrained import load_pretrained
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model


@pytest.mark.parametrize(
    ("num_items", "kept"),
    [
        (2, [1]),
        (3, [1]),
        (20, [10]),
        (21, [20]),
        (50, [20]),
        (51, [20, 50]),
        (500, [20, 50, 100, 200]),
        (501, [20, 50, 100, 200, 500]),
        (10**6, [20, 50, 100, 200, 500]),
    ],
)
def test_the_default_adapts_to_the_catalogue(num_items, kept):
    assert list(chosen_cutoffs(DEFAULT, num_items)) == kept


@pytest.mark.parametrize("ns", [(40,), [5, 40], [5, 41], (99999,), [20, 50]])
def test_what_was_asked_for_is_below_the_catalogue_or_refused(ns):
    with pytest.raises(ValueError, match=f"ns holds {max(ns)}, but the catalogue has only 40 items"):
        small_model(ns=ns)
    assert small_model(ns=(5, 39)).metric_cutoffs == (5, 39)


def test_a_small_catalogue_is_measured_by_default_and_says_so(tmp_path):
    model = small_model(ns=DEFAULT)
    assert model.metric_cutoffs == (20,)
    with pytest.warns(UserWarning, match=r"40 items: the metrics are at N = \[20\] instead of the default"):
        (found,) = quiet_trainer().test(model, ClusteredData(), verbose=False)
    assert set(found) == {f"test/{name}@20" for name in ("recall", "hit_rate", "ndcg", "mrr")}
    trainer = fit(model, limit_train_batches=1)
    trainer.save_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    for again in (
        load_pretrained(tmp_path / "a.ckpt"),
        RetrievalModel.load_from_checkpoint(tmp_path / "a.ckpt"),
    ):
        assert again.metric_cutoffs == (20,)


def test_own_cutoffs_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        quiet_trainer().test(small_model(ns=(1, 39)), ClusteredData(), verbose=False)


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_one_item_is_no_choice(command):
    model = small_model(num_items=1, ns=(1,))
    with pytest.raises(DataError, match="the catalogue has 1 item: a model needs at least 2 items"):
        getattr(quiet_trainer(), command)(model, ClusteredData())


def test_checkpoints_of_earlier_releases_may_hold_the_whole_catalogue(tmp_path):
    model = small_model(ns=(5, 10))
    fit(model, limit_train_batches=1).save_checkpoint(tmp_path / "new.ckpt", weights_only=True)
    content = torch.load(tmp_path / "new.ckpt", weights_only=True)
    for ns, kept in (([5, 40], (5,)), ([40], (20,))):
        content["hyper_parameters"]["ns"] = ns
        torch.save(content, tmp_path / "old.ckpt")
        assert load_pretrained(tmp_path / "old.ckpt").metric_cutoffs == kept
        assert RetrievalModel.load_from_checkpoint(tmp_path / "old.ckpt").metric_cutoffs == kept
    assert measurable({"ns": [5, 41], "num_items": 40})["ns"] == [5, 41]  # which no release allowed


class TestFewCandidates:
    def test_counts(self):
        metric = FewCandidates((2, 4))
        excluded = torch.tensor([[0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 1, 2, 3, 3], [0, 5, 4, 2, 1]])
        metric.update(excluded, 7)  # 7, 6, 4 and 3 are left
        metric.update(torch.zeros(3, 0, dtype=torch.int64), 7)
        users, short = metric.compute()
        assert int(users) == 7
        assert short.tolist() == [0, 2]

    def test_a_large_catalogue_costs_nothing(self):
        metric = FewCandidates((10,))
        metric.update(torch.arange(50).reshape(5, 10), 1000)
        assert metric.short.tolist() == [0]

    @pytest.mark.parametrize(("ns", "warned"), [((31,), False), ((5, 34, 36), True)])
    def test_the_warning(self, ns, warned):
        """All users had 7 of the 40 items before the target of the test."""
        model = small_model(ns=ns, exclude_history=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(2):
                quiet_trainer().test(model, ClusteredData(), verbose=False)
        said = [str(w.message) for w in caught if "exclude_history leaves at most" in str(w.message)]
        assert len(said) == warned
        if warned:
            assert "at most 34 items for 60 of 60 users: their recall@34 is high whatever" in said[0]

    def test_no_warning_without_exclusion(self):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            quiet_trainer().test(small_model(ns=(39,)), ClusteredData(), verbose=False)
        assert not [w for w in caught if "leaves at most" in str(w.message)]
