"""``croloss recommend`` in several processes: the lists of one process, each user once."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from lightning_croloss import LightGCN, MatrixFactorization, RetrievalModel
from lightning_croloss.cli import main
from lightning_croloss.pretrained.loading import load_in_shards
from tests.cli.cases import environment, error_of
from tests.cli.small import SMALL
from tests.data_for_tests import ClusteredData, fit, small_model
from tests.distributed import be_process, run_distributed
from tests.training.sharded.cases import in_shards

LISTS = ["recommend", "--model=lists.ckpt", "--n=4"]
#: Commands by the outputs that they write.
COMMANDS: dict[str, list[str]] = {
    "lines.jsonl": [*LISTS, "--histories=users.jsonl"],
    "some.jsonl": [*LISTS, "--histories=users.jsonl", "--allow=allow.csv", "--exclude-history"],
    "none.jsonl": [*LISTS, "--histories=nobody.jsonl"],
    "file.parquet": ["recommend", "--model=file.ckpt", "--n=40", "--histories=parts/one.parquet"],
    "lists": [*LISTS, "--histories=parts"],
    "events.jsonl": [*LISTS, "--histories=events.csv"],
    "users.jsonl": ["recommend", "--model=users.ckpt", "--n=3", "--histories=users.jsonl"],
}


#: What a trainer in shards predicts.
PREDICT = ["predict", *SMALL, "--ckpt_path=lists.ckpt", "--n=5"]


def prepare() -> None:
    """Write models and users into the current folder."""
    model: Any = small_model()
    trainer = fit(model, ClusteredData(), max_epochs=1)
    model.metadata.reading = {"filters": [{"kind": "consecutive_repeats"}]}
    trainer.save_checkpoint("file.ckpt")
    in_shards(Path("file.ckpt"), Path("lists.ckpt"))
    in_shards(Path("file.ckpt"), Path("spoiled.ckpt"), spoilt=39)  # of the second process
    data = ClusteredData()
    known = MatrixFactorization(data.num_items, data.num_users, embedding_dim=8, ns=[5, 10])
    fit(known, data, max_epochs=1).save_checkpoint("users.ckpt")
    graph = LightGCN(data.num_items, data.num_users, embedding_dim=8, ns=[5, 10])
    fit(graph, data, max_epochs=1).save_checkpoint("graph.ckpt")
    users = [
        {"user": f"user {user}", "history": [f"item {user % 40 + 1}"] * (user % 3)} for user in range(30)
    ]
    Path("users.jsonl").write_text("".join(json.dumps(line) + "\n" for line in users))
    events = [f"{user},item {(user + step // 2) % 40 + 1}\n" for user in range(30) for step in range(7)]
    Path("events.csv").write_text("user_id,item_id\n" + "".join(events))
    Path("nobody.jsonl").write_text("")
    Path("allow.csv").write_text("item\n" + "".join(f"item {item}\n" for item in range(1, 40, 3)))
    Path("parts").mkdir()
    for name, rows in {"one": range(7), "two": range(7, 12)}.items():
        histories = [[f"item {row + step}" for step in range(1, 4)] for row in rows]
        frame = pl.DataFrame({"user_id": [f"u{row}" for row in rows], "history": histories})
        frame.write_parquet(f"parts/{name}.parquet")


def said_by(*words: str) -> str:
    """Run a command that may fail, and return what it says."""
    said = io.StringIO()
    with redirect_stderr(said), suppress(SystemExit):
        main([*words])
    return said.getvalue()


def in_a_process(rank: int, processes: int, folder: str) -> dict[str, Any]:
    be_process(rank, processes)
    os.chdir(folder)
    found: dict[str, Any] = {}
    for output, words in COMMANDS.items():
        found[output] = said_by(*words, f"--output=two/{output}", f"--devices={processes}")
    spread = [f"--trainer.devices={processes}", "--trainer.strategy=croloss_sharded"]
    found["predict"] = said_by(*PREDICT, "--output=two/predict.parquet", *spread)
    for name in ("spoiled", "graph"):
        found[name] = said_by("recommend", f"--model={name}.ckpt", "--n=4", f"--devices={processes}")
    model = load_in_shards("lists.ckpt")
    found["rows"] = len(model.item_embedding.weight)
    found["state"] = {name: value for name, value in model.state_dict().items() if "item_emb" not in name}
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_processes_write_what_one_writes(capsys: pytest.CaptureFixture[str]) -> None:
    prepare()
    Path("one").mkdir()
    Path("two").mkdir()
    for output, words in COMMANDS.items():
        main([*words, f"--output=one/{output}"])
    main([*PREDICT, "--output=one/predict.parquet"])
    first, second = run_distributed(in_a_process, 2, str(Path.cwd()))
    for output in COMMANDS:
        assert not second[output]
        assert "users" in first[output]
        one, two = (Path(folder, output) for folder in ("one", "two"))
        assert one.exists() == two.exists()
        if output.endswith(".jsonl"):
            lines = [[json.loads(line) for line in path.read_text().splitlines()] for path in (one, two)]
            assert len(lines[0]) == (0 if output == "none.jsonl" else 30)
            scores = [[line.pop("scores") for line in each] for each in lines]
            assert lines[0] == lines[1]
            for each, other in zip(*scores, strict=True):
                assert each == pytest.approx(other, abs=1e-6)
        elif output.endswith(".parquet"):
            same(one, two)
    same(Path("one/predict.parquet"), Path("two/predict.parquet"))
    for name in ("one.parquet", "two.parquet"):
        same(Path("one/lists", name), Path("two/lists", name))
    capsys.readouterr()
    main([*COMMANDS["lists"], "--output=two/lists"])  # in one process, which finds them complete
    assert "0 partitions written, 2 were complete" in capsys.readouterr().err
    for each in (first, second):
        assert "'item_embedding.weight' holds NaN" in each["spoiled"]
        assert "graph.ckpt in several processes: LightGCN cannot lie in shards" in each["graph"]
    weights = RetrievalModel.load_from_checkpoint("lists.ckpt").state_dict()
    assert [first["rows"], second["rows"]] == [21, 20]
    assert all(torch.equal(value, weights[name]) for name, value in first["state"].items())


def same(one: Path, two: Path) -> None:
    first, second = (pl.read_parquet(path).sort("user", "rank") for path in (one, two))
    assert first.drop("score").equals(second.drop("score"))
    assert first["score"].to_list() == pytest.approx(second["score"].to_list(), abs=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_it_starts_its_processes_and_ends_them_with_a_mistake() -> None:
    prepare()
    Path("users.jsonl").write_text('{"user": "a", "history": ["item 1"]}\n' * 1500 + "broken\n")
    command = [sys.executable, "-m", "lightning_croloss", *COMMANDS["lines.jsonl"], "--output=lines.jsonl"]
    result = subprocess.run(
        [*command, "--devices=2"], capture_output=True, text=True, env=environment(), timeout=300, check=False
    )
    assert result.returncode == 1, result.stderr
    (said,) = result.stderr.splitlines()
    assert said.startswith("croloss: error: ")
    assert "users.jsonl, line 1501" in said
    assert not Path("lines.jsonl").exists()


def test_what_cannot_be_started(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["recommend", "--model=ml-100k/mind"]
    assert error_of(capsys, *words, "--devices=0") == "--devices must be at least 1, got 0 " + SEE
    words_of_one = ["export", "--model=ml-100k/mind", "--output=out"]
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "3", "WORLD_SIZE": "6"}.items():
        monkeypatch.setenv(name, value)
    assert "--devices is 2, but torchrun has started 3 processes" in error_of(capsys, *words, "--devices=2")
    said = error_of(capsys, *words_of_one)
    assert (
        said
        == "croloss export works in one process, but torchrun has started 6: call it without torchrun " + SEE
    )
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit):
        main(words_of_one)
    assert not capsys.readouterr().err


SEE = "(set CROLOSS_TRACEBACK=1 to see where)"
