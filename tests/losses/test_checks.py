"""Arguments that are not what they must be: one sentence that names the argument, before any operation."""

import itertools

import numpy
import pytest
import torch

from lightning_croloss.common.item_lists import ItemLists
from lightning_croloss.losses import CROLoss, SoftmaxLoss
from lightning_croloss.losses.checking.answers import Answers, Arrival
from lightning_croloss.losses.checking.inspection import Inspection
from tests.losses.cases import LOSSES

B, M, D, E = 4, 6, 3, 2


def scores():
    generator = torch.Generator().manual_seed(0)
    return {
        "positive_scores": torch.randn(B, generator=generator),
        "negative_scores": torch.randn(B, M, generator=generator),
        "negative_mask": torch.zeros(B, M, dtype=torch.bool),
        "negative_log_prob": torch.full((B, M), -2.0),
        "num_sampled": torch.full((B,), M),
        "sample_weight": torch.ones(B),
    }


def vectors():
    generator = torch.Generator().manual_seed(0)
    return {
        "users": torch.randn(B, D, generator=generator),
        "positives": torch.randn(B, D, generator=generator),
        "candidates": torch.randn(M, D, generator=generator),
        "target_ids": torch.tensor([1, 2, 3, 4]),
        "candidate_ids": torch.arange(5, 5 + M),
        "excluded_ids": torch.ones(B, E, dtype=torch.long),
        "candidate_log_prob": torch.full((M,), -2.0),
        "num_sampled": torch.full((B,), M),
        "sample_weight": torch.ones(B),
    }


def pairs():
    generator = torch.Generator().manual_seed(0)
    return {
        "users": torch.randn(B, D, generator=generator),
        "items": torch.randn(B, D, generator=generator),
        "item_ids": torch.arange(B),
        "sample_weight": torch.ones(B),
    }


def call(method, loss, given):
    given = dict(given)
    first = [given.pop(name) for name in METHODS["forward" if method == "soft_rank" else method][1]]
    return getattr(loss, method)(*first, **given)


