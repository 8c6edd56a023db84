"""The data, the protocol and the table of the comparison of swaps."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import torch

from benchmarks.common.rows import append_row, rows_of
from benchmarks.swap.__main__ import PAGE, RESULTS
from benchmarks.swap.data import Split, load, padded, recall
from benchmarks.swap.frameworks import chosen, final_runs, tuning_runs
from benchmarks.swap.report import report, write_into


def small_split() -> Split:
    events = [torch.tensor(items) for items in ([1, 2, 3, 4], [5, 2, 6], [3, 1, 2, 4, 5])]
    names = ["", *"abcdef"]
    return Split(events, names, names)


def test_the_last_item_is_the_test_target_and_the_one_before_validation() -> None:
    split = small_split()
    assert split.test_targets.tolist() == [4, 6, 5]
    assert split.valid_targets.tolist() == [3, 2, 4]
    assert [items.tolist() for items in split.train] == [[1, 2], [5], [3, 1, 2]]
    assert [items.tolist() for items in split.test_histories] == [[1, 2, 3], [5, 2], [3, 1, 2, 4]]


def test_samples_and_the_counts_of_their_targets() -> None:
    split = small_split()
    users, histories, targets = split.samples(length=1)
    assert users.tolist() == [0, 2, 2]
    assert histories.tolist() == [[1], [3], [1]]
    assert targets.tolist() == [2, 1, 2]
    assert split.item_counts.tolist() == [0, 1, 2, 0, 0, 0, 0]


def test_histories_are_padded_behind_their_latest_items() -> None:
    histories = [torch.tensor([1, 2, 3]), torch.tensor([4])]
    assert padded(histories, 2).tolist() == [[2, 3], [4, 0]]
    assert padded(histories).tolist() == [[1, 2, 3], [4, 0, 0]]


def test_the_bundled_data_is_in_the_order_of_time() -> None:
    pytest.importorskip("recbole", reason="the data comes with RecBole")
    split = load()
    assert (split.num_users, split.num_items) == (943, 1682)
    assert sum(map(len, split.events)) == 100_000
    assert split.titles[1] == "Toy Story"
    found = find_spec("recbole")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent
    lines = (folder / "dataset_example/ml-100k/ml-100k.inter").read_text().splitlines()[1:]
    events = [tuple(map(int, (user, item, time))) for user, item, _, time in map(str.split, lines)]
    latest = max((time, number, item) for number, (user, item, time) in enumerate(events) if user == 1)
    assert split.tokens[split.test_targets[0]] == str(latest[2])


@pytest.mark.parametrize("excluding", [False, True])
def test_recall_is_that_of_a_loop(excluding: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 6, (40, 12), generator=generator).float()  # many ties
    scores[3, 5], scores[4] = -torch.inf, torch.nan
    targets = torch.randint(1, 13, (40,), generator=generator)
    seen = [torch.tensor([item for item in (1, 2) if item != target]) for target in targets.tolist()]
    found = recall(scores, targets, (1, 3), exclude=seen if excluding else None)
    for n in (1, 3):
        hits = 0
        for row, target, barred in zip(scores.tolist(), targets.tolist(), seen, strict=True):
            left = [
                item
                for item in range(1, 13)
                if item != target and not (excluding and item in barred.tolist())
            ]
            hits += sum(not row[item - 1] < row[target - 1] for item in left) < n
        assert found[f"recall@{n}"] == pytest.approx(hits / 40)


@pytest.fixture
def swapped(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("benchmarks.swap.theirs")
    module.__dict__.update(
        FRAMEWORK="theirs", LOSSES={"old": 0, "new": 3}, TEMPERATURES=(0.1, 0.2), run=lambda *_: None
    )
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_each_loss_has_its_best_temperature_and_a_line(swapped: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "theirs.jsonl"
    valid = {("old", 0.1): 0.3, ("old", 0.2): 0.3, ("new", 0.1): 0.2, ("new", 0.2): 0.4}
    runs = tuning_runs("theirs")
    assert [(run["loss"], run["temperature"]) for run in runs] == [
        ("old", 0.1),
        ("new", 0.1),
        ("old", 0.2),
        ("new", 0.2),
    ]
    for run in runs:
        value = valid[run["loss"], run["temperature"]]
        append_row(path, {"settings": run, "valid": {"recall@50": value}, "test": {"recall@50": value}})
    # a better one, but outside the grid
    outside = {"framework": "theirs", "loss": "old", "temperature": 9.0, "seed": 0}
    append_row(path, {"settings": outside, "valid": {"recall@50": 0.9}, "test": {"recall@50": 0.9}})
    rows = rows_of(path)
    assert chosen(rows, "theirs", "old") == 0.1
    assert chosen(rows, "theirs", "new") == 0.2
    assert "| theirs |" not in report(tmp_path)  # seeds are missing
    for run in final_runs(rows, "theirs"):
        if run["seed"]:
            value = 0.1 * run["seed"]
            append_row(path, {"settings": run, "valid": {"recall@50": value}, "test": {"recall@50": value}})
    line = next(line for line in report(tmp_path).splitlines() if line.startswith("| theirs |"))
    assert line == "| theirs | 3 | old | new | 20.0 ± 10.0 | 23.3 ± 15.3 | 0.1, 0.2 |"
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table -->\nold\n<!-- end of the table -->\nafter\n")
    write_into(page, tmp_path)
    once = page.read_text()
    assert line in once
    assert "old\n" not in once
    assert once.startswith("before\n<!-- table -->\n")
    assert once.endswith("\n<!-- end of the table -->\nafter\n")
    write_into(page, tmp_path)
    assert page.read_text() == once
    page.write_text("no marks")
    with pytest.raises(ValueError, match="no place for the table"):
        write_into(page, tmp_path)


def test_the_tables_are_those_of_the_rows(tmp_path: Path) -> None:
    """``python -m benchmarks.swap`` writes them again."""
    page = tmp_path / "swap.md"
    page.write_text(PAGE.read_text())
    write_into(page, RESULTS)
    assert page.read_text() == PAGE.read_text()
    assert (RESULTS / "results.md").read_text() == report(RESULTS)
