"""What both ComiRecs are tested for: every argument, the interests, training and checkpoints."""

import functools
from typing import Any, ClassVar

import pytest
import torch
from torch.nn import functional

from lightning_croloss import UniformNegatives
from lightning_croloss.data import RetrievalBatch
from tests.data_for_tests import ClusteredData, fit, quiet_trainer
from tests.models.cases import (
    FOR_HISTORY,
    ArgumentTests,
    check_exact_resume,
    reloaded,
    same,
)

HISTORIES = [[1, 2, 3, 4, 5, 6, 7, 8], [11]]
DENSE = {"hidden_dims": (16,)}
#: For each argument of both constructors the arguments to start from, and another value of it.
SHARED: dict[str, tuple[dict[str, Any], Any]] = {
    **FOR_HISTORY,
    "num_interests": ({}, 1),
    "use_positions": ({}, False),
    "num_positions": ({}, 3),
    "hidden_dims": ({}, ()),
    "dropout": (DENSE, 0.5),
}


def small(cls, **kwargs):
    """Build a model for ClusteredData, always with the same weights."""
    torch.manual_seed(0)
    defaults = {"num_items": 40, "embedding_dim": 8, "negatives": UniformNegatives(30), "ns": (5, 10, 20)}
    return cls(**{**defaults, "num_positions": 4, **kwargs})


def batch_of(*histories):
    history = torch.tensor(histories)
    return RetrievalBatch(history, targets=history[:, -1:], users=torch.zeros(len(history), dtype=torch.long))


class ComiRecTests(ArgumentTests):
    """The tests of both.

    Attributes:
        cls: the architecture.
        own: own arguments with which its interests are compared with the plain computation.
        plain: returns the interests (K, D) of one user by plain loops, from the model and the items.
    """

    cls: ClassVar[type]
    own: ClassVar[tuple[dict[str, Any], ...]]
    plain: ClassVar[Any]

    @pytest.mark.slow
    def test_equal_arguments_give_equal_outcomes(self):
        super().test_equal_arguments_give_equal_outcomes()
        outcome = self.outcome
        assert same(outcome(dropout=0.5), outcome.of({}))  # there are no dense layers
        without = outcome(use_positions=False)
        assert same(outcome(use_positions=False, num_positions=9), without)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"num_interests": 0}, "num_interests must be at least 1, got 0"),
            ({"num_positions": 0}, "num_positions must be at least 1, got 0"),
            ({"hidden_dims": (8, 0)}, r"hidden_dims must be at least 1 each, got \[8, 0\]"),
            ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ],
    )
    def test_arguments_out_of_range(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            small(self.cls, **arguments)

    def test_interests_pass_the_dense_layers_and_have_unit_length(self):
        model, batch = small(self.cls, hidden_dims=(16,)).eval(), batch_of(HISTORIES[0])
        first, last = (layer for layer in model.interest_layers if isinstance(layer, torch.nn.Linear))
        plain = small(self.cls, similarity="dot").eval()
        plain.load_state_dict(model.state_dict(), strict=False)
        expected = functional.normalize(last(first(plain.encode_users(batch)).relu()), dim=-1)
        torch.testing.assert_close(model.encode_users(batch), expected)

    @pytest.mark.parametrize("positions", [True, False])
    def test_padding_changes_nothing(self, positions):
        model = small(self.cls, use_positions=positions).eval()
        short = model.encode_users(batch_of([5, 6, 7, 8, 9]))
        assert short.shape == (1, 4, 8)
        torch.testing.assert_close(model.encode_users(batch_of([0, 0, 0, 5, 6, 7, 8, 9])), short)

    def test_the_order_matters_only_with_positions(self):
        batches = batch_of([5, 6, 7]), batch_of([7, 6, 5])
        with_positions, without = (small(self.cls, use_positions=use).eval() for use in (True, False))
        assert not torch.allclose(*(with_positions.encode_users(batch) for batch in batches), atol=1e-4)
        torch.testing.assert_close(*(without.encode_users(batch) for batch in batches))

    def test_interests_differ_from_the_start(self):
        users = small(self.cls).eval().encode_users(batch_of([1, 2, 3, 4]))[0]
        assert float((users @ users.T).detach().masked_fill(torch.eye(4, dtype=torch.bool), 0).max()) < 0.9999

    @pytest.mark.parametrize("arguments", [{}, DENSE])
    def test_an_empty_history_has_finite_vectors_and_gradients(self, arguments):
        model = small(self.cls, history_dropout=0.5, **arguments)
        batch = RetrievalBatch(
            torch.zeros(2, 3, dtype=torch.long), targets=torch.tensor([[1], [2]]), users=torch.ones(2)
        )
        assert bool(torch.isfinite(model.encode_users(batch)).all())
        model.loss_of(batch).backward()
        assert all(
            bool(torch.isfinite(value.grad).all()) for value in model.parameters() if value.grad is not None
        )
        ids, scores = model.recommend([[], [1, 2]], 5)
        assert bool((ids > 0).all())
        assert bool(torch.isfinite(scores).all())

    def test_training_reads_out_the_interest_closest_to_the_target(self):
        model = small(self.cls)
        users, positives = (
            model.encode_users(batch_of(*[[1, 2, 3, 4], [9, 8, 7, 6]])),
            model.encode_items(None)[:2],
        )
        read = model.select_interest(users, positives)
        for user in range(2):
            best = max(users[user], key=lambda interest, user=user: float(interest @ positives[user]))
            assert torch.equal(read[user], best)

    @pytest.mark.slow
    def test_training_in_bfloat16(self):
        for precision in ("bf16-mixed", "bf16-true"):
            model = small(self.cls)
            fit(model, precision=precision, limit_train_batches=3)
            assert all(bool(torch.isfinite(value).all()) for value in model.parameters())

    @pytest.mark.slow
    def test_a_resumed_run_equals_the_uninterrupted_one(self, tmp_path):
        def resumable():
            return small(self.cls, history_dropout=0.3)

        check_exact_resume(resumable, tmp_path)

    def test_a_checkpoint_is_enough_to_recommend_alike(self, tmp_path):
        model = small(self.cls, num_interests=3, hidden_dims=(12,))
        assert type(reloaded(model, tmp_path, histories=HISTORIES, n=9)) is self.cls

    @pytest.mark.parametrize(
        "arguments", [{}, {"use_positions": False}, {"num_positions": 2, "num_interests": 3}]
    )
    def test_interests_equal_the_plain_computation(self, arguments):
        for own in self.own:
            model = small(self.cls, similarity="dot", **own, **arguments).double().eval()
            with torch.no_grad():
                found = model.encode_users(batch_of([0, 0, 7, 3, 9, 3, 8], [0, 0, 0, 0, 0, 0, 5]))
                torch.testing.assert_close(found[0], self.plain(model, [7, 3, 9, 3, 8]))
                torch.testing.assert_close(found[1], self.plain(model, [5]))

    def check_training(self, arguments, reached):
        """Fail unless training lowers the loss, and recall@10 comes to more than ``reached``."""
        fast = functools.partial(torch.optim.Adam, lr=0.02)
        data, model = ClusteredData(), small(self.cls, optimizer=fast, **arguments)
        (before,) = quiet_trainer().validate(model, data, verbose=False)
        first = float(fit(model, data, limit_train_batches=1).callback_metrics["train/loss"])
        metrics = fit(model, data, max_epochs=20, check_val_every_n_epoch=20).callback_metrics
        assert float(metrics["train/loss"]) < 0.8 * first
        assert before["val/recall@10"] < 0.55
        assert float(metrics["val/recall@10"]) > reached  # the ten items of the user's cluster
