"""TrainerLoss, alone and, where transformers is installed, in Hugging Face's own Trainer."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from lightning_croloss import CROLoss, SoftmaxLoss
from lightning_croloss.integrations.transformers import TrainerLoss

LOSS = SoftmaxLoss(temperature=1.0)
REASON = "transformers is not installed: pip install '.[integrations]'"


def logits(*shape: int) -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(shape[-1], shape[:-1], generator=generator)
    labels[0] = -100
    return {"logits": torch.randn(shape, generator=generator)}, labels


def pairs(*names: str, rows: int = 8) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {name: normalize(torch.randn(rows, 4), dim=-1) for name in names}


@pytest.mark.parametrize("shape", [(8, 5), (3, 7, 5), (3, 5, 5)])
def test_logits_are_cross_entropy(shape: tuple[int, ...]) -> None:
    outputs, labels = logits(*shape)
    flat = cross_entropy(outputs["logits"].flatten(0, -2), labels.flatten(), reduction="sum")
    kept = (labels != -100).sum()
    torch.testing.assert_close(TrainerLoss(LOSS)(outputs, labels), flat / kept)
    torch.testing.assert_close(
        TrainerLoss(LOSS)(outputs, labels, num_items_in_batch=torch.tensor(40)), flat / 40
    )
    total = SoftmaxLoss(temperature=1.0, reduction="sum")
    torch.testing.assert_close(TrainerLoss(total)(outputs, labels, 40), flat / 40)
    torch.testing.assert_close(TrainerLoss(total)(outputs, labels), flat)
    for others in (outputs["logits"], (outputs["logits"], None)):
        torch.testing.assert_close(TrainerLoss(LOSS)(others, labels), flat / kept)


def test_labels_of_language_models_are_shifted() -> None:
    outputs, labels = logits(3, 7, 5)
    expected = cross_entropy(outputs["logits"][:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    torch.testing.assert_close(TrainerLoss(LOSS, shift_labels=True)(outputs, labels), expected)


def test_first_labels_that_the_trainer_counts_are_warned_of() -> None:
    outputs, labels = logits(3, 7, 5)
    labels[1, 4:] = -100
    every, predicted = (labels != -100).sum(), (labels[:, 1:] != -100).sum()
    asked = TrainerLoss(LOSS, shift_labels=True)
    expected = asked(outputs, labels)
    with pytest.warns(UserWarning, match="set those labels to -100 in the data"):
        small = asked(outputs, labels, num_items_in_batch=every)
    torch.testing.assert_close(small, expected * predicted / every)
    with pytest.warns(UserWarning, match="first label of each row"), torch.no_grad():
        asked(outputs, labels, num_items_in_batch=int(every))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fresh = TrainerLoss(LOSS, shift_labels=True)
        torch.testing.assert_close(fresh(outputs, labels, num_items_in_batch=predicted), expected)
        TrainerLoss(LOSS, shift_labels=True)(outputs, labels, num_items_in_batch=every * 3)
        labels[:, 0] = -100
        for number in (predicted, (labels != -100).sum()):
            fresh = TrainerLoss(LOSS, shift_labels=True)
            torch.testing.assert_close(fresh(outputs, labels, num_items_in_batch=number), expected)


def test_batches_that_are_accumulated_are_one_large_batch() -> None:
    outputs, labels = logits(12, 5)
    whole = TrainerLoss(LOSS)(outputs, labels)
    number = (labels != -100).sum()
    parts = [
        TrainerLoss(LOSS)({"logits": outputs["logits"][rows]}, labels[rows], number)
        for rows in (slice(0, 1), slice(1, 4), slice(4, 12))  # the first has no label at all
    ]
    torch.testing.assert_close(torch.stack(parts).sum(), whole)


def test_several_positives_a_row() -> None:
    outputs, _ = logits(8, 5)
    labels = torch.tensor([[0, 3], [1, -100]] * 4)
    expected = LOSS.from_logits(outputs["logits"], labels)
    torch.testing.assert_close(TrainerLoss(LOSS)(outputs, labels, num_items_in_batch=12), expected)
    hot = torch.rand(8, 5) < 0.5
    expected = LOSS.from_logits(outputs["logits"], hot.float())
    torch.testing.assert_close(TrainerLoss(LOSS)(outputs, hot.float(), num_items_in_batch=40), expected)


@pytest.mark.parametrize(
    "names", [("user_embeds", "item_embeds"), ("text_embeds", "image_embeds"), ("a", "b")]
)
@pytest.mark.parametrize("symmetric", [False, True])
def test_pairs_are_in_batch(names: tuple[str, str], symmetric: bool) -> None:
    outputs = pairs("first", *names)
    loss = CROLoss("exp", temperature=0.2)
    users, items = (outputs[name] for name in names)
    named = names if names == ("a", "b") else None
    asked = TrainerLoss(loss, named, symmetric=symmetric)
    torch.testing.assert_close(asked(outputs, None), loss.in_batch(users, items, symmetric=symmetric))
    ids, counts = torch.tensor([0, 1, 1, 2, -100, 4, 5, 0]), torch.arange(1, 7)
    kept = ids != -100
    expected = loss.in_batch(
        users[kept], items[kept], item_ids=ids[kept], item_counts=counts, symmetric=symmetric
    )
    asked = TrainerLoss(loss, named, symmetric=symmetric, item_counts=counts)
    torch.testing.assert_close(asked(outputs, ids), expected)
    torch.testing.assert_close(asked(outputs, ids, num_items_in_batch=14), expected / 2)


@pytest.mark.parametrize("symmetric", [False, True])
def test_users_that_recur_are_told_by_an_output(symmetric: bool) -> None:
    outputs = pairs("user_embeds", "item_embeds")
    users, items = outputs.values()
    outputs["user_id"] = numbers = torch.tensor([3, 1, 3, 0, 5, 1, 7, 8])
    asked = TrainerLoss(LOSS, user_ids="user_id", symmetric=symmetric)
    expected = LOSS.in_batch(users, items, symmetric=symmetric, user_ids=numbers)
    torch.testing.assert_close(asked(outputs, None), expected)
    assert asked(outputs, None) != TrainerLoss(LOSS, symmetric=symmetric)(outputs, None)
    ids = torch.tensor([0, 1, 1, 2, -100, 4, 5, 0])
    kept = ids != -100
    expected = LOSS.in_batch(
        users[kept], items[kept], item_ids=ids[kept], symmetric=symmetric, user_ids=numbers[kept]
    )
    torch.testing.assert_close(asked(outputs, ids), expected)


def test_pairs_without_labels_are_divided_among_the_batches_that_are_accumulated() -> None:
    outputs = pairs("user_embeds", "item_embeds")
    asked, plain = TrainerLoss(LOSS, accumulation_steps=4), TrainerLoss(LOSS)
    torch.testing.assert_close(asked(outputs, None), plain(outputs, None) / 4)
    with torch.no_grad():  # in evaluation nothing is accumulated
        torch.testing.assert_close(asked(outputs, None), plain(outputs, None))


def test_mistakes() -> None:
    outputs, labels = logits(4, 3)
    with pytest.raises(ValueError, match='reduction="mean" or "sum"'):
        TrainerLoss(SoftmaxLoss(reduction="none"))
    with pytest.raises(TypeError, match="got the class CROLoss: call it"):
        TrainerLoss(CROLoss)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="item_count is no argument"):
        TrainerLoss(LOSS, item_count=torch.ones(3))
    with pytest.raises(ValueError, match="name that column of the data set 'labels'"):
        TrainerLoss(LOSS)(outputs, None)
    with pytest.raises(ValueError, match=r"outputs \['logits'\]: embeddings=\(user, item\)"):
        TrainerLoss(LOSS, ("a", "b"))(outputs, labels)
    with pytest.raises(ValueError, match=r"outputs \['a', 'b'\]"):
        TrainerLoss(LOSS)(pairs("a", "b"), None)
    with pytest.raises(ValueError, match=r"user_ids='user' must be one of .* got \['user_embeds', 'item_"):
        TrainerLoss(LOSS, user_ids="user")(pairs("user_embeds", "item_embeds"), None)
    with pytest.raises(ValueError, match=r"beside a pair of embeddings, got \['logits', 'user'\]"):
        TrainerLoss(LOSS, user_ids="user")({**outputs, "user": labels}, labels)


class Classifier(nn.Module):
    """Scores the catalogue; ``loss`` is the model's own cross-entropy."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scores = nn.Embedding(20, 20)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        found = self.scores(features)
        return (
            {"logits": found} if labels is None else {"loss": cross_entropy(found, labels), "logits": found}
        )


