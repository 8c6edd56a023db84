"""Which path a loss takes, and that it behaves alike on both."""

import pytest
import torch
from torch import nn

from lightning_croloss.common import triton_switch
from lightning_croloss.losses import (
    BPRLoss,
    CROLoss,
    SoftmaxLoss,
    TargetNImportance,
)
from lightning_croloss.losses.fused import loss as fused_module
from tests.losses.fused.cases import (
    COLUMNS,
    QUIET,
    ROWS,
    N,
    vectors,
)

pytestmark = QUIET


def calls_of_fused(monkeypatch):
    calls = []
    real = fused_module.fused_loss
    monkeypatch.setattr(fused_module, "fused_loss", lambda *a, **k: calls.append(1) or real(*a, **k))
    return calls


@pytest.mark.parametrize("cls", [CROLoss, SoftmaxLoss])
def test_the_path_is_chosen(monkeypatch, cls):
    calls = calls_of_fused(monkeypatch)
    monkeypatch.setattr(fused_module, "FEWEST_SCORES", ROWS * COLUMNS)
    shared = vectors()
    by_row = (*shared[:2], torch.randn(ROWS, COLUMNS, 3, dtype=torch.float64))
    log_prob = torch.zeros(COLUMNS, requires_grad=True)

    def takes_fused(fused, inputs, **options):
        calls.clear()
        cls(num_items=N, fused=fused).from_embeddings(*inputs, **options)
        return bool(calls)

    assert takes_fused(None, shared)
    assert takes_fused(True, shared)
    assert not takes_fused(False, shared)
    assert not takes_fused(None, by_row)
    assert not takes_fused(None, shared, candidate_log_prob=log_prob)
    assert not takes_fused(True, (*shared[:2], torch.zeros(0, 3, dtype=torch.float64)))
    monkeypatch.setattr(fused_module, "FEWEST_SCORES", ROWS * COLUMNS + 1)
    assert not takes_fused(None, shared)
    for inputs, options in ((by_row, {}), (shared, {"candidate_log_prob": log_prob})):
        with pytest.raises(ValueError, match="with fused=True candidate"):
            takes_fused(True, inputs, **options)


@pytest.mark.parametrize(
    ("dtype", "precision", "width", "fewest"),
    [
        (torch.bfloat16, "highest", 512, "FEWEST_ON_GPU"),
        (torch.bfloat16, "highest", 513, "FEWEST_WITHOUT_KERNELS"),
        (torch.float16, "high", 64, "FEWEST_WITHOUT_KERNELS"),
        (torch.float32, "highest", 64, "FEWEST_WITHOUT_KERNELS"),
        (torch.float32, "high", 128, "FEWEST_ON_GPU"),
        (torch.float32, "high", 256, "FEWEST_WITHOUT_KERNELS"),
    ],
)
def test_the_path_on_a_gpu_follows_what_its_kernels_are_good_at(monkeypatch, dtype, precision, width, fewest):
    monkeypatch.setattr(triton_switch, "_is_installed", lambda: True)
    monkeypatch.setattr(triton_switch, "_is_able", lambda index: True)
    monkeypatch.delenv(triton_switch.VARIABLE, raising=False)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: precision)

    class OnGPU:
        """Vectors that say that they are on a GPU."""

        device, is_cpu, shape = torch.device("cuda", 0), False, (4, width)

        def __init__(self):
            self.dtype = dtype

    found = fused_module.fewest_scores(OnGPU(), OnGPU())
    assert found == getattr(fused_module, fewest)
    assert fused_module.fewest_scores(torch.zeros(1, 2), torch.zeros(1, 2)) == fused_module.FEWEST_SCORES
    with triton_switch.triton_kernels(True):
        assert fused_module.fewest_scores(OnGPU(), OnGPU()) == fused_module.FEWEST_ON_GPU


def test_other_losses_keep_the_naive_path():
    loss = BPRLoss(num_items=N)
    loss.fused = True
    assert loss.from_embeddings(*vectors()).requires_grad


def test_no_candidates_mean_no_loss():
    users, positives, _ = vectors()
    value = CROLoss(fused=True).from_embeddings(users, positives, torch.zeros(0, 3, dtype=torch.float64))
    assert value == 0
    assert (torch.autograd.grad(value, users)[0] == 0).all()


def test_shapes_that_do_not_fit():
    users, positives, candidates = vectors()
    loss = CROLoss(num_items=N, fused=True)
    with pytest.raises(ValueError, match=r"users and positives must be \(B, D\)"):
        loss.from_embeddings(users, positives[:3], candidates)
    with pytest.raises(ValueError, match="candidate_log_prob must be"):
        loss.from_embeddings(users, positives, candidates, candidate_log_prob=torch.zeros(3))
    with pytest.raises(ValueError, match="sample_weight must be"):
        loss.from_embeddings(users, positives, candidates, sample_weight=torch.ones(3))
    with pytest.raises(ValueError, match="num_sampled must be"):
        loss.from_embeddings(users, positives, candidates, num_sampled=torch.ones(3))


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Linear(3, 4), nn.Embedding(COLUMNS, 4)
        self.loss = CROLoss(num_items=N, fused=True)

    def forward(self, users, targets):
        items = nn.functional.normalize(self.item.weight, dim=1)
        vectors = nn.functional.normalize(self.user(users), dim=1)
        ids = torch.arange(1, COLUMNS + 1)
        return self.loss.from_embeddings(
            vectors, items[targets - 1], items, target_ids=targets, candidate_ids=ids
        )


@pytest.mark.slow
def test_a_compiled_model_around_it():
    torch.compiler.reset()
    torch.manual_seed(0)
    model = Towers()
    users, targets = torch.randn(5, 3), torch.tensor([3, 1, 9, 9, 10])
    model(users, targets).backward()
    expected = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    torch.compile(model, backend="eager")(users, targets).backward()
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_diagnostics_and_warnings_as_in_the_naive_path():
    inputs = vectors(scale=20.0)
    with pytest.warns(UserWarning, match="kernel .sigmoid. is flat"):
        CROLoss(temperature=0.01, fused=True).from_embeddings(*inputs)
    with pytest.warns(UserWarning, match="10 negatives are drawn out of 3 items"):
        CROLoss(num_items=3, fused=True).from_embeddings(*vectors())
    with pytest.warns(UserWarning, match="n=2 is below"):
        CROLoss(importance=TargetNImportance(2), num_items=100, fused=True).from_embeddings(*vectors())
