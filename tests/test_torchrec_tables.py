"""The example over a table of TorchRec: the same steps and ranks as one process with a plain table.

TorchRec pins an older torchmetrics, so CI runs this in an environment of its own, installed by the lines of
docs/scale.md.
"""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from torch.nn.functional import embedding, normalize

from lightning_croloss import CROLoss
from lightning_croloss.models.layers import mlp, pool_history
from lightning_croloss.retrieval import target_ranks
from tests.distributed import run_distributed

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "examples" / "torchrec_tables.py"
ITEMS, DIM, ROWS, LENGTH, DRAWN, STEPS, LR = 102, 16, 6, 4, 40, 3, 0.1


def documented_lines() -> list[str]:
    """Return the lines of docs/scale.md that install TorchRec."""
    section = (ROOT / "docs" / "scale.md").read_text().split("\n## TorchRec\n")[1].split("\n## ")[0]
    return re.findall(r"^pip install .*$", section, flags=re.MULTILINE)


def pinned() -> dict[str, str]:
    """Return the versions of those lines that are exact."""
    return dict(re.findall(r"([\w-]+)==([\w.]+)", " ".join(documented_lines())))


@pytest.fixture
def torchrec_installed() -> None:
    for package in ("torchrec", "fbgemm-gpu-cpu"):
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            pytest.skip(f"needs {package}, in an environment of its own by the lines of docs/scale.md")
    found = {package: metadata.version(package).split("+")[0] for package in pinned()}
    assert found == pinned(), "other versions than docs/scale.md says: try them, then change the lines there"


def test_the_documented_lines_leave_torchmetrics_alone() -> None:
    lines = documented_lines()
    assert pinned().keys() == {"torch", "torchrec", "fbgemm-gpu-cpu"}
    assert all("--no-deps" in line for line in lines if "torchrec" in line or "fbgemm" in line)
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    (alone,) = (line for line in lines if "--no-deps" in line)
    assert f"- run: {alone}\n" in workflow
    assert f"torch=={pinned()['torch']}\n" in (ROOT / "constraints.txt").read_text()