METHODS = {
    "forward": (scores, ("positive_scores", "negative_scores")),
    "from_embeddings": (vectors, ("users", "positives", "candidates")),
    "in_batch": (pairs, ("users", "items")),
}
OPTIONAL = (
    "negative_mask",
    "negative_log_prob",
    "num_sampled",
    "sample_weight",
    "target_ids",
    "excluded_ids",
    "candidate_log_prob",
    "item_ids",
)
#: What is wrong with an argument: how to make it so, and where it does not matter.
WRONG = {
    "list": (lambda value: value.tolist(), ()),
    "array": (lambda value: value.numpy(), ()),
    "text": (lambda value: "a", ()),
    "complex": (lambda value: value.to(torch.complex64), ()),
    "sparse": (lambda value: value.to_sparse(), ()),
    "another device": (lambda value: value.to("meta"), ("num_sampled",)),
    "more dimensions": (lambda value: value[None, None, None], ()),
    "other rows": (lambda value: torch.cat([value, value, value]), ("candidates",)),
    "other type": (
        lambda value: value.long() if value.is_floating_point() else value.double(),
        ("num_sampled", "sample_weight"),
    ),
    "bool": (lambda value: value.bool(), ("negative_mask", "sample_weight")),
    "None": (lambda value: None, OPTIONAL),
}
GRID = [
    (method, argument, wrong)
    for method, (make, _) in METHODS.items()
    for argument, wrong in itertools.product(make(), WRONG)
    if argument not in WRONG[wrong][1]
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", LOSSES)
def test_the_arguments_of_the_grid_are_right(name, method):
    assert call(method, LOSSES[name](num_items=20), METHODS[method][0]()).isfinite()


@pytest.mark.parametrize(("method", "argument", "wrong"), GRID)
def test_a_wrong_argument_is_named(method, argument, wrong):
    given = METHODS[method][0]()
    given[argument] = WRONG[wrong][0](given[argument])
    with pytest.raises((ValueError, TypeError), match=argument) as caught:
        call(method, CROLoss(num_items=20), given)
    assert len(str(caught.value)) < 320
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positives": torch.ones(B, D + 1)}, "users and positives must be"),
        ({"candidates": torch.ones(M, D + 1)}, f"candidates must have vectors of the users' width D={D}"),
        ({"candidates": torch.ones(B + 1, M, D)}, r"candidates must be \(M, D\)"),
        ({"candidates": torch.ones(M)}, r"candidates must be \(M, D\)"),
        ({"candidate_ids": torch.arange(M + 1)}, f"candidate_ids must be .* M={M} candidates"),
        ({"excluded_ids": ItemLists.of_padded(torch.ones(B + 1, 2).long())}, "excluded_ids must have B=4"),
        ({"excluded_ids": [[1], [2], [3], [4]]}, "excluded_ids must be a tensor"),
        ({"num_sampled": -1}, "num_sampled must be a number of draws, at least 0, got -1"),
        ({"num_sampled": True}, "num_sampled must be a number"),
        ({"padding_id": "0"}, "padding_id must be an integer, or None"),
        ({"padding_id": 0.0}, "padding_id must be an integer, or None"),
        ({"users": torch.ones(B, D).long()}, "users must be floating-point numbers .* are these ids"),
        ({"candidate_ids": None}, "give candidate_ids too"),
    ],
)
def test_vectors_and_ids_that_do_not_fit(change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call("from_embeddings", CROLoss(num_items=20), vectors() | change)


LABELS = torch.arange(B)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.randn(B, M), LABELS), r"loss\.from_logits\(logits, labels\)"),
        ((torch.randn(B, M), LABELS.double()), r"loss\.from_logits\(logits, labels\)"),
        ((torch.randn(B, B), LABELS), r"loss\.from_logits\(logits, labels\)"),
        ((torch.randn(B, 5, M), torch.ones(B, 5).long()), r"loss\.from_logits\(logits, labels\)"),
        ((torch.randn(B, M, 5), torch.ones(B, 5).long()), r"loss\.from_logits\(logits, labels\)"),
        ((torch.randn(B, M), torch.zeros(B, M).bool()), r"loss\.from_logits\(logits, labels\)"),
        ((LABELS, torch.randn(B, M)), r"loss\.from_logits\(logits, labels\), the labels second"),
        ((torch.randn(B, D), torch.randn(B, D)), r"loss\.in_batch\(users, items\)"),
        ((torch.randn(B, B),), r"loss\.in_batch\(users, items\)"),
        ((torch.randn(B, B), None), r"loss\.from_logits\(similarities, torch\.arange\(B\)\)"),
        ((torch.randn(B),), "negative_scores must be a tensor"),
        ((torch.randn(B, 1), torch.randn(B, M)), r"positive_scores\.squeeze\(1\)"),
        ((torch.randn(B), torch.randn(B)), r"negative_scores\.unsqueeze\(1\)"),
        ((torch.randn(B), torch.randn(B + 1, M)), "positive_scores has 4 rows, negative_scores 5 rows"),
        ((torch.randn(()), torch.randn(M)), "positive_scores"),
        ((numpy.zeros(B), numpy.zeros((B, M))), r"positive_scores must be a tensor \(B,\), got ndarray"),
    ],
)
def test_scores_that_are_something_else(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        CROLoss()(*arguments)


@pytest.mark.parametrize("mask", [torch.ones(B, M), torch.ones(M, dtype=torch.long), torch.zeros(B, M)])
def test_a_mask_of_numbers_says_its_polarity(mask):
    with pytest.raises(ValueError, match=r"True = ignore.*negative_mask\.bool\(\).*negative_mask == 0"):
        CROLoss()(torch.zeros(B), torch.randn(B, M), negative_mask=mask)


@pytest.mark.parametrize("loss", [CROLoss(), CROLoss(fused=True), SoftmaxLoss(fused=False)])
@pytest.mark.parametrize("which", ["users", "positives", "candidates"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_vectors_of_different_precision_are_promoted(loss, which, dtype):
    given = vectors()
    given = {name: given[name] for name in ("users", "positives", "candidates")}
    expected = loss.from_embeddings(*given.values())
    given[which] = given[which].to(dtype)
    torch.testing.assert_close(loss.from_embeddings(*given.values()).float(), expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("fused", [None, False, True])
@pytest.mark.parametrize("narrow", ["target_ids", "candidate_ids", "excluded_ids"])
def test_ids_of_different_widths(fused, narrow):
    loss = CROLoss(num_items=20, fused=fused)
    given = vectors() | {"target_ids": torch.tensor([5, 6, 7, 8])}
    expected = call("from_embeddings", loss, given)
    given[narrow] = given[narrow].int()
    torch.testing.assert_close(call("from_embeddings", loss, given), expected)


def test_ids_of_each_row_with_shared_candidates_take_the_naive_path():
    given = vectors()
    given["candidate_ids"] = given["candidate_ids"].repeat(B, 1)
    expected = call("from_embeddings", CROLoss(num_items=20), vectors())
    torch.testing.assert_close(call("from_embeddings", CROLoss(num_items=20), given), expected)
    with pytest.raises(ValueError, match="with fused=True candidate_ids must be"):
        call("from_embeddings", CROLoss(num_items=20, fused=True), given)


@pytest.mark.parametrize(
    ("argument", "wrong"),
    [
        (argument, wrong)
        for method, argument, wrong in GRID
        if method == "forward" and argument != "sample_weight"
    ],
)
def test_the_soft_rank_has_the_checks_of_forward(argument, wrong):
    given = {name: value for name, value in scores().items() if name != "sample_weight"}
    given[argument] = WRONG[wrong][0](given[argument])
    said = []
    for method in ("forward", "soft_rank"):
        with pytest.raises((TypeError, ValueError)) as caught:
            call(method, CROLoss(num_items=30), given)
        said.append((type(caught.value), str(caught.value)))
    assert said[0] == said[1]


def test_the_soft_rank_of_positions_is_that_of_their_rows():
    positive, negative = torch.randn(2, 3), torch.randn(2, 3, M)
    mask, draws = torch.rand(2, 3, M) < 0.3, torch.tensor([M, M + 4])
    loss = CROLoss(num_items=30)
    found = loss.soft_rank(positive, negative, negative_mask=mask, num_sampled=draws)
    expected = loss.soft_rank(
        positive.flatten(),
        negative.flatten(0, 1),
        negative_mask=mask.flatten(0, 1),
        num_sampled=draws.repeat_interleave(3),
    )
    assert torch.equal(found, expected.view(2, 3))
    assert torch.equal(loss.soft_rank(positive, negative[..., :0]), torch.ones(2, 3))
    with pytest.raises(ValueError, match="these look like probabilities"):
        CROLoss(num_items=30).soft_rank(positive, negative, negative_log_prob=torch.full((M,), 0.3))


WRONG_AMOUNTS = [-1.0, -1e-9, float("nan"), float("inf"), -float("inf")]
#: Calls of what takes weights of rows, or numbers of draws.
TAKES_AMOUNTS = {
    "forward": lambda loss, **given: loss(torch.randn(3), torch.randn(3, 6), **given),
    "positions": lambda loss, **given: loss(torch.randn(3, 2), torch.randn(3, 2, 6), **given),
    "from_embeddings": lambda loss, **given: loss.from_embeddings(
        torch.randn(3, 4), torch.randn(3, 4), torch.randn(6, 4), **given
    ),
    "from_logits": lambda loss, **given: loss.from_logits(torch.randn(3, 6), torch.arange(3), **given),
    "in_batch": lambda loss, **given: loss.in_batch(torch.randn(3, 4), torch.randn(3, 4), **given),
    "soft_rank": lambda loss, **given: loss.soft_rank(torch.randn(3), torch.randn(3, 6), **given),
}
ARGUMENTS_AND_CALLS = [
    (argument, call)
    for argument in ("sample_weight", "num_sampled")
    for call in TAKES_AMOUNTS
    if call not in {"sample_weight": ("soft_rank",), "num_sampled": ("from_logits", "in_batch")}[argument]
]


@pytest.mark.parametrize("fused", [None, True])
@pytest.mark.parametrize("wrong", WRONG_AMOUNTS)
@pytest.mark.parametrize(("argument", "call"), ARGUMENTS_AND_CALLS)
def test_weights_and_draws_are_amounts(argument, call, wrong, fused):
    """In any call, and in one row of many."""
    loss = CROLoss(num_items=30, fused=fused)
    for fine in ([1.0, 0.0, 2.0], [True, False, True] if argument == "sample_weight" else [1, 0, 6]):
        TAKES_AMOUNTS[call](loss, **{argument: torch.tensor(fine)})
    with pytest.raises(ValueError, match=rf"^{argument} must hold finite numbers of at least 0, got"):
        TAKES_AMOUNTS[call](loss, **{argument: torch.tensor([1.0, wrong, 2.0])})


@pytest.mark.parametrize("wrong", WRONG_AMOUNTS)
@pytest.mark.parametrize("argument", ["num_sampled", "sample_weight"])
def test_amounts_of_a_device_are_asked_for(argument, wrong):
    """A tensor without values stands for one of a device, which answers later, in some of the calls."""
    arrived, asked = [], []

    def send(values):
        asked.append(values.shape)
        ends = torch.tensor([1.0, wrong]).aminmax()
        return Arrival(torch.stack(ends).double(), lambda: bool(arrived))

    answers = Answers(send)
    inspection = Inspection(lambda *_: None, answers)
    for _ in range(20):
        inspection.amounts(
            **{"num_sampled": 5, "sample_weight": None, argument: torch.ones(3, device="meta")}
        )
        inspection.amounts(None, torch.ones(3))  # the host's are known
    assert asked == [(2,), (2,)]
    arrived.append(True)
    with pytest.raises(ValueError, match=rf"^{argument} must hold finite numbers of at least 0, got"):
        answers.read()


@pytest.mark.parametrize(
    ("argument", "call"), [case for case in ARGUMENTS_AND_CALLS if case[1] != "soft_rank"]
)
def test_every_call_hands_its_amounts_on(argument, call, monkeypatch):
    seen = []
    monkeypatch.setattr(Inspection, "amounts", lambda self, *given: seen.extend(given))
    amounts = torch.ones(3)
    TAKES_AMOUNTS[call](CROLoss(num_items=30), **{argument: amounts})
    assert any(given is amounts for given in seen)
