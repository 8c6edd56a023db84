"""Times and features of events, from fit over predict, recommend and export to the same list."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lightning_croloss import load_pretrained, save_pretrained
from lightning_croloss.cli import main
from tests.cli.cases import error_of
from tests.cli.small import NO_PLOT, QUIET, newest

pl = pytest.importorskip("polars", reason="needs the extra [tables]")
pytestmark = [pytest.mark.filterwarnings("ignore"), NO_PLOT]

N = 6
SCHEMA = ["user_id", "item_id", "timestamp", "rating", "kind"]
#: Users 0 … 9 have eight events; user 10 has three, too few for training, one of an item of its own.
EVENTS: list[tuple[Any, ...]] = [
    (
        f"u{user}",
        f"i{(user * 5 + 3 * number) % 24}",
        datetime(2024, 5, 31, 18, 30) + timedelta(seconds=(user + 2) ** number),
        None if number == 3 else float((user + number) % 5),
        ("view", "buy", None)[(user * number) % 3],
    )
    for user in range(10)
    for number in range(8)
]
EVENTS += [
    ("u10", item, datetime(2024, 6, day), 2.0, kind)
    for item, day, kind in (("i15", 1, "buy"), ("nothing", 2, "view"), ("i18", 9, "unheard of"))
]
#: What a model is trained with, and how a checkpoint of it is named.
MODELS = {
    "HSTU, times": ["--model=HSTU", "--model.max_length=50", "--model.train_on=all"],
    "HSTU, all": ["--model=HSTU", "--model.max_length=50", "--data.event_features=[rating,kind,timestamp]"],
    "GRU4Rec, features": ["--model=GRU4Rec", "--data.event_features=[rating:categorical,kind]"],
}


@pytest.fixture(scope="module", params=MODELS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the table, a checkpoint, a pretrained folder and an export of a model of it."""
    folder = tmp_path_factory.mktemp("events")
    before = Path.cwd()
    os.chdir(folder)
    try:
        events = pl.DataFrame(EVENTS, schema=SCHEMA, orient="row", infer_schema_length=None)
        events.sample(fraction=1.0, shuffle=True, seed=1).write_parquet("events.parquet")
        given = ["--data=TableDataModule", "--data.interactions=events.parquet", *MODELS[request.param]]
        given += ["--model.ns=[5]", "--model.embedding_dim=8", "--model.num_blocks=1", *QUIET]
        if "GRU4Rec" in request.param:
            given.remove("--model.num_blocks=1")
        main(["fit", *given, "--trainer.max_epochs=2", "--test_after_fit=false"])
        newest("**/*.ckpt").rename("model.ckpt")
        save_pretrained(load_pretrained("model.ckpt"), "model")
        main(["predict", *given, "--ckpt_path=model.ckpt", f"--n={N}", "--output=all.jsonl"])
    finally:
        os.chdir(before)
    return folder


