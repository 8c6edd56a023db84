"""from_logits against cross-entropy, and against a loop over rows and positives through ``forward``."""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lightning_croloss.losses import CROLoss, PowerImportance, RetrievalLoss, SoftmaxLoss
from lightning_croloss.losses.fused import score_plan
from tests.losses.cases import IMPORTANCES, LOSSES, SCALINGS, TRAINABLE, assert_same, other_kernel

ROWS, COLUMNS, N = 5, 9, 40
QUIET = pytest.mark.filterwarnings("ignore:n=", "ignore:the scores of a row", "ignore:the logits have")
pytestmark = QUIET
SINGLE = torch.tensor([3, 0, -100, 8, 3])
#: The same rows twice: padded, with an index given twice, and multi-hot.
SEVERAL = torch.tensor([[3, -100, 5], [0, 1, 8], [-100, -100, -100], [8, -100, 8], [3, 2, -100]])
HOT = torch.zeros(ROWS, COLUMNS).scatter_(1, SEVERAL.clamp(min=0), 1.0).bool()
HOT[0, 0] = HOT[2, 0] = HOT[3, 0] = HOT[4, 0] = False
POSITIVES = {"single": [[3], [0], [], [8], [3]], "several": [[3, 5], [0, 1, 8], [], [8], [2, 3]]}
BOTH_PATHS = pytest.mark.parametrize("fused", [True, False], ids=["fused", "naive"])


