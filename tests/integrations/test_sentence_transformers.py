"""SentenceRetrievalLoss with sentence-transformers' own models and trainer, where it is installed."""

from __future__ import annotations

import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip(
    "sentence_transformers", reason="sentence-transformers is not installed: pip install '.[integrations]'"
)
pytest.importorskip("datasets", reason="datasets is not installed: pip install '.[integrations]'")

from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import (
    Pooling,
    Router,
    StaticEmbedding,
    WordEmbeddings,
)
from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer
from tokenizers import Tokenizer, models, pre_tokenizers

from lightning_croloss import CROLoss, SoftmaxLoss
from lightning_croloss.integrations.sentence_transformers import SentenceRetrievalLoss
from tests.distributed import run_distributed

WORDS = [f"w{number}" for number in range(40)]
ANCHORS = ["w0 w1", "w2", "w3 w4", "w5 w6", "w7"]
POSITIVES = ["w8", "w9 w10", "w8", "w11", "w12 w13"]
NEGATIVES = ["w14", "w8", "w15 w16", "w17", "w18"]
COUNTS = Counter({"w8": 7, "w9 w10": 1, "w11": 2, "w12 w13": 4, "w20": 3})
ALL_COUNTS = COUNTS + Counter(NEGATIVES)


def static(dim: int = 8) -> SentenceTransformer:
    torch.manual_seed(0)
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=dim)], device="cpu")


def pooled(dim: int = 8) -> SentenceTransformer:
    torch.manual_seed(0)
    words = WordEmbeddings(
        WhitespaceTokenizer(WORDS), torch.randn(len(WORDS), dim).numpy(), update_embeddings=True
    )
    return SentenceTransformer(modules=[words, Pooling(dim)], device="cpu")


def features(model: SentenceTransformer, *columns: list[str]) -> list[dict[str, Any]]:
    return [model.preprocess(column) for column in columns]


def vectors(model: SentenceTransformer, texts: list[str]) -> Tensor:
    return torch.nn.functional.normalize(model(model.preprocess(texts))["sentence_embedding"], dim=-1)


def numbers(texts: list[str]) -> Tensor:
    known = sorted({*ALL_COUNTS, *POSITIVES})
    return torch.tensor([known.index(text) for text in texts])


@pytest.mark.parametrize("model", [static(), pooled()], ids=["tokens in a row", "padded tokens"])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("counts", [None, COUNTS])
@pytest.mark.parametrize("loss", [SoftmaxLoss, lambda: CROLoss("exp", temperature=0.2)])
def test_pairs_are_in_batch(model: Any, symmetric: bool, counts: Any, loss: Any) -> None:
    tensor = None if counts is None else torch.tensor([counts[text] for text in sorted({*ALL_COUNTS})])
    expected = loss().in_batch(
        vectors(model, ANCHORS),
        vectors(model, POSITIVES),
        item_ids=numbers(POSITIVES),
        item_counts=tensor,
        symmetric=symmetric,
    )
    asked = SentenceRetrievalLoss(model, loss(), item_counts=counts, symmetric=symmetric)
    value = asked(features(model, ANCHORS, POSITIVES), None)
    torch.testing.assert_close(value, expected)
    gradients = [torch.autograd.grad(of, [*model.parameters()])[0] for of in (value, expected)]
    torch.testing.assert_close(*gradients)


def test_the_default_is_multiple_negatives_ranking_loss_where_no_text_recurs() -> None:
    model = static()
    columns = [["w0", "w1 w2"], ["w3", "w4"], ["w5", "w6 w7"], ["w8", "w9"]]
    expected = MultipleNegativesRankingLoss(model)(features(model, *columns), torch.tensor(0))
    torch.testing.assert_close(SentenceRetrievalLoss(model)(features(model, *columns)), expected)


def test_given_negatives_are_those_of_all_rows() -> None:
    model = pooled()
    anchors, positives, negatives = (vectors(model, part) for part in (ANCHORS, POSITIVES, NEGATIVES))
    candidates, texts = torch.cat([positives, negatives]), POSITIVES + NEGATIVES
    total = sum(ALL_COUNTS.values())
    losses = []
    for anchor, positive, text in zip(anchors, positives, POSITIVES, strict=True):
        terms = [torch.zeros(())]
        for candidate, other in zip(candidates, texts, strict=True):
            if other != text:
                log_weight = torch.tensor(len(ALL_COUNTS) * ALL_COUNTS[other] / total).log()
                terms.append(anchor @ (candidate - positive) / 0.05 - log_weight)
        losses.append(torch.logsumexp(torch.stack(terms), 0))
    value = SentenceRetrievalLoss(model, item_counts=ALL_COUNTS)(
        features(model, ANCHORS, POSITIVES, NEGATIVES)
    )
    torch.testing.assert_close(value, torch.stack(losses).mean())


