"""What every architecture makes of users and items."""

import torch
from torch.nn import functional

from lightning_croloss.data import RetrievalBatch
from tests.data_for_tests import YouTubeDNN, small_model
from tests.models.small_models import ThreeInterests


def test_select_interest_takes_the_one_closest_to_the_target():
    users, positives = torch.randn(50, 3, 8), torch.randn(50, 8)
    chosen = small_model().select_interest(users, positives)
    for row in range(50):
        scores = [float(users[row, interest] @ positives[row]) for interest in range(3)]
        assert torch.equal(chosen[row], users[row, scores.index(max(scores))])


def test_cosine_vectors_have_unit_length():
    history = torch.randint(0, 41, (6, 5))
    batch = RetrievalBatch(history, targets=history[:, :1], users=history[:, 0])
    for cls in (YouTubeDNN, ThreeInterests):
        for similarity in ("cosine", "dot"):
            model = small_model(cls, similarity=similarity)
            users, items, some_items = (
                model.encode_users(batch),
                model.encode_items(None),
                model.encode_items(history),
            )
            for vectors in (users, items, some_items):
                lengths = vectors.norm(dim=-1)
                unit = torch.where(lengths == 0, lengths, 1.0)  # padding has no direction
                assert torch.allclose(lengths, unit, atol=1e-5) == (similarity == "cosine")
            assert functional.cosine_similarity(items, model.item_embedding.weight[1:]).min() > 0.999