def logits(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = 0.4 * torch.randn(*(shape or (ROWS, COLUMNS)), generator=generator, dtype=torch.float64)
    return drawn.to(dtype).requires_grad_()


def outcome(value: Tensor, *inputs: Tensor) -> list[Tensor]:
    """Return the value and the gradients of a sum in which each entry has another weight."""
    weight = torch.arange(1.0, value.numel() + 1, dtype=torch.float64).view(value.shape)
    return [value.detach(), *torch.autograd.grad((value * weight).sum(), inputs, retain_graph=True)]


def with_path(loss: RetrievalLoss, fused: bool | None) -> RetrievalLoss:
    if hasattr(loss, "fused") and getattr(loss, "exponent", None) is None:
        loss.fused = fused
    return loss


def looped(build, given: Tensor, positives: list[list[int]], *, mask=None, log_prob=None) -> Tensor:
    """Return the loss of each row by ``forward``, one positive at a time."""
    padding = mask if mask is not None and mask.dim() == 1 else torch.zeros(COLUMNS, dtype=torch.bool)
    ignored = padding.expand(given.shape) if mask is None or mask.dim() == 1 else mask
    rows = []
    for row, own in enumerate(positives):
        negative = [column for column in range(COLUMNS) if column not in own]
        draws = COLUMNS - int(padding.sum())
        size = draws
        options = {}
        if log_prob is not None:
            size, draws = N, sum(not padding[column] for column in negative)
            options = {"negative_log_prob": log_prob.expand(given.shape)[row, negative]}
        loss = with_path(build(num_items=size), False)
        found = [
            loss(
                given[row, column].unsqueeze(0),
                given[row, negative].unsqueeze(0),
                negative_mask=ignored[row, negative].unsqueeze(0),
                num_sampled=draws,
                **options,
            )
            for column in own
        ]
        rows.append(torch.stack(found).mean() if found else given.sum() * 0.0)
    return torch.stack(rows)


@pytest.fixture(params=[None, 20], ids=["one block", "blocks"])
def blocks(request, monkeypatch):
    if request.param is not None:
        monkeypatch.setattr(score_plan, "BLOCK_ON_CPU", request.param)


# --- cross-entropy ---------------------------------------------------------------------------------------


@BOTH_PATHS
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("build", [SoftmaxLoss, lambda **kwargs: CROLoss("exp", **kwargs)])
def test_is_cross_entropy(blocks, build, reduction, fused):
    loss = build(temperature=1.0, fused=fused, reduction=reduction)
    given = logits()
    expected = functional.cross_entropy(given, SINGLE, reduction=reduction)
    assert_same(outcome(loss.from_logits(given, SINGLE), given), outcome(expected, given))
    moved = torch.where(SINGLE == -100, 7, SINGLE)
    assert_same(outcome(loss.from_logits(given, moved, ignore_index=7), given), outcome(expected, given))
    one = loss.from_logits(given[0], SINGLE[0])
    assert_same([one], [functional.cross_entropy(given[0], SINGLE[0], reduction=reduction)])
    assert one.shape == ()


@BOTH_PATHS
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_positions_are_cross_entropy(blocks, reduction, fused):
    loss = SoftmaxLoss(1.0, fused=fused, reduction=reduction)
    second, labels = logits(3, COLUMNS, 4), torch.randint(0, COLUMNS, (3, 4))
    labels[0, :2] = labels[2] = -100
    expected = outcome(functional.cross_entropy(second, labels, reduction=reduction), second)
    last = second.transpose(1, 2)
    for given in (second, last, last.contiguous()):
        assert_same(outcome(loss.from_logits(given, labels), second), expected)
    assert_same(outcome(loss.from_logits(second, labels, class_dim=1), second), expected)
    assert_same(outcome(loss.from_logits(last, labels, class_dim=-1), second), expected)


def test_a_square_of_classes_and_positions_needs_class_dim():
    given, labels = logits(3, 4, 4), torch.randint(0, 4, (3, 4))
    loss = SoftmaxLoss(1.0)
    with pytest.raises(ValueError, match=r"say class_dim=-1 .* class_dim=1"):
        loss.from_logits(given, labels)
    second = functional.cross_entropy(given, labels)
    last = functional.cross_entropy(given.transpose(1, 2), labels)
    torch.testing.assert_close(loss.from_logits(given, labels, class_dim=1), second)
    for last_dim in (-1, 2):
        torch.testing.assert_close(loss.from_logits(given, labels, class_dim=last_dim), last)


# --- every loss against the loop -------------------------------------------------------------------------


def masks() -> dict[str, Tensor | None]:
    generator = torch.Generator().manual_seed(3)
    padding = torch.zeros(COLUMNS, dtype=torch.bool)
    padding[[0, 6]] = True
    return {
        "no mask": None,
        "padding": padding,
        "known": torch.rand(ROWS, COLUMNS, generator=generator) < 0.3,
    }


def log_probs() -> dict[str, Tensor | None]:
    drawn = torch.rand(ROWS, COLUMNS, generator=torch.Generator().manual_seed(4), dtype=torch.float64) * 3 - 5
    return {"whole": None, "logq": drawn[0], "logq by row": drawn}


@pytest.mark.parametrize("log_prob", log_probs())
@pytest.mark.parametrize("mask", masks())
@pytest.mark.parametrize("labels", ["single", "several"])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_the_loop_over_rows(monkeypatch, name, labels, mask, log_prob):
    monkeypatch.setattr(score_plan, "BLOCK_ON_CPU", 20)
    given, ignored, logq = logits(), masks()[mask], log_probs()[log_prob]
    kinds = [SINGLE] if labels == "single" else [SEVERAL, HOT, HOT.float()]
    rows = looped(LOSSES[name], given, POSITIVES[labels], mask=ignored, log_prob=logq)
    for fused in (True, False):
        for each in kinds:
            loss = with_path(LOSSES[name](num_items=N, reduction="none"), fused)
            found = loss.from_logits(given, each, mask=ignored, log_prob=logq)
            assert_same(outcome(found, given), outcome(rows, given))
        mean = with_path(LOSSES[name](num_items=N), fused)
        found = mean.from_logits(given, kinds[0], mask=ignored, log_prob=logq)
        assert_same(outcome(found, given), outcome(rows.sum() / 4, given))  # one of the five is ignored


@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize("kernel", TRAINABLE)
def test_both_paths_agree(blocks, kernel, importance):
    options = {"lambda_weight": 0.6, "lambda_kernel": other_kernel(kernel)} if "8" not in importance else {}
    for number, scaling in enumerate(SCALINGS):
        labels = SEVERAL if number else SINGLE
        logq = log_probs()["logq"] if number else None
        sides = []
        for fused in (True, False):
            loss = CROLoss(
                TRAINABLE[kernel](),
                IMPORTANCES[importance](),
                0.3,
                num_items=N,
                rank_scaling=scaling,
                fused=fused,
                **options,
            )
            given = logits(seed=number)
            value = loss.from_logits(given, labels, log_prob=logq, mask=masks()["known"])
            sides.append([*outcome(value, given), *loss.diagnostics.values()])
        assert_same(*sides)


@pytest.mark.parametrize("kernel", TRAINABLE)
def test_gradcheck(kernel):
    for labels, reduction in ((SINGLE, "mean"), (SEVERAL, "none")):
        loss = CROLoss(TRAINABLE[kernel](), PowerImportance(0.6), 0.4, fused=True, reduction=reduction)
        assert torch.autograd.gradcheck(
            lambda x, loss=loss, labels=labels: loss.from_logits(x, labels, mask=masks()["padding"]),
            logits(),
            fast_mode=True,
        )


@BOTH_PATHS
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_sample_weight(fused, reduction):
    weight = torch.tensor([0.5, 2.0, 7.0, 0.0, 1.5], dtype=torch.float64)
    for labels in (SINGLE, SEVERAL):
        given = logits()
        each = CROLoss(reduction="none", fused=False).from_logits(given, labels) * weight
        expected = {"none": each, "sum": each.sum(), "mean": each.sum() / 4.0}[reduction]
        loss = CROLoss(reduction=reduction, fused=fused)
        found = loss.from_logits(given, labels, sample_weight=weight)
        assert_same(outcome(found, given), outcome(expected, given))
    given, labels = logits(2, 3, COLUMNS), torch.tensor([[1, 2, -100], [4, -100, 8]])
    loss = CROLoss(reduction=reduction, fused=fused)
    by_user = loss.from_logits(given, labels, sample_weight=weight[:2])
    by_position = loss.from_logits(given, labels, sample_weight=weight[:2].unsqueeze(1).expand(2, 3))
    assert_same(outcome(by_user, given), outcome(by_position, given))


# --- the same as from_embeddings -------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_drawn_columns_are_in_batch_negatives(name):
    users, items = logits(6, 3), logits(6, 3, seed=1)
    counts = torch.arange(1, 7)
    loss = LOSSES[name](num_items=6)
    expected = loss.in_batch(users, items, item_ids=torch.arange(6), item_counts=counts)
    log_prob = (counts.double() / counts.sum()).log()
    found = loss.from_logits(users @ items.T, torch.arange(6), log_prob=log_prob)
    expected = outcome(expected, users, items)  # whose log q are in float32
    assert_same(outcome(found, users, items), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_the_catalogue_is_that_of_from_embeddings(name):
    users, items = logits(4, 3), logits(COLUMNS, 3, seed=1)
    targets = torch.tensor([2, 9, 1, 2])
    loss = LOSSES[name](num_items=COLUMNS)
    ids = torch.arange(1, COLUMNS + 1)
    expected = loss.from_embeddings(users, items[targets - 1], items, target_ids=targets, candidate_ids=ids)
    found = loss.from_logits(users @ items.T, targets - 1)
    assert_same(outcome(found, users, items), outcome(expected, users, items))
    # ids from 1, with a padding column that is no item
    padded = torch.cat([torch.full((1, 3), 9.0, dtype=torch.float64), items])
    found = loss.from_logits(users @ padded.T, targets, mask=torch.arange(COLUMNS + 1) == 0)
    assert_same(outcome(found, users, items), outcome(expected, users, items))


# --- edges -----------------------------------------------------------------------------------------------


@BOTH_PATHS
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nothing_to_compare_is_zero_and_not_nan(fused, reduction):
    loss = CROLoss("exp", fused=fused, reduction=reduction)
    everything = torch.ones(COLUMNS, dtype=torch.bool)
    cases = [
        (logits(), torch.full((ROWS,), -100), None),
        (logits(), torch.full((ROWS, 2), -100), None),
        (logits(), torch.zeros(ROWS, COLUMNS, dtype=torch.bool), None),
        (logits(), SINGLE, everything),
        (logits(0, COLUMNS), torch.zeros(0, dtype=torch.long), None),
        (logits(ROWS, 1), torch.zeros(ROWS, dtype=torch.long), None),
    ]
    for given, labels, mask in cases:
        value = loss.from_logits(given, labels, mask=mask)
        assert value.shape == (given.shape[:1] if reduction == "none" else ())
        value.sum().backward()
        assert (value == 0).all()
        assert (given.grad == 0).all()


@BOTH_PATHS
@pytest.mark.parametrize("low", [-math.inf, -1e9, torch.finfo(torch.float32).min])
@pytest.mark.parametrize("kernel", TRAINABLE)
def test_logits_that_a_framework_masked(blocks, kernel, low, fused):
    given = logits(dtype=torch.float32)
    hidden = masks()["known"] & ~HOT
    hidden[1] = ~HOT[1]  # nothing is left to compare with
    for labels in (SINGLE, SEVERAL):
        loss = CROLoss(TRAINABLE[kernel](), temperature=0.05, fused=fused)
        low_logits = given.masked_fill(hidden, low)
        if labels is SINGLE:
            low_logits = torch.where(HOT & (torch.arange(ROWS) == 1).unsqueeze(1), given, low_logits)
        found = outcome(loss.from_logits(low_logits, labels), given)
        expected = outcome(loss.from_logits(given, labels, mask=hidden), given)
        assert all(bool(value.isfinite().all()) for value in found)
        assert_same(found, expected, rtol=1e-5, atol=1e-7)


def test_a_positive_may_be_masked():
    given, mask = logits(), masks()["known"]
    expected = outcome(CROLoss().from_logits(given, SINGLE, mask=mask & ~HOT), given)
    hit = mask | functional.one_hot(SINGLE.clamp(min=0), COLUMNS).bool()
    other = outcome(CROLoss().from_logits(given, SINGLE, mask=hit & ~(HOT & ~hit)), given)
    assert_same(other, outcome(CROLoss().from_logits(given, SINGLE, mask=mask), given))
    assert expected[0].isfinite()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_any_integer_type(dtype):
    given, labels = logits(), torch.tensor([3, 0, 1, 8, 3])
    expected = CROLoss().from_logits(given, labels)
    assert CROLoss().from_logits(given, labels.to(dtype)) == expected
    several = labels.unsqueeze(1).to(dtype)
    torch.testing.assert_close(CROLoss().from_logits(given, several), expected)


@BOTH_PATHS
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_a_type_that_cannot_hold_the_number_of_columns(dtype, several, fused):
    columns = 2 ** (8 * dtype.itemsize) + 9 if dtype.itemsize < 4 else 40  # ignore_index comes round to one
    labels = torch.tensor([[3, 4], [0, 120], [1, 9]] if several else [3, 120, 1])
    if dtype == torch.uint8:
        labels = labels.masked_fill(labels == 120, 156)  # −100 + 256
    elif dtype == torch.int32:
        labels = labels.masked_fill(labels == 120, -100)
    else:
        labels = labels.masked_fill(labels == 1, -100)
    given, loss = logits(3, columns), CROLoss("exp", fused=fused, reduction="none")
    expected = loss.from_logits(given, labels)
    assert torch.equal(loss.from_logits(given, labels.to(dtype)), expected)
    assert ((expected != 0) == (labels.view(3, -1) != -100).any(1)).all()
    if not several:  # as on a device
        compiled = torch.compile(loss.from_logits, backend="eager", dynamic=False)
        torch.testing.assert_close(compiled(given, labels.to(dtype)), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("labels", [SINGLE, SEVERAL], ids=["single", "several"])
@pytest.mark.parametrize("kernel", ["exp", "softplus", "sigmoid"])
def test_half_precision(kernel, labels, dtype):
    given = logits().detach().to(dtype).requires_grad_()
    exact = given.detach().double().requires_grad_()
    expected = outcome(CROLoss(kernel).from_logits(exact, labels), exact)
    for fused in (True, False):
        value, gradient = outcome(CROLoss(kernel, fused=fused).from_logits(given, labels), given)
        assert (value.dtype, gradient.dtype) == (torch.float32, dtype)
        torch.testing.assert_close(value.double(), expected[0], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(gradient.double(), expected[1], rtol=2e-2, atol=1e-4)


def test_a_loss_scaler_works():
    """Gradients below the smallest half must survive until they are scaled."""
    given = (1e-3 * logits(64, 3000)).detach().half().requires_grad_()
    labels = torch.arange(64)
    value = CROLoss(fused=True).from_logits(given, labels)
    (gradient,) = torch.autograd.grad(2.0**16 * value, given)
    exact = given.detach().double().requires_grad_()
    _, expected = outcome(CROLoss().from_logits(exact, labels), exact)
    assert expected[0, 1].abs() < torch.finfo(torch.float16).tiny
    assert (gradient.double() / 2**16 - expected).norm() < 1e-3 * expected.norm()


def test_autocast_keeps_float32():
    given = logits(dtype=torch.float32)
    for fused in (True, False):
        loss = CROLoss("exp", fused=fused)
        expected = outcome(loss.from_logits(given, SEVERAL), given)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = loss.from_logits(given, SEVERAL)
        assert_same(outcome(found, given), expected, rtol=0)


def test_large_scores_and_ties():
    """A step counts ties; differences of scores far from 0 stay exact."""
    given = torch.tensor([[0.1, 0.1, 0.3, 0.1, -0.2]]).add(10.0).requires_grad_()
    sides = []
    for fused in (True, False):
        loss = CROLoss(
            "softplus", lambda_weight=1.0, lambda_kernel="heaviside", temperature=0.07, fused=fused
        )
        sides.append(outcome(loss.from_logits(given, torch.tensor([1])), given))
    assert_same(*sides, rtol=1e-5)
    huge = (1e4 * logits(dtype=torch.float32)).detach().requires_grad_()
    for kernel in TRAINABLE:
        sides = [
            outcome(CROLoss(TRAINABLE[kernel](), fused=fused).from_logits(huge, SEVERAL), huge)
            for fused in (True, False)
        ]
        assert all(bool(value.isfinite().all()) for value in sides[0])
        assert_same(*sides, rtol=1e-4, atol=1e-5)


def test_second_derivatives():
    given = logits()
    with pytest.raises(RuntimeError, match=r"no second derivative.*fused=False"):
        torch.autograd.grad(CROLoss().from_logits(given, SINGLE), given, create_graph=True)
    loss = CROLoss(fused=False)
    assert torch.autograd.gradgradcheck(lambda x: loss.from_logits(x, SINGLE), given)


def test_backward_twice_and_accumulation():
    given = logits()
    value = CROLoss().from_logits(given, SEVERAL)
    (first,) = torch.autograd.grad(value, given, retain_graph=True)
    copy = first.clone()
    value.backward(retain_graph=True)
    (3.0 * value).backward()
    torch.testing.assert_close(given.grad, 4.0 * copy)
    assert torch.equal(first, copy)


def test_value_alone_computes_no_slope(monkeypatch):
    loss = CROLoss("softplus")
    expected = loss.from_logits(logits(), SEVERAL).detach()  # a first call is looked at, slopes too
    monkeypatch.setattr(TRAINABLE["softplus"], "slope_", None)  # not called
    with torch.no_grad():
        value = loss.from_logits(logits(), SEVERAL)
    assert not value.requires_grad
    torch.testing.assert_close(value, expected)
    assert not loss.from_logits(logits().detach(), SEVERAL).requires_grad


def test_log_prob_with_a_gradient_takes_the_naive_path():
    log_prob = log_probs()["logq"].requires_grad_()
    value = CROLoss(num_items=N).from_logits(logits(), SINGLE, log_prob=log_prob)
    assert torch.autograd.grad(value, log_prob)[0].abs().sum() > 0
    with pytest.raises(ValueError, match="with fused=True log_prob"):
        CROLoss(num_items=N, fused=True).from_logits(logits(), SINGLE, log_prob=log_prob)


@pytest.mark.slow
@pytest.mark.parametrize("fused", [None, False])
def test_a_compiled_function_around_it(fused):
    torch.compiler.reset()
    loss, given = CROLoss("exp", fused=fused), logits(dtype=torch.float32)
    for labels in (SINGLE, SEVERAL):
        expected = outcome(loss.from_logits(2 * given, labels), given)
        compiled = torch.compile(lambda x, y: loss.from_logits(2 * x, y), backend="eager")
        assert_same(outcome(compiled(given, labels), given), expected, rtol=1e-5, atol=1e-7)


# --- mistakes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "options", "match"),
    [
        (torch.zeros(ROWS, COLUMNS).long(), {}, r"could be class indices or multi-hot.*labels\.bool\(\)"),
        (HOT.int(), {}, r"labels\.bool\(\)"),
        (HOT * 0.5, {}, "must be 0 or 1, got 0.5"),
        (torch.zeros(ROWS), {}, r"floating labels are multi-hot.*labels\.long\(\)"),
        (HOT[:, :3], {}, "bool labels are multi-hot"),
        (torch.zeros(ROWS + 1).long(), {}, r"labels of logits \(5, 9\) must be"),
        (torch.zeros(ROWS, 2, 2).long(), {}, "labels of logits"),
        (torch.full((ROWS,), COLUMNS), {}, r"from 0 to 8.*got 9 at \[0\].*labels - 1"),
        (torch.tensor([0, 1, 2, -1, 0]), {}, r"ignore_index=-100; got -1 at \[3\]"),
        (torch.tensor([[0, 1], [2, 30], [0, 0], [0, 0], [0, 0]]), {}, r"got 30 at \[1, 1\]"),
        (SINGLE, {"class_dim": 0}, "class_dim must be -1 or 1, got 0"),
        (SINGLE, {"mask": torch.zeros(COLUMNS)}, r"mask must be bool, True = ignore.*mask\.bool\(\)"),
        (
            SINGLE,
            {"mask": torch.zeros(ROWS).bool()},
            r"mask must be \(C,\)=\(9,\) or like the logits \(5, 9\)",
        ),
        (SINGLE, {"sample_weight": torch.ones(COLUMNS)}, "sample_weight must be"),
        (SINGLE, {"log_prob": torch.zeros(COLUMNS)}, "log_prob needs the size of the catalogue"),
    ],
)
def test_mistakes_get_a_sentence(labels, options, match):
    with pytest.raises(ValueError, match=match):
        CROLoss().from_logits(logits(), labels, **options)


def test_what_is_no_tensor_or_no_logits():
    with pytest.raises(TypeError, match=r"labels must be a tensor .*, got list: torch\.as_tensor\(labels\)"):
        CROLoss().from_logits(logits(), [1, 2, 3, 4, 5])
    with pytest.raises(TypeError, match="mask must be a tensor"):
        CROLoss().from_logits(logits(), SINGLE, mask=[True] * COLUMNS)
    with pytest.raises(ValueError, match="are logits and labels exchanged"):
        CROLoss().from_logits(SINGLE, logits())
    with pytest.raises(ValueError, match=r"logits must be \(B, C\), \(B, L, C\) or \(B, C, L\)"):
        CROLoss().from_logits(logits(2, 3, 4, 5), torch.zeros(2, 3, 4).long())
    with pytest.raises(ValueError, match=r"log_prob must be \(C,\)"):
        CROLoss(num_items=N).from_logits(logits(), SINGLE, log_prob=torch.zeros(4))
    with pytest.raises(TypeError, match=r"ignore_index must be an integer .* got None"):
        CROLoss().from_logits(logits(), SINGLE, ignore_index=None)
    with pytest.raises(TypeError, match="class_dim must be -1, 1 or None, got 'last'"):
        CROLoss().from_logits(logits(), SINGLE, class_dim="last")
    for number in (torch.zeros(COLUMNS, dtype=torch.bool), torch.zeros(COLUMNS).long()):
        with pytest.raises(ValueError, match="log_prob must be floating-point"):
            CROLoss(num_items=N).from_logits(logits(), SINGLE, log_prob=number)
    for name in ("mask", "log_prob", "sample_weight"):
        elsewhere = torch.zeros(COLUMNS, device="meta", dtype=torch.bool if name == "mask" else None)
        with pytest.raises(ValueError, match=f"{name} must be on the device of logits, cpu, got meta"):
            CROLoss(num_items=N).from_logits(logits(), SINGLE, **{name: elsewhere})
    with pytest.raises(TypeError, match="logits must be a dense tensor"):
        CROLoss().from_logits(logits().to_sparse(), SINGLE)
    for class_dim in (1, -1):
        with pytest.raises(ValueError, match="labels of logits"):
            CROLoss().from_logits(logits(3, 4, 5), torch.zeros(3, 6).long(), class_dim=class_dim)


def messages(loss: RetrievalLoss, **options: object) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            loss.from_logits(logits(), SINGLE, **options)
    return [str(warning.message) for warning in caught]


@BOTH_PATHS
@pytest.mark.parametrize("name", LOSSES)
def test_says_once_that_the_columns_are_not_the_catalogue(name, fused):
    def loss(size):
        return with_path(LOSSES[name](num_items=size), fused)

    (message,) = messages(loss(COLUMNS - 1))
    assert "have 9 columns" in message
    assert "num_items is 8: mask the columns that are no items" in message
    (message,) = messages(loss(COLUMNS + 3))
    assert "give log_prob" in message
    padding = torch.arange(COLUMNS) == 0
    assert messages(loss(COLUMNS - 1), mask=padding) == []
    assert messages(loss(COLUMNS)) == []
    assert messages(loss(None)) == []


def test_positions_of_masks_and_log_prob():
    """Masks and logQ lie as the logits do, or are the same for all positions of a row."""
    last, labels = logits(2, 3, COLUMNS), torch.tensor([[1, 2, -100], [4, -100, 8]])
    mask = torch.rand(2, 3, COLUMNS) < 0.4
    logq = torch.rand(2, 3, COLUMNS).double() * 3 - 5
    loss = CROLoss(num_items=N)
    flat = loss.from_logits(
        last.flatten(0, 1), labels.flatten(), mask=mask.flatten(0, 1), log_prob=logq.flatten(0, 1)
    )
    found = loss.from_logits(last, labels, mask=mask, log_prob=logq)
    second = loss.from_logits(
        last.transpose(1, 2), labels, mask=mask.transpose(1, 2), log_prob=logq.transpose(1, 2)
    )
    assert_same([found, second], [flat, flat])
    by_user = loss.from_logits(last, labels, mask=mask[:, 0], log_prob=logq[:, 0])
    spread = loss.from_logits(
        last, labels, mask=mask[:, :1].expand_as(mask), log_prob=logq[:, :1].expand_as(logq)
    )
    torch.testing.assert_close(by_user, spread)
    hot = torch.zeros(2, 3, COLUMNS, dtype=torch.bool)
    for row, column, label in ((0, 0, 1), (0, 1, 2), (1, 0, 4), (1, 2, 8)):
        hot[row, column, label] = True
    expected = loss.from_logits(last, labels)
    torch.testing.assert_close(loss.from_logits(last, hot), expected)
    second_hot = loss.from_logits(last.transpose(1, 2), hot.transpose(1, 2), class_dim=1)
    torch.testing.assert_close(second_hot, expected)
    torch.testing.assert_close(loss.from_logits(last, labels.unsqueeze(-1)), expected)


def test_the_block_of_the_page():
    page = (Path(__file__).parents[2] / "docs" / "loss.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (block,) = (block for block in blocks if "from_logits" in block)
    names: dict[str, object] = {}
    exec(compile(block, "docs/loss.md", "exec"), names)
    assert float(names["value"]) > 0
    assert names["logits"].grad[:, 0].abs().sum() == 0
