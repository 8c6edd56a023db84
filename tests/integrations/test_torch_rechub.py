"""torch-rechub's MatchTrainer with a loss of ours, where torch-rechub is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

pytest.importorskip("torch_rechub", reason="torch-rechub is not installed: pip install '.[integrations]'")

from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models import matching
from torch_rechub.utils.data import TorchDataset

from lightning_croloss import CROLoss, SoftmaxLoss
from lightning_croloss.integrations.torch_rechub import MatchTrainer
from lightning_croloss.losses.log_prob import log_prob_from_counts

ITEMS, ROWS, DIM, LENGTH = 30, 64, 8, 6


def columns() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    items = torch.randint(1, ITEMS + 1, (ROWS,), generator=generator)
    drawn = torch.randint(1, ITEMS + 1, (ROWS, 5), generator=generator)
    history = torch.randint(1, ITEMS + 1, (ROWS, LENGTH), generator=generator)
    history[: ROWS // 2, 4:] = 0
    found = {"user": torch.arange(ROWS), "item": items, "negatives": drawn, "negative": drawn[:, 0]}
    found |= {"seq": history, "next": history.clone(), "other": history.clone()}
    for turn, name in enumerate(("next", "other"), 1):
        real = found[name] > 0
        found[name][real] = found[name][real].roll(turn)
    return {**found, "history": history, "weight": items}


def loader(batch_size: int = ROWS, labels: Tensor | None = None) -> Any:
    labels = torch.zeros(ROWS) if labels is None else labels
    return DataLoader(TorchDataset(columns(), labels), batch_size=batch_size)


VOCABULARY = {"vocab_size": ITEMS + 1, "embed_dim": DIM}
DIMS = {"dims": [DIM]}


def sequence(name: str, **arguments: Any) -> Any:
    return SequenceFeature(name, pooling="concat", **VOCABULARY, **arguments)


def features() -> dict[str, Any]:
    return {
        "user": [SparseFeature("user", vocab_size=ROWS, embed_dim=DIM)],
        "item": [SparseFeature("item", **VOCABULARY)],
        "drawn": [sequence("negatives", shared_with="item")],
        "one": [SparseFeature("negative", shared_with="item", **VOCABULARY)],
        "history": [sequence("history", shared_with="item")],
        "weight": [SparseFeature("weight", vocab_size=ITEMS + 1, embed_dim=1)],
    }


def architecture(kind: str) -> nn.Module:
    of, cls = features(), getattr(matching, kind)
    if kind == "SINE":
        return cls(["history"], ["item"], ["negatives"], ITEMS + 1, DIM, 8, 4, 2, LENGTH)
    if kind == "YoutubeSBC":
        return cls(of["user"], of["item"], of["weight"], DIMS, DIMS, batch_size=ROWS, n_neg=5)
    if kind == "DSSM":
        return cls(of["user"], of["item"], DIMS, DIMS)
    if kind == "FaceBookDSSM":
        return cls(of["user"], of["item"], of["one"], DIMS, DIMS)
    if kind == "YoutubeDNN":
        return cls(of["user"], of["item"], of["drawn"], DIMS)
    if kind in ("NARM", "STAMP"):
        return cls(sequence("history"), *((DIM, 0.0, 0.0) if kind == "NARM" else (0.05, 1.0)))
    if kind == "SASRec":
        others = [sequence(name, shared_with="seq") for name in ("next", "other")]
        return cls([sequence("seq"), *others], max_len=LENGTH, dropout_rate=0.0)
    if kind == "GRU4Rec":
        return cls(of["user"], of["history"], of["item"], of["drawn"], DIMS)
    rest = {"MIND": [LENGTH], "ComirecDR": [LENGTH], "ComirecSA": []}[kind]
    return cls(of["user"], of["history"], of["item"], of["drawn"], *rest)


def model(kind: str) -> nn.Module:
    torch.manual_seed(0)
    built = architecture(kind)
    for table in built.modules():
        if isinstance(table, nn.Embedding):
            nn.init.uniform_(table.weight, -1.0, 1.0)  # theirs are within 1e-4 of 0
    if kind == "ComirecDR":
        nn.init.normal_(built.capsule.w, 0.0, 0.3)  # theirs is whatever is in memory
    if kind == "YoutubeSBC":
        nn.init.uniform_(built.embedding.embed_dict["weight"].weight, 0.1, 1.0)  # it takes their logarithm
    return built


def trainer(kind: str, loss: Any, tmp_path: Path, **arguments: Any) -> MatchTrainer:
    still = {"lr": 0.0, "weight_decay": 0.0}
    arguments = {"optimizer_params": still, "n_epoch": 1, "model_path": str(tmp_path)} | arguments
    return MatchTrainer(model(kind), loss=loss, **arguments)


COUNTS = torch.bincount(torch.cat([columns()["item"], torch.arange(1, ITEMS + 1)]))


@pytest.mark.parametrize("kind", ["DSSM", "YoutubeDNN"])
@pytest.mark.parametrize("counts", [None, COUNTS], ids=["uncorrected", "logQ"])
def test_in_batch_is_the_loss_of_the_towers(kind: str, counts: Tensor | None, tmp_path: Path) -> None:
    loss = SoftmaxLoss(temperature=0.2)
    training = trainer(kind, loss, tmp_path, in_batch_neg=True, item_id="item", item_counts=counts)
    batch = columns()
    with torch.no_grad():
        users = training.model.user_tower(batch).reshape(ROWS, DIM)
        items = training.model.item_tower(batch).reshape(ROWS, -1, DIM)[:, 0]
    scores = users @ items.T / 0.2
    if counts is not None:
        # N q a row: N ids that occur, q their shares
        scores = scores - (ITEMS * counts[batch["item"]] / counts.sum()).log()
        scores = scores.where(~torch.eye(ROWS, dtype=torch.bool), users @ items.T / 0.2)
    same = (batch["item"] == batch["item"][:, None]) & ~torch.eye(ROWS, dtype=torch.bool)
    expected = nn.functional.cross_entropy(scores.masked_fill(same, -torch.inf), torch.arange(ROWS))
    assert training.train_one_epoch(loader()) == pytest.approx(float(expected), abs=1e-5)


#: Models that are trained on negatives which the data has sampled.
LISTS = ["YoutubeDNN", "MIND", "ComirecDR", "ComirecSA", "SINE"]


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("counts", [None, COUNTS], ids=["uncorrected", "logQ"])
def test_list_wise_is_the_loss_of_the_drawn(kind: str, counts: Tensor | None, tmp_path: Path) -> None:
    loss = SoftmaxLoss(temperature=0.2, num_items=ITEMS)
    training = trainer(kind, loss, tmp_path, mode=2, item_counts=counts)
    batch, seen = columns(), []
    training.model.register_forward_hook(lambda *call: seen.append(call[-1]))  # capsules begin at random
    found = training.train_one_epoch(loader())
    (scores,) = seen
    expected = loss(
        scores[:, 0],
        scores[:, 1:],
        negative_mask=batch["negatives"] == batch["item"][:, None],
        negative_log_prob=None if counts is None else log_prob_from_counts(counts)[batch["negatives"]],
    )
    assert found == pytest.approx(float(expected.detach()), abs=1e-5)


@pytest.mark.parametrize("drawn", [5, DIM - 1])
def test_gru4rec_is_trained_on_the_scores_of_its_towers(drawn: int, tmp_path: Path) -> None:
    # its own forward returns (B, D), which DIM - 1 negatives would let pass for scores
    loss = SoftmaxLoss(temperature=0.2)
    training = trainer("GRU4Rec", loss, tmp_path, mode=2)
    batch = columns()
    batch["negatives"] = batch["negatives"][:, torch.arange(drawn) % 5]
    with torch.no_grad():
        scores = (training.model.user_tower(batch) @ training.model.item_tower(batch).mT)[:, 0]
    hits = batch["negatives"] == batch["item"][:, None]
    expected = loss(scores[:, 0], scores[:, 1:], negative_mask=hits)
    data = DataLoader(TorchDataset(batch, torch.zeros(ROWS)), batch_size=ROWS)
    assert training.train_one_epoch(data) == pytest.approx(float(expected), abs=1e-5)


#: What each model can be trained by; all else gets a sentence.
FITS = {
    "DSSM": ["in_batch_neg"],
    "FaceBookDSSM": ["mode=1"],
    "YoutubeDNN": ["mode=2", "in_batch_neg"],
    "YoutubeSBC": ["mode=2", "in_batch_neg"],
    "MIND": ["mode=2"],
    "GRU4Rec": ["mode=2", "in_batch_neg"],
    "NARM": ["mode=2"],
    "SASRec": ["mode=1"],
    "SINE": ["mode=2", "in_batch_neg"],
    "STAMP": ["mode=2"],
    "ComirecDR": ["mode=2"],
    "ComirecSA": ["mode=2"],
}


@pytest.mark.parametrize("kind", matching.__all__)
@pytest.mark.parametrize("way", ["mode=1", "mode=2", "in_batch_neg"])
def test_every_model_is_trained_or_refused(kind: str, way: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"in_batch_neg": True, "item_id": "item"}
    if way != "in_batch_neg":
        given = {"mode": int(way[-1])}
    training = trainer(kind, SoftmaxLoss(), tmp_path, **given)
    labels = columns()["item"] if kind in ("NARM", "STAMP") else None
    if way in FITS[kind]:
        loss = training.train_one_epoch(loader(labels=labels))
        assert 0 < loss < torch.inf
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in training.model.parameters())
        return
    with pytest.raises(ValueError, match=f"^{way} needs .* {kind} return"):
        training.train_one_epoch(loader(labels=labels))


def test_rows_that_a_model_draws_itself_are_negatives(tmp_path: Path) -> None:
    loss = CROLoss("exp", temperature=0.2, num_items=1000)
    training = trainer("YoutubeSBC", loss, tmp_path, mode=2)
    with torch.no_grad():
        scores = training.model(columns())
    expected = loss(scores[:, 0], scores[:, 1:])
    assert training.train_one_epoch(loader()) == pytest.approx(float(expected), abs=1e-5)


def test_pair_wise_has_one_negative(tmp_path: Path) -> None:
    loss = SoftmaxLoss(temperature=0.2)
    training = trainer("FaceBookDSSM", loss, tmp_path, mode=1)
    with torch.no_grad():
        positive, negative = training.model(columns())
    expected = nn.functional.softplus((negative - positive) / 0.2).mean()
    assert training.train_one_epoch(loader()) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("kind", ["NARM", "STAMP"])
def test_the_whole_catalogue_is_the_loss_of_the_logits_without_padding(kind: str, tmp_path: Path) -> None:
    training = trainer(kind, SoftmaxLoss(temperature=1.0), tmp_path, mode=2)
    batch = columns()
    with torch.no_grad():
        scores = training.model(batch)
    expected = nn.functional.cross_entropy(scores[:, 1:], batch["item"] - 1)
    found = training.train_one_epoch(loader(labels=batch["item"]))
    assert found == pytest.approx(float(expected), abs=1e-5)


def test_positions_of_padding_are_not_trained_on(tmp_path: Path) -> None:
    training = trainer("SASRec", SoftmaxLoss(temperature=1.0), tmp_path, mode=1)
    batch = columns()
    with torch.no_grad():
        positive, negative = training.model(batch)
    real = batch["next"] > 0
    assert not real.all()
    expected = nn.functional.softplus(negative - positive)[real].mean()
    assert training.train_one_epoch(loader()) == pytest.approx(float(expected), abs=1e-5)


def test_fit_learns_and_leaves_the_trainer_as_it_was(tmp_path: Path) -> None:
    loss = CROLoss(kernel="exp", alpha=1.2, temperature=0.2)
    arguments: dict[str, Any] = {"optimizer_params": {"lr": 0.03}, "in_batch_neg": True, "item_id": "item"}
    training = trainer("DSSM", loss, tmp_path, item_counts=COUNTS, **arguments)
    network = training.model
    before = training.train_one_epoch(loader())
    training.n_epoch = 5
    training.fit(loader(batch_size=32))
    after = training.train_one_epoch(loader())
    assert after < 0.8 * before
    assert training.model is network
    assert training.in_batch_neg
    assert training.mode == 0
    saved = torch.load(tmp_path / "model.pth", weights_only=True)
    assert saved.keys() == network.state_dict().keys()


def test_the_loss_s_own_parameters_are_trained(tmp_path: Path) -> None:
    loss = CROLoss(kernel="exp", temperature=0.2, learnable_temperature=True)
    arguments: dict[str, Any] = {"optimizer_params": {"lr": 0.1}, "in_batch_neg": True, "item_id": "item"}
    before = [parameter.detach().clone() for parameter in loss.parameters()]
    trainer("DSSM", loss, tmp_path, **arguments).train_one_epoch(loader())
    assert before
    assert all(not torch.equal(*pair) for pair in zip(before, loss.parameters(), strict=True))


def test_what_it_cannot_do_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mode=0 has no negatives"):
        trainer("DSSM", SoftmaxLoss(), tmp_path)
    with pytest.raises(ValueError, match="item_id"):
        trainer("DSSM", SoftmaxLoss(), tmp_path, in_batch_neg=True)
    arguments: dict[str, Any] = {"in_batch_neg": True, "item_id": "item"}
    for ignored in ({"hard_negative": True}, {"in_batch_neg_ratio": 3}):
        with pytest.raises(ValueError, match="the loss takes all"):
            trainer("DSSM", SoftmaxLoss(), tmp_path, **arguments, **ignored)
    with pytest.raises(ValueError, match="item_counts would do nothing with mode=1"):
        trainer("FaceBookDSSM", SoftmaxLoss(), tmp_path, mode=1, item_counts=COUNTS)
    for kind in ("YoutubeSBC", "NARM", "STAMP"):
        with pytest.raises(ValueError, match=f"item_counts would do nothing: {kind} has no neg_item_feature"):
            trainer(kind, SoftmaxLoss(), tmp_path, mode=2, item_counts=COUNTS)
    with pytest.raises(ValueError, match="counts must be finite"):
        trainer("YoutubeDNN", SoftmaxLoss(), tmp_path, mode=2, item_counts=-COUNTS)


@pytest.mark.parametrize(
    ("loss", "error", "said"),
    [
        (CROLoss, TypeError, "got the class CROLoss: call it"),
        ("CROLoss", TypeError, "such as CROLoss.., got 'CROLoss'"),
        (CROLoss(reduction="none"), ValueError, "takes one number: give the loss reduction=.mean. or .sum."),
    ],
)
def test_a_loss_that_it_cannot_train_by(loss: Any, error: type, said: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=said):
        trainer("DSSM", loss, tmp_path, in_batch_neg=True, item_id="item")


@pytest.mark.parametrize(
    ("item_id", "counts", "said"),
    [
        ("movie_id", COUNTS, r"no feature 'movie_id', which item_id names: it has \['user', 'item'"),
        ("negatives", COUNTS, r"item_id='negatives' is no id: one integer a row is, got \(64, 5\)"),
        ("item", COUNTS[:10], "item_counts is indexed by item_ids and has 10 entries"),
    ],
)
def test_mistakes_of_the_batch(item_id: str, counts: Tensor, said: str, tmp_path: Path) -> None:
    training = trainer(
        "DSSM", SoftmaxLoss(), tmp_path, in_batch_neg=True, item_id=item_id, item_counts=counts
    )
    with pytest.raises(ValueError, match=said):
        training.train_one_epoch(loader())


def test_labels_of_a_list_are_none_of_the_whole_catalogue(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="all labels are 0, which is padding: NARM scores the whole"):
        trainer("NARM", SoftmaxLoss(), tmp_path, mode=2).train_one_epoch(loader())


def test_drawn_items_that_were_not_counted_are_named(tmp_path: Path) -> None:
    training = trainer("YoutubeDNN", SoftmaxLoss(), tmp_path, mode=2, item_counts=COUNTS[:10])
    with pytest.raises(ValueError, match="has 10 entries"):
        training.train_one_epoch(loader())


def test_the_catalogue_is_what_was_counted(tmp_path: Path) -> None:
    loss = SoftmaxLoss(temperature=0.2)
    trainer("YoutubeDNN", loss, tmp_path, mode=2, item_counts=COUNTS).train_one_epoch(loader())
    assert loss.num_items == ITEMS


def test_a_learning_rate_schedule_and_half_precision(tmp_path: Path) -> None:
    loss = CROLoss(kernel="exp", temperature=0.2, learnable_temperature=True)
    schedule = {"scheduler_fn": torch.optim.lr_scheduler.StepLR, "scheduler_params": {"step_size": 1}}
    arguments: dict[str, Any] = {"in_batch_neg": True, "item_id": "item", "optimizer_params": {"lr": 0.1}}
    training = trainer("DSSM", loss, tmp_path, **schedule, **arguments)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        training.fit(loader())
    assert [group["lr"] for group in training.optimizer.param_groups] == pytest.approx([0.01, 0.01])


def test_counts_change_the_gradient(tmp_path: Path) -> None:
    tables = []
    for counts in (None, COUNTS):
        arguments: dict[str, Any] = {"in_batch_neg": True, "item_id": "item", "item_counts": counts}
        training = trainer("DSSM", SoftmaxLoss(), tmp_path, optimizer_params={"lr": 0.1}, **arguments)
        training.train_one_epoch(loader())
        tables.append(training.model.state_dict()["embedding.embed_dict.item.weight"])
    assert not torch.allclose(*tables)
