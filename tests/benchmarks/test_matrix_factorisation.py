"""The published matrix-factorisation protocol: one run of it on a small table, and the report of its rows."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.common.packed import unpacked
from benchmarks.common.rows import append_row, failed_row, identity, rows_of
from benchmarks.matrix_factorisation import protocol
from benchmarks.matrix_factorisation.__main__ import RESULTS
from benchmarks.matrix_factorisation.choosing import SEEDS, chosen, finals, run_of, trials
from benchmarks.matrix_factorisation.protocol import PUBLISHED, build_data, build_model, divided
from benchmarks.matrix_factorisation.report import report
from benchmarks.matrix_factorisation.runs import ranks_of, seen_items, work
from benchmarks.matrix_factorisation.sides import AUTHORS, TRIALS, build_loss
from lightning_croloss import BSLLoss, MatrixFactorization

polars = pytest.importorskip("polars")
NUM_USERS, NUM_ITEMS = 40, 60


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two tastes: users like items of their own half."""
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("data")
    (folder / "mf_health").mkdir()
    half = NUM_ITEMS // 2
    liked = [random.permutation(half)[:16] + half * (user % 2) for user in range(NUM_USERS)]
    for name, part in (("train", slice(0, 12)), ("test", slice(12, 16))):
        pairs = [(user, item) for user, items in enumerate(liked) for item in items[part]]
        table = polars.DataFrame(pairs, schema=["user_id", "item_id"], orient="row")
        table.write_parquet(folder / "mf_health" / f"{name}.parquet")
    return folder


@pytest.fixture(scope="module")
def rows(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results") / "rows.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "EPOCHS", 10)
        patch.setattr(protocol, "BATCH_SIZE", 64)
        patch.setattr(protocol, "NUM_NEGATIVES", 100)
        asked = [run_of("mf_health", side, settings[0]) for side, settings in TRIALS.items()]
        asked.append(run_of("mf_health", "CROLoss", TRIALS["CROLoss"][0], 1))
        for settings in asked:
            row = work(settings, str(source), str(path.parent / "parts"))
            append_row(path, {"settings": settings, **row})
    return path


def test_a_tenth_of_each_users_items_is_held_out_and_never_none() -> None:
    pairs = np.array([(user, item) for user in (0, 1, 2) for item in range((5, 19, 20)[user])])
    train, valid = divided(pairs, seed=3)
    assert np.bincount(valid[:, 0]).tolist() == [1, 1, 2]
    assert sorted(map(tuple, np.concatenate([train, valid]))) == sorted(map(tuple, pairs))
    assert (divided(pairs, seed=3)[1] == valid).all()
    assert any((divided(pairs, seed=seed)[1] != valid).any() for seed in range(5))


def test_every_side_learns_the_tastes_and_is_measured(rows: Path) -> None:
    for row in rows_of(rows).values():
        assert len(row["valid"]) == 2
        assert row["epoch"] in (5, 10)
        # 26 items of a user's half are neither training nor validation, 60 − 11 by chance
        assert row["published"]["recall"] > 0.6
        assert row["left_out"]["recall"] >= row["published"]["recall"]
        users = unpacked(row["users"]["recall"], "float16")
        assert len(users) == NUM_USERS
        assert users.mean(dtype=float) == pytest.approx(row["published"]["recall"], abs=1e-3)


def test_ranks_leave_out_what_was_seen(source: Path, tmp_path: Path) -> None:
    data = build_data(source / "mf_health", tmp_path, 0)
    model = build_model(data, BSLLoss(0.2), 0.1)
    # no trainer: the model is given its data as the trainer would give it
    data.prepare_data()
    data.setup("test")
    model.trainer = type("Trainer", (), {"datamodule": data})()  # type: ignore[assignment]
    seen, matrix = seen_items(model), model.encode_catalogue()
    assert (seen["train"] != 0).sum() == NUM_USERS * 11
    assert (seen["train and validation"] != 0).sum() == NUM_USERS * 12
    for name, out in seen.items():
        for batch in data.test_dataloader():
            ranks = ranks_of(model, matrix, [batch], out)
            scores = model.encode_users(batch)[:, 0] @ matrix.T
            for user, targets, own, found in zip(
                batch.users, batch.padded_targets, scores, ranks, strict=True
            ):
                candidates = set(range(1, NUM_ITEMS + 1)) - set(out[user].tolist())
                for target, rank in zip(targets.tolist(), found.tolist(), strict=True):
                    better = sum(bool(own[item - 1] >= own[target - 1]) for item in candidates - {target})
                    assert rank == better + 1, name