def batches(rank: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return histories with padding and repeats, targets and draws of a process, some of them hits."""
    generator = torch.Generator().manual_seed(rank)

    def ids(first: int, *size: int) -> Tensor:
        return torch.randint(first, ITEMS + 1, size, generator=generator)

    return [(ids(0, ROWS, LENGTH) // 3 * 3, ids(1, ROWS), ids(1, DRAWN)) for _ in range(STEPS)]


def trained(rank: int, world_size: int) -> dict[str, Any]:
    """Train a few steps as the example does; return what it started from and what came out."""
    example = runpy.run_path(str(SCRIPT))
    torch.manual_seed(rank)
    device = torch.device("cpu")
    looked_up = ROWS * (LENGTH + 1) + DRAWN
    model, optimizer = example["sharded"](example["YouTubeDNN"](ITEMS, DIM, device), device, LR, looked_up)
    loss = CROLoss(n=20, temperature=0.1, num_items=ITEMS)

    def state() -> tuple[list[Tensor], dict[str, Tensor]]:
        table = model.state_dict()["tables.embeddings.item.weight"].local_shards()[0].tensor
        parts: list[Any] = [None] * world_size
        distributed.all_gather_object(parts, table.clone())
        return parts, {name: weight.clone() for name, weight in model.module.user_layers.state_dict().items()}

    before, values = state(), []
    for history, targets, drawn in batches(rank):
        value = loss.from_embeddings(*model(history, targets, drawn), target_ids=targets, candidate_ids=drawn)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    history, targets, _ = batches(rank)[0]
    (of_table,) = model.fused_optimizer.state_dict()["state"].values()
    squares: list[Any] = [None] * world_size
    distributed.all_gather_object(squares, of_table["item.momentum1"].local_shards()[0].tensor.clone())
    return {
        "before": before,
        "after": state(),
        "losses": values,
        "ranks": example["ranks"](model, history, targets),
        "state": {name: tuple(value.size()) for name, value in of_table.items()},
        "squares": torch.cat(squares),
    }


def trained_in_one(table: Tensor, layers: dict[str, Tensor], world_size: int) -> Any:
    """Return table, state, layers, losses and what encodes users: a plain table and row-wise Adagrad."""
    dense = mlp(DIM, [2 * DIM], DIM, dropout=0.0)
    dense.load_state_dict(layers)
    adam = torch.optim.Adam(dense.parameters(), lr=0.003)
    table = table.clone().requires_grad_()
    squares = torch.zeros(len(table), 1)
    loss = CROLoss(n=20, temperature=0.1, num_items=ITEMS)

    def users(history: Tensor) -> Tensor:
        return normalize(dense(pool_history(embedding(history, table), history != 0, "mean")), dim=-1)

    losses = []
    for parts in zip(*(batches(rank) for rank in range(world_size)), strict=True):
        values = [
            loss.from_embeddings(
                users(history),
                normalize(table[targets], dim=-1),
                normalize(table[drawn], dim=-1),
                target_ids=targets,
                candidate_ids=drawn,
            )
            for history, targets, drawn in parts
        ]
        (gradient, *others) = torch.autograd.grad(torch.stack(values).mean(), [table, *dense.parameters()])
        for weight, grad in zip(dense.parameters(), others, strict=True):
            weight.grad = grad
        adam.step()
        with torch.no_grad():
            squares += gradient.square().mean(1, keepdim=True)
            table -= LR * gradient / (squares.sqrt() + 1e-8)
        losses.append([value.item() for value in values])
    return table.detach(), squares.squeeze(1), dense.state_dict(), losses, users


@pytest.mark.slow
@pytest.mark.usefixtures("torchrec_installed")
def test_two_processes_train_and_rank_as_one() -> None:
    results = run_distributed(trained, 2)
    (parts, layers), (parts_after, layers_after) = results[0]["before"], results[0]["after"]
    assert [len(part) for part in parts] == [52, 51]  # 103 rows, uneven shards
    start = torch.cat(parts)
    assert start.std() == pytest.approx(DIM**-0.5, rel=0.1)
    assert results[0]["state"] == {"item.momentum1": (ITEMS + 1,)}

    table, squares, dense, losses, users = trained_in_one(start, layers, 2)
    for rank, result in enumerate(results):
        assert result["losses"] == pytest.approx([of_step[rank] for of_step in losses], rel=1e-4)
    after = torch.cat(parts_after)
    assert (after - start).abs().max() > 0.1
    torch.testing.assert_close(after, table, rtol=1e-3, atol=1e-4)
    # neither Adagrad nor Adam minds by what a gradient is multiplied, but this does
    torch.testing.assert_close(results[0]["squares"], squares, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(layers_after, dict(dense), rtol=1e-3, atol=1e-4)

    for rank, result in enumerate(results):
        history, targets, _ = batches(rank)[0]
        with torch.no_grad():
            expected = target_ranks(
                users(history).unsqueeze(1), normalize(table[1:], dim=-1), targets.unsqueeze(1)
            )
        assert torch.equal(result["ranks"], expected)


@pytest.mark.slow
@pytest.mark.usefixtures("torchrec_installed")
def test_the_script_learns(tmp_path: Path) -> None:
    command = ["--standalone", "--nproc-per-node=2", str(SCRIPT), "--epochs=2"]
    run = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    recall = dict(re.findall(r"^(before|after): recall@\d+ ([\d.]+)$", run.stdout, flags=re.MULTILINE))
    losses = [float(value) for value in re.findall(r"\bloss ([\d.]+)", run.stdout)]
    assert float(recall["before"]) < 0.1
    assert float(recall["after"]) > 0.4
    assert losses[-1] < 0.8 * losses[0]
    assert not list(tmp_path.iterdir()), "the example leaves files behind"
