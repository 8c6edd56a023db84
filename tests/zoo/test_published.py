"""Published figures on the leaderboard, beside those that were measured here."""

import json

import pytest

from lightning_croloss.pretrained.layout import MANIFEST, METRICS
from lightning_croloss.zoo.datasets import DATASETS
from lightning_croloss.zoo.leaderboard import leaderboard
from lightning_croloss.zoo.published import PUBLISHED, N


@pytest.fixture
def zoo(tmp_path):
    return tmp_path


def add(zoo, name, recall, counts=None, **changes):
    """Add a model with a metrics.json to a zoo."""
    folder = zoo / name
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text("{}")
    dataset = name.partition("/")[0]
    test = changes.get("test") or {
        "recall@10": recall,
        "recall@20": recall + 0.1,
        "ndcg@10": recall / 2,
        "ndcg@20": recall / 2,
    }
    metrics = {
        "test": test,
        "choose_by": 10,
        "exclude_history": True,
        "parameters": 1234,
        "training": {"seconds": 60.0},
        "data": {"items": 12_101} | dict(PUBLISHED[dataset].counts) | (counts or {}),
        "baselines": {
            "popularity": {"test": test | {"ndcg@10": 0.01}, "valid": 0.1, "setting": {}},
            "item_knn": {"test": test, "valid": 0.1, "setting": {"neighbours": 20, "recent": 10}},
        },
    }
    (folder / METRICS).write_text(json.dumps(metrics | changes))


def rows_of(board, dataset):
    lines = board.splitlines()
    begin = lines.index(f"## {dataset}")
    rows = [line for line in lines[begin:] if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_they_stand_beside_ours_marked_and_with_their_source(zoo):
    add(zoo, "beauty/sasrec", 0.095)
    board = leaderboard(zoo)
    head, _, *rows = rows_of(board, "beauty")
    assert head == ["model", "Recall@10", "NDCG@10", "Recall@20", "parameters", "training"]
    assert rows[0] == ["[sasrec](beauty/sasrec/README.md)", "0.0950", "0.0475", "0.1950", "1,234", "60 s"]
    assert rows[1][0].startswith("item kNN")
    assert rows[2] == ["popularity", "0.0950", "0.0100", "0.1950", "", ""]
    published = rows[3:]
    assert published[0] == ["published: WEARec (3)", "0.1041", "", "", "", ""]
    assert ["published: HSTU (1)", "0.0788", "0.0439", "", "", ""] in published
    assert ["published: BSARec (2)", "0.1008", "0.0611", "", "", ""] in published
    assert len(published) == len(PUBLISHED["beauty"].figures)
    assert [row[1] for row in published] == sorted((row[1] for row in published), reverse=True)
    assert f"Protocol: {PUBLISHED['beauty'].protocol}" in board
    assert (
        "not measured here: (1) the benchmark of the eSASRec paper (Tikhonovich et al., RecSys 2025); (2)"
        in (board)
    )


def test_a_data_set_without_has_no_such_rows(zoo):
    for name in ("ml-100k/a", "beauty/b"):
        (zoo / name).mkdir(parents=True)
    plain = {"test": {"recall@10": 0.1, "ndcg@10": 0.1}, "valid": 0.1, "setting": {}}
    metrics = {
        "test": plain["test"],
        "choose_by": 10,
        "parameters": 1,
        "training": {"seconds": 1.0},
        "data": {"test_users": 10, "items": 20},
        "baselines": {"popularity": plain, "item_knn": plain | {"setting": {"neighbours": 1, "recent": 1}}},
    }
    for name in ("ml-100k/a", "beauty/b"):  # the second: data of one's own, under the same name
        (zoo / name / MANIFEST).write_text("{}")
        (zoo / name / METRICS).write_text(json.dumps(metrics))
    board = leaderboard(zoo)
    assert "## ml-100k" in board
    assert "published" not in board
    assert "NDCG" not in board
    assert "Protocol" not in board


@pytest.mark.parametrize(
    "other",
    [
        {"exclude_history": False},
        {"exclude_history": None},
        {"counts": {"test_targets": 44_726}},
        {"counts": {"test_users": 4_000}},
        {"counts": {"interactions": 190_000}},
    ],
    ids=lambda change: json.dumps(change),
)
def test_what_was_measured_otherwise_is_marked(zoo, other):
    add(zoo, "beauty/other", 0.2, **other)
    assert "published" not in leaderboard(zoo)  # nothing to be compared with them
    add(zoo, "beauty/same", 0.1)
    rows = [row[0] for row in rows_of(leaderboard(zoo), "beauty")]
    assert "[other](beauty/other/README.md) (other protocol)" in rows
    assert "[same](beauty/same/README.md)" in rows
    assert any(row.startswith("published: ") for row in rows)


def test_the_column_of_their_n_is_there_in_any_case(zoo):
    add(zoo, "toys/sasrec", 0.1, test={"recall@20": 0.2, "recall@50": 0.3}, choose_by=20)
    metrics = json.loads((zoo / "toys" / "sasrec" / METRICS).read_text())
    head, _, first, *_ = rows_of(leaderboard(zoo), "toys")
    assert metrics["choose_by"] == 20
    assert head[1:5] == ["Recall@10", "NDCG@10", "Recall@20", "Recall@50"]
    assert first[1:5] == ["", "", "0.2000", "0.3000"]


def test_the_figures_are_of_known_data_sets():
    assert N == 10
    for dataset, table in PUBLISHED.items():
        assert dataset in DATASETS
        assert table.counts["test_users"] == table.counts["test_targets"]
        for figure in table.figures:
            assert 0 < figure.recall < 1
            assert figure.ndcg is None or 0 < figure.ndcg < figure.recall
