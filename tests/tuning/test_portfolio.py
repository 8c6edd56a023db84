"""The portfolio, and means over several N as metrics."""

import pytest
from lightning.pytorch.loggers import CSVLogger

from lightning_croloss.common.safe_config import TrustedClasses
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.tuning import Objective, ObjectiveLogger, portfolio
from tests.data_for_tests import ClusteredData, fit, small_model


@pytest.mark.parametrize(
    ("ns", "known_users", "size"),
    [
        ([20], False, 7),
        ([100], False, 7),
        ([500], False, 4),
        ([20, 100, 500], False, 7),
        ([20, 500], True, 7),
        ([500], True, 7),  # docs/tuning.md says so
    ],
)
def test_the_portfolio_is_of_about_seven_losses_that_can_be_built(ns, known_users, size):
    found = portfolio(ns, 10_000, known_users=known_users)
    assert len(found) == size
    assert len({each.name for each in found}) == size
    for each in found:
        assert isinstance(TrustedClasses().build(dict(each.loss), each.name), RetrievalLoss)


def test_the_order_depends_on_n():
    head, tail = portfolio([20]), portfolio([500])
    assert head[0].name == "exp, alpha 1.2, temperature 0.14"
    assert tail[0].name == "softplus, alpha 1, temperature 0.1"
    assert portfolio([100]) != head
    both = portfolio([20, 500], size=4)
    assert {each.name for each in both} == {each.name for each in (*head[:2], *tail[:2])}
    with pytest.raises(ValueError, match="n must be at least 1"):
        portfolio([0])


def test_models_whose_users_have_vectors_begin_with_positives_held_back():
    first, *_ = portfolio([20], known_users=True)
    assert first.loss["init_args"]["positive_scale"] == 0.8
    assert all("positive_scale" not in each.loss["init_args"] for each in portfolio([20]))


def test_a_mean_is_logged_and_monitored(tmp_path):
    logger = CSVLogger(tmp_path, name="", version="")
    trainer = fit(small_model(), ClusteredData(), callbacks=[ObjectiveLogger({5: 1, 10: 3})], logger=logger)
    metrics = trainer.callback_metrics
    expected = (metrics["val/recall@5"] + 3 * metrics["val/recall@10"]) / 4
    assert float(metrics["val/objective"]) == pytest.approx(float(expected))
    assert "val/objective" in (tmp_path / "metrics.csv").read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("objective", "monitor", "label", "text"),
    [
        (Objective(weights={100: 1.0}), "val/recall@100", "n100", "recall@100"),
        (Objective("ndcg", {20: 2.0}), "val/ndcg@20", "n20", "ndcg@20"),
        (
            Objective(weights={20: 1.0, 100: 3.0}),
            "val/objective",
            "n20_n100",
            "0.25 recall@20 + 0.75 recall@100",
        ),
        (Objective("valid/hits"), "valid/hits", "valid_hits", "valid/hits"),
        (Objective("valid/hits", {20: 1.0}), "valid/hits", "n20", "valid/hits"),
        (Objective("hits_{n}", {20: 1.0}), "hits_20", "n20", "hits_20"),
    ],
)
def test_what_an_objective_is_called(objective, monitor, label, text):
    assert (objective.monitor, objective.label, str(objective)) == (monitor, label, text)


def test_the_value_of_an_objective():
    mean = Objective(weights={20: 1.0, 100: 3.0})
    assert mean.value({"val/recall@20": 0.4, "val/recall@100": 0.8}) == pytest.approx(0.7)
    assert mean.value({"val/recall@20": float("nan"), "val/recall@100": 0.8}) == -float("inf")
    with pytest.raises(ValueError, match=r"does not log 'val/recall@100', .* it logs val/recall@20"):
        mean.value({"val/recall@20": 0.4})
    with pytest.raises(ValueError, match="has an n, and none is given"):
        Objective("recall")