def test_what_recurs_is_masked_and_counts_matter() -> None:
    model = static()
    plain = SentenceRetrievalLoss(model)
    once = plain(features(model, ANCHORS[:2], POSITIVES[:2]))
    masked = plain(features(model, [*ANCHORS[:2], ANCHORS[0]], [*POSITIVES[:2], POSITIVES[0]]))
    unmasked = MultipleNegativesRankingLoss(model)(
        features(model, [*ANCHORS[:2], ANCHORS[0]], [*POSITIVES[:2], POSITIVES[0]]), torch.tensor(0)
    )
    assert masked < unmasked - 0.1
    assert once < unmasked - 0.1
    counted = SentenceRetrievalLoss(model, item_counts=COUNTS)
    assert (
        abs(counted(features(model, ANCHORS, POSITIVES)) - plain(features(model, ANCHORS, POSITIVES))) > 0.05
    )


@pytest.mark.parametrize("by_label", [False, True])
def test_a_query_with_two_documents_is_no_negative_of_either(by_label: bool) -> None:
    model = static()
    queries, documents = ["w0 w1", "w0 w1", "w2"], ["w8", "w9 w10", "w11"]
    given: dict[str, Any] = {"item_counts": torch.ones(3)} if by_label else {}
    columns, labels = features(model, queries, documents), torch.arange(3) if by_label else None
    loss = SoftmaxLoss(0.1)
    forth = SentenceRetrievalLoss(model, loss, **given)(columns, labels)
    both = SentenceRetrievalLoss(model, loss, symmetric=True, **given)(columns, labels)
    scores = vectors(model, queries) @ vectors(model, documents).T / 0.1
    scores[0, 1] = scores[1, 0] = -torch.inf
    there, back = (torch.nn.functional.cross_entropy(each, torch.arange(3)) for each in (scores, scores.T))
    torch.testing.assert_close(forth, there)
    torch.testing.assert_close(both, (there + back) / 2)


def test_a_document_of_a_query_is_none_of_its_given_negatives() -> None:
    model = static()
    queries, documents = ["w0 w1", "w0 w1", "w2"], ["w8", "w9 w10", "w11"]
    negatives = ["w9 w10", "w14", "w8"]  # a document of the query in another row, of none, of another query
    scores = vectors(model, queries) @ vectors(model, documents + negatives).T / 0.1
    scores[0, [1, 3, 5]] = scores[1, [0, 3, 5]] = -torch.inf
    value = SentenceRetrievalLoss(model, SoftmaxLoss(0.1))(features(model, queries, documents, negatives))
    torch.testing.assert_close(value, torch.nn.functional.cross_entropy(scores, torch.arange(3)))


def test_labels_are_ids_where_the_counts_are_a_tensor() -> None:
    model = static()
    ids, counts = torch.tensor([3, 1, 3, 0, 2]), torch.tensor([2, 1, 4, 7])
    value = SentenceRetrievalLoss(model, item_counts=counts)(features(model, ANCHORS, POSITIVES), ids)
    expected = SoftmaxLoss(0.05).in_batch(
        vectors(model, ANCHORS), vectors(model, POSITIVES), item_ids=ids, item_counts=counts
    )
    torch.testing.assert_close(value, expected)


def test_a_text_that_was_not_counted() -> None:
    model = static()
    loss = SentenceRetrievalLoss(model, item_counts=COUNTS)
    model.train()
    with pytest.raises(ValueError, match="item_counts lacks 1 of the 2"):
        loss(features(model, ANCHORS[:2], ["w8", "w30"]))
    model.eval()
    assert torch.isfinite(loss(features(model, ANCHORS[:2], ["w8", "w30"])))


def test_a_router_counts_the_documents_tokens() -> None:
    modules = {"query_modules": [*static()], "document_modules": [*pooled()]}
    model = SentenceTransformer(modules=[Router.for_query_document(**modules)], device="cpu")
    loss = SentenceRetrievalLoss(model, item_counts=COUNTS)
    columns = [model.preprocess(ANCHORS, task="query"), model.preprocess(POSITIVES, task="document")]
    expected = SentenceRetrievalLoss(model)(columns)
    assert abs(loss.train()(columns) - expected) > 0.05


def test_the_catalogue_is_what_was_counted_unless_the_loss_says_more() -> None:
    model = static()
    assert SentenceRetrievalLoss(model, item_counts=COUNTS).loss.num_items == len(COUNTS)
    assert SentenceRetrievalLoss(model, SoftmaxLoss(num_items=50), item_counts=COUNTS).loss.num_items == 50
    assert SentenceRetrievalLoss(model).loss.num_items is None


@pytest.mark.parametrize(
    ("arguments", "given", "error", "said"),
    [
        ([COUNTS], {}, TypeError, r"loss must be a loss of lightning_croloss.*got Counter\("),
        ([CROLoss], {}, TypeError, "got the class CROLoss: call it"),
        ([CROLoss(reduction="none")], {}, ValueError, "the trainer takes one number"),
        (
            [],
            {"item_counts": POSITIVES},
            TypeError,
            r"item_counts must be how often each text comes, Counter\(",
        ),
        (
            [],
            {"item_counts": Counter([1, 2])},
            TypeError,
            r"how often each text comes.*got Counter: .*\{1: 1",
        ),
        ([], {"item_counts": {}}, TypeError, "item_counts must be how often"),
        ([], {"item_counts": {"w1": 2, "w2": -1}}, ValueError, "counts must be finite"),
        ([], {"item_counts": torch.tensor([-1, 2])}, ValueError, "counts must be finite"),
    ],
)
def test_mistakes_get_a_sentence(arguments: Any, given: Any, error: type, said: str) -> None:
    with pytest.raises(error, match=said) as caught:
        SentenceRetrievalLoss(static(), *arguments, **given)
    assert "\n" not in str(caught.value)


