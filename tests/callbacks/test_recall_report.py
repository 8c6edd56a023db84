import json
import sys

import pytest

from lightning_croloss import RecallReport
from lightning_croloss.callbacks import recall_report
from lightning_croloss.callbacks.recall_report import collect_results, format_table
from tests.data_for_tests import ClusteredData, quiet_trainer, small_model

VALUES = {
    "test/recall@20": 0.25,
    "test/recall@5": 0.125,
    "test/ndcg@5": 0.0625,
    "val/recall@5": 0.5,
    "train/loss": 3.0,
}


@pytest.fixture
def printed(monkeypatch):
    lines = []
    monkeypatch.setattr(recall_report, "print", lines.append, raising=False)
    return lines


def report(folder, verb="test", **kwargs):
    """Evaluate with a report; return the metrics."""
    trainer = quiet_trainer(folder, callbacks=[RecallReport(**kwargs)])
    (metrics,) = getattr(trainer, verb)(small_model(), ClusteredData(), verbose=False)
    return metrics


def test_results_are_those_of_the_stage_by_metric_and_n():
    assert collect_results(VALUES, "test") == {"recall": {5: 0.125, 20: 0.25}, "ndcg": {5: 0.0625}}
    assert list(collect_results(VALUES, "test")["recall"]) == [5, 20]
    assert collect_results(VALUES, "val") == {"recall": {5: 0.5}}
    assert collect_results({"train/loss": 1.0}, "test") == {}


def test_the_table():
    assert format_table(collect_results(VALUES, "test"), "test").splitlines() == [
        "test metrics       @5      @20",
        "-" * 30,
        "recall         0.1250   0.2500",
        "ndcg           0.0625         ",
    ]


@pytest.mark.parametrize(("verb", "stage"), [("test", "test"), ("validate", "val")])
def test_an_evaluation_is_printed_and_kept(tmp_path, printed, verb, stage):
    metrics = report(tmp_path, verb)
    results = json.loads((tmp_path / f"{stage}_results.json").read_text())
    assert list(results) == ["recall", "hit_rate", "ndcg", "mrr"]
    assert {
        f"{stage}/{metric}@{n}": value for metric, by_n in results.items() for n, value in by_n.items()
    } == metrics

    (table,) = [line for line in printed if "metrics" in line]
    row = next(line for line in table.splitlines() if line.startswith("recall"))
    assert row.split() == ["recall", *(f"{metrics[f'{stage}/recall@{n}']:.4f}" for n in (5, 10, 20))]
    for name in (f"{stage}_results.json", f"{stage}_recall_at_n.png"):
        assert any(str(tmp_path / name) in line for line in printed)
    assert (tmp_path / f"{stage}_recall_at_n.png").read_bytes().startswith(b"\x89PNG")


def test_no_plot_on_request(tmp_path, printed):
    report(tmp_path, plot=False)
    assert (tmp_path / "test_results.json").exists()
    assert not list(tmp_path.glob("*.png"))


def test_without_matplotlib_the_message_says_what_to_install(tmp_path, printed, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    report(tmp_path)
    assert printed[-1].endswith("a plot needs the extra [plot]: pip install 'lightning-croloss[plot]'")
    assert (tmp_path / "test_results.json").exists()
    assert not list(tmp_path.glob("*.png"))


def test_a_fit_reports_nothing(tmp_path, printed):
    trainer = quiet_trainer(tmp_path, callbacks=[RecallReport()])
    trainer.fit(small_model(), ClusteredData())
    assert not printed
    assert not (tmp_path / "val_results.json").exists()


def test_the_checkpoint_is_named(tmp_path, printed):
    trainer = quiet_trainer(tmp_path, callbacks=[RecallReport(plot=False)])
    trainer.fit(small_model(), ClusteredData())
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    trainer.test(
        small_model(), ClusteredData(), ckpt_path=tmp_path / "model.ckpt", weights_only=True, verbose=False
    )
    assert f"checkpoint: {tmp_path / 'model.ckpt'}" in printed


def test_without_a_logger_the_root_folder_is_used(tmp_path, printed):
    trainer = quiet_trainer(callbacks=[RecallReport(plot=False)], default_root_dir=tmp_path)
    trainer.test(small_model(), ClusteredData(), verbose=False)
    assert [path.name for path in tmp_path.iterdir()] == ["test_results.json"]


@pytest.mark.parametrize(
    ("verb", "stage", "options", "said"),
    [
        ("test", "test", {"limit_test_batches": 1}, "1 of 4 batches of users: limit_test_batches leaves out"),
        ("test", "test", {"limit_test_batches": 0.5}, "2 of 4 batches of users: limit_test_batches leaves"),
        (
            "validate",
            "val",
            {"limit_val_batches": 3},
            "3 of 4 batches of users: limit_val_batches leaves out",
        ),
        (
            "validate",
            "val",
            {"overfit_batches": 1},
            "1 of 4 batches of users: overfit_batches leaves out the",
        ),
        ("test", "test", {"limit_test_batches": 4}, None),
        ("test", "test", {"limit_test_batches": 9, "limit_val_batches": 1}, None),
        ("test", "test", {}, None),
    ],
)
def test_a_part_of_the_users_is_called_one(tmp_path, printed, verb, stage, options, said):
    trainer = quiet_trainer(tmp_path, callbacks=[RecallReport(plot=False)], **options)
    data = ClusteredData(eval_batch_size=15)
    data.setup("fit")
    assert len(data.val_dataloader()) == len(data.test_dataloader()) == 4
    getattr(trainer, verb)(small_model(), data, verbose=False)
    results = json.loads((tmp_path / f"{stage}_results.json").read_text())
    lines = [line for line in printed if line.startswith("measured:")]
    if said is None:
        assert not lines
        assert "measured_batches" not in results
    else:
        (line,) = lines
        assert said in line
        assert results["measured_batches"] == {"measured": int(said[0]), "of": 4}