def lists(path: Path) -> dict[str, list[str]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    found: dict[str, list[str]] = {}
    for line in lines:
        found.setdefault(line["user"], []).extend(line.get("items") or [line["item"]])
    return found


def given_to(model: Any) -> tuple[list[str], list[list[str]], dict[str, Any]]:
    """The users, their histories, and what the model reads of these."""
    users = list(dict.fromkeys(event[0] for event in EVENTS))
    of_users = [[event for event in EVENTS if event[0] == user] for user in users]
    given: dict[str, Any] = {}
    if model.metadata.events.times is not None:
        given["times"] = [[event[2] for event in events] for events in of_users]
    if model.metadata.events.names:
        columns = {"rating": 3, "kind": 4}
        given["event_features"] = {
            name: [[event[columns[name]] for event in events] for events in of_users]
            for name in model.metadata.events.names
        }
    return users, [[event[1] for event in events] for events in of_users], given


def recommended(run: Path, source: str, histories: Any) -> dict[str, list[str]]:
    options = ["--model", str(run / source), "--n", str(N), "--histories", str(histories)]
    main(["recommend", *options, "--output", "out.jsonl", "--overwrite"])
    return lists(Path("out.jsonl"))


def test_the_same_lists_everywhere(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = lists(run / "all.jsonl")
    model = load_pretrained(run / "model")
    users, histories, given = given_to(model)
    assert expected.keys() == {*users}
    assert {
        user: entry.tokens
        for user, entry in zip(users, model.recommend_tokens(histories, N, **given), strict=True)
    } == expected
    # as a table of events, shuffled, in Parquet and in text
    assert recommended(run, "model.ckpt", run / "events.parquet") == expected
    pl.read_parquet(run / "events.parquet").write_csv("events.csv")
    assert recommended(run, "model", "events.csv") == expected
    # numbers that training had as 4.0
    whole = pl.read_parquet(run / "events.parquet").with_columns(pl.col("rating").cast(pl.Int64))
    whole.write_parquet("whole.parquet")
    assert recommended(run, "model", "whole.parquet") == expected
    # as JSON lines
    times = [[when.isoformat() for when in row] for row in given.get("times", [])]
    features = given.get("event_features", {})
    with Path("histories.jsonl").open("w") as file:
        for row, user in enumerate(users):
            line: dict[str, Any] = {"user": user, "history": histories[row]}
            line |= {"times": times[row]} if times else {}
            line |= (
                {"event_features": {name: rows[row] for name, rows in features.items()}} if features else {}
            )
            file.write(json.dumps(line) + "\n")
    assert recommended(run, "model", "histories.jsonl") == expected
    # as lists in Parquet
    columns = {
        "user_id": users,
        "history": histories,
        **({"times": given["times"]} if times else {}),
        **features,
    }
    pl.DataFrame(columns, strict=False).write_parquet("lists.parquet")
    assert recommended(run, "model", "lists.parquet") == expected
    # by ids
    ids = [model.metadata.item_vocabulary.encode(history) for history in histories[:10]]
    first = {name: rows[:10] for name, rows in features.items()}
    found, _ = model.recommend(
        [row.tolist() for row in ids],
        N,
        **({"times": given["times"][:10]} if times else {}),
        **({"event_features": first} if first else {}),
    )
    decoded = [model.metadata.item_vocabulary.decode(row) for row in found]
    assert decoded == [expected[user] for user in users[:10]]


def test_what_the_model_does_not_read_is_told_and_left_out(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = lists(run / "all.jsonl")
    model = load_pretrained(run / "model")
    users, histories, given = given_to(model)
    more = {**given, "event_features": {**given.get("event_features", {}), "colour": [[1]]}}
    said = "does not read 'colour' of events: it is left out"
    with pytest.warns(UserWarning, match=f"this {type(model).__name__} {said}"):
        found = model.recommend_tokens(histories, N, **more)
    assert {user: entry.tokens for user, entry in zip(users, found, strict=True)} == expected
    frame = pl.read_parquet(run / "events.parquet")
    unread = [name for name in ("rating", "kind") if name not in model.metadata.events.names]
    frame.with_columns(colour=pl.lit("red")).write_parquet("more.parquet")
    assert recommended(run, "model", "more.parquet") == expected
    names = ", ".join(map(repr, [*unread, "colour"]))
    assert capsys.readouterr().err.count(f"the model does not read {names} of events") == 1
    with Path("more.jsonl").open("w") as file:
        for row, user in enumerate(users):
            features = {name: rows[row] for name, rows in given.get("event_features", {}).items()}
            line: dict[str, Any] = {"user": user, "history": histories[row]}
            line["event_features"] = {**features, "colour": ["red"] * len(histories[row])}
            if "times" in given:
                line["times"] = [when.isoformat() for when in given["times"][row]]
            file.write(json.dumps(line) + "\n")
    assert recommended(run, "model", "more.jsonl") == expected
    assert capsys.readouterr().err.count(said) == 1


@pytest.mark.parametrize("index", [None, "flat"])
def test_the_export_gives_the_same_lists(run: Path, tmp_path: Path, index: str | None) -> None:
    for package in ("onnxruntime", "onnxscript", "faiss"):
        pytest.importorskip(package, reason="needs the extra [export]")
    from lightning_croloss.serving import Recommender
    from lightning_croloss.serving.export import export_model

    model = load_pretrained(run / "model")
    if index is not None and model.metadata.events.encodings:
        pytest.skip("one model is enough")
    recommender = Recommender.from_export(export_model(model, tmp_path / "export", index=index), threads=1)
    users, histories, given = given_to(model)
    found = recommender.recommend(histories, N, **given)
    assert {user: entry.tokens for user, entry in zip(users, found, strict=True)} == lists(run / "all.jsonl")
    assert recommender.model["events"] == model.metadata.events.to_plain()
    name = next(iter(given))
    with pytest.raises(ValueError, match=r"reads .* of events: give"):
        recommender.recommend(histories, N, **{key: value for key, value in given.items() if key != name})
    assert recommender.recommend([[], []], 3)[1].fallback


def test_what_is_missing_is_one_sentence(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    events = load_pretrained(run / "model").metadata.events
    frame = pl.read_parquet(run / "events.parquet")

    def said(name: str) -> str:
        return error_of(capsys, "recommend", "--n=5", "--model", str(run / "model"), "--histories", name)

    if events.times is not None:
        frame.drop("timestamp").write_parquet("x.parquet")
        assert "the model reads the times of events, but no column of them is known" in said("x.parquet")
        frame.with_columns(timestamp=pl.lit(3)).write_parquet("x.parquet")
        assert "holds numbers, but the times of the model's training were dates" in said("x.parquet")
        Path("x.jsonl").write_text('{"history": ["i1"]}\n')
        assert "x.jsonl, line 1 has no times, which the model reads of events" in said("x.jsonl")
        Path("x.jsonl").write_text('["i1"]\n')
        assert "x.jsonl, line 1 has no times" in said("x.jsonl")
        Path("x.jsonl").write_text('{"history": ["i1"], "times": []}\n')
        assert "line 1 must have as many values as the history in times" in said("x.jsonl")
        example = {"history": ["i1"], "times": [7], "event_features": {name: [None] for name in events.names}}
        Path("x.jsonl").write_text(json.dumps(example) + "\n")
        line = json.dumps({**example, "times": ["2024-05-31"]}) + "\n"
        Path("x.jsonl").write_text(line + json.dumps(example) + "\n")
        assert "x.jsonl, line 2: times holds 7, but times are dates, as in training" in said("x.jsonl")
        pl.DataFrame({"history": [["i1"]]}).write_parquet("y.parquet")
        assert "y.parquet has no column 'times', which the model reads of events" in said("y.parquet")
    if events.names:
        frame.with_columns(kind=pl.lit(["a"])).write_parquet("x.parquet")
        assert "column 'kind' holds List(String), but a feature of events is one text" in said("x.parquet")
        frame.rename({"rating": "ratings"}).write_parquet("x.parquet")
        assert "x.parquet has no column 'rating', which the model reads of events; did you mean" in said(
            "x.parquet"
        )