def test_the_model_comes_first() -> None:
    with pytest.raises(TypeError, match="model must be the SentenceTransformer that trains, got CROLoss"):
        SentenceRetrievalLoss(CROLoss(), item_counts=COUNTS)


def test_labels_that_were_not_counted() -> None:
    model = static()
    loss = SentenceRetrievalLoss(model, item_counts=torch.ones(3))
    with pytest.raises(ValueError, match=r"lacks 1 of the 2 items.*torch\.bincount\(labels of all rows\)"):
        loss(features(model, ANCHORS[:2], POSITIVES[:2]), torch.tensor([2, 7]))


def test_in_matryoshka_loss() -> None:
    model = static()
    loss = SentenceRetrievalLoss(model, SoftmaxLoss(), item_counts=COUNTS)
    value = MatryoshkaLoss(model, loss, [8, 4])(features(model, ANCHORS, POSITIVES), None)
    expected = sum(
        SoftmaxLoss(num_items=len(COUNTS)).in_batch(
            *(
                torch.nn.functional.normalize(vectors(model, part)[:, :dim], dim=-1)
                for part in (ANCHORS, POSITIVES)
            ),
            item_ids=numbers(POSITIVES),
            item_counts=torch.tensor([COUNTS[text] for text in sorted({*ALL_COUNTS})]),
        )
        for dim in (8, 4)
    )
    torch.testing.assert_close(value, expected)


def _of_a_part(rank: int, world_size: int) -> list[Tensor]:
    found = []
    for symmetric in (False, True):
        model = static()
        loss = SentenceRetrievalLoss(
            model, item_counts=ALL_COUNTS, symmetric=symmetric, gather_across_devices=world_size > 1
        )
        rows = slice(2 * rank, 2 * rank + 2) if world_size > 1 else slice(4)
        anchors = [*ANCHORS[:2], ANCHORS[1], ANCHORS[3]]  # one recurs in the other process
        value = loss(features(model, anchors[rows], POSITIVES[rows], NEGATIVES[rows]))
        value.backward()
        found += [value.detach(), model[0].embedding.weight.grad]
    return found


@pytest.mark.slow
def test_across_processes_the_loss_is_that_of_all_rows() -> None:
    parts = run_distributed(_of_a_part, 2)
    for expected, *values in zip(_of_a_part(0, 1), *parts, strict=True):
        torch.testing.assert_close(torch.stack(values).mean(0), expected)


@pytest.mark.slow
@pytest.mark.parametrize("model", [static(32), pooled(32)], ids=["tokens in a row", "padded tokens"])
def test_the_trainer_trains_evaluates_and_saves(model: Any, tmp_path: Path) -> None:
    draw = random.Random(0)
    numbers = [min(int(draw.expovariate(0.2)), 19) for _ in range(400)]
    rows = {"anchor": [f"w{n}" for n in numbers], "positive": [f"w{20 + n}" for n in numbers]}
    data = Dataset.from_dict(rows)
    loss = SentenceRetrievalLoss(
        model,
        CROLoss("exp", temperature=0.2, learnable_temperature=True),
        item_counts=Counter(data["positive"]),
    )
    arguments = SentenceTransformerTrainingArguments(
        str(tmp_path),
        num_train_epochs=6,
        per_device_train_batch_size=20,
        learning_rate=0.05,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    evaluation = Dataset.from_dict({"anchor": ["w1", "w2"], "positive": ["w21", "w0 w22"]})
    trainer = SentenceTransformerTrainer(
        model, arguments, train_dataset=data, eval_dataset=evaluation, loss=loss
    )

    def hits() -> int:
        anchors, items = vectors(model, WORDS[:20]), vectors(model, WORDS[20:])
        return int(((anchors @ items.T).argmax(1) == torch.arange(20)).sum())

    (learned,) = loss.loss.parameters()
    before, start = hits(), learned.item()
    trainer.train()
    assert before <= 6
    assert hits() >= 15
    assert abs(learned.item() - start) > 1e-3  # the temperature: the trainer trains it along
    assert math.isfinite(trainer.evaluate()["eval_loss"])  # with a text that was not counted
    model.save(str(tmp_path / "model"))
    card = (tmp_path / "model" / "README.md").read_text()
    assert "SentenceRetrievalLoss" in card
    assert "CROLoss: Towards a Customizable Loss" in card
    for name, value in loss.get_config_dict().items():
        assert f'"{name}": ' in card
        assert str(value).splitlines()[0] in card
    loaded = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    torch.testing.assert_close(vectors(loaded, WORDS), vectors(model, WORDS))