def test_the_rate_is_that_of_vectors_of_deviation_1(source: Path, tmp_path: Path) -> None:
    data = build_data(source / "mf_health", tmp_path, 0)
    model = build_model(data, BSLLoss(0.2), 0.1)
    assert isinstance(model, MatrixFactorization)
    (group,) = model._optimization.build(model.parameters(), []).param_groups  # type: ignore[union-attr]
    deviation = float(model.item_embedding.weight[1:].detach().std())
    assert group["lr"] / deviation == pytest.approx(0.1, rel=0.1)


def test_softmax_is_the_published_one() -> None:
    random = torch.Generator().manual_seed(0)
    own, others = torch.randn(5, generator=random), torch.randn(5, 7, generator=random)
    distance = (others - own.unsqueeze(1)) / 0.2
    published = build_loss("softmax", {"rate": 0.1, "temperature": 0.2})(own, others)
    torch.testing.assert_close(published, distance.exp().sum(1).log().mean())
    usual = build_loss("softmax", {"rate": 0.1, "temperature": 0.2, "positive": True})(own, others)
    torch.testing.assert_close(usual, (1 + distance.exp().sum(1)).log().mean())


def test_sides_have_as_many_trials() -> None:
    assert len({len(settings) for settings in TRIALS.values()}) == 1
    for side in TRIALS.values():
        assert len({json.dumps(setting) for setting in side}) == len(side)
        for setting in side:
            assert setting["rate"] > 0


@pytest.mark.parametrize("data", AUTHORS)
def test_the_authors_settings_are_run_first(data: str) -> None:
    runs = trials(data, TRIALS)
    assert [run["side"] for run in runs[: len(TRIALS)]] == list(TRIALS)
    assert {run["side"]: run["setting"] for run in runs[:2]} == AUTHORS[data]
    rates = {setting["rate"] for setting in AUTHORS[data].values()}
    assert runs[2]["setting"]["rate"] in rates
    assert sorted(map(identity, runs)) == sorted(
        identity(run_of(data, side, setting)) for side, settings in TRIALS.items() for setting in settings
    )


def test_the_choice_is_made_on_validation_of_the_first_seed() -> None:
    first, second = (run_of("mf_health", "softmax", setting) for setting in TRIALS["softmax"][:2])
    other_seed = first | {"seed": 1}
    rows = {
        json.dumps(settings, sort_keys=True): {"settings": settings, "valid": valid}
        for settings, valid in ((first, [0.1, 0.3]), (second, [0.2, 0.2]), (other_seed, [0.0]))
    }
    assert chosen(rows, "mf_health", "softmax") == TRIALS["softmax"][0]
    assert chosen(rows, "mf_health", "SL@20") is None
    assert [run["seed"] for run in finals(rows, "mf_health", TRIALS)] == list(SEEDS[1:])


def test_the_report_has_the_published_figures_and_the_failures(rows: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(rows.read_bytes())
    failed = run_of("mf_health", "softmax", TRIALS["softmax"][1])
    append_row(path, failed_row(failed, FloatingPointError("the loss is nan")))
    report(path, tmp_path)
    text = (tmp_path / "results.md").read_text()
    (row,) = (row for row in rows_of(path).values() if row["settings"]["side"] == "SL@20")
    ours, theirs = row["published"]["recall"], PUBLISHED["mf_health"]["SL@20"].recall
    assert f"| {100 * ours:.2f} | 18.23 ({100 * (ours / theirs - 1):+.1f} %) |" in text
    assert "| CROLoss, chosen on validation | " in text
    assert "| softmax | 1 | " in text
    assert text.endswith("FloatingPointError | the loss is nan |\n")
    assert math.isclose(theirs, 0.1823)


def test_the_committed_table_is_that_of_the_committed_rows(tmp_path: Path) -> None:
    report(RESULTS / "rows.jsonl", tmp_path)
    assert (tmp_path / "results.md").read_text() == (RESULTS / "results.md").read_text()