class TwoTower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.user, self.item = nn.Embedding(20, 16), nn.Embedding(20, 16)

    def forward(self, features: Tensor, positive: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        found = {"user_embeds": self.user(features), "item_embeds": self.item(positive)}
        return {name: normalize(vectors, dim=-1) for name, vectors in found.items()}


def trained(model: nn.Module, loss: TrainerLoss, folder: Path, **arguments: Any) -> tuple[nn.Module, Any]:
    transformers = pytest.importorskip("transformers", reason=REASON)
    pytest.importorskip("accelerate", reason="the Trainer needs accelerate: pip install '.[integrations]'")
    rows = [{"features": row % 20, "labels": (row * 7 + 3) % 20} for row in range(96)]
    for row in rows[::6]:
        row["labels"] = -100
    if isinstance(model, TwoTower):
        rows = [{**row, "positive": max(row["labels"], 0)} for row in rows]
    given = transformers.TrainingArguments(
        str(folder),
        learning_rate=0.2,
        optim="sgd",
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **arguments,
    )
    trainer = transformers.Trainer(
        model, given, train_dataset=rows, eval_dataset=rows, compute_loss_func=loss
    )
    trainer.train()
    return model, trainer


@pytest.mark.slow
def test_the_trainer_accumulates_as_one_large_batch(tmp_path: Path) -> None:
    found = [
        trained(Classifier(), TrainerLoss(LOSS), tmp_path, max_steps=4, **sizes)[0].scores.weight
        for sizes in (
            {"per_device_train_batch_size": 24},
            {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 3},
        )
    ]
    torch.testing.assert_close(*found)
    assert (found[0] - Classifier().scores.weight).abs().max() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("model", [Classifier, TwoTower])
def test_the_trainer_learns_and_evaluates(model: type[nn.Module], tmp_path: Path) -> None:
    loss = TrainerLoss(CROLoss("exp", temperature=0.1))  # a tower's labels are the items' ids
    start = trained(model(), loss, tmp_path, max_steps=1, per_device_train_batch_size=32)[1]
    end = trained(model(), loss, tmp_path, num_train_epochs=20, per_device_train_batch_size=32)[1]
    assert end.evaluate()["eval_loss"] < 0.5 * start.evaluate()["eval_loss"]
