"""A user's token, with features, from fit over predict, recommend and export to the same list."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lightning_croloss import load_pretrained, save_pretrained
from lightning_croloss.cli import main
from tests.cli.cases import error_of
from tests.cli.small import NO_PLOT, QUIET, newest

pl = pytest.importorskip("polars", reason="needs the extra [tables]")
pytestmark = [pytest.mark.filterwarnings("ignore"), NO_PLOT]

# users 0 … 9 have eight events; user 10 has two and the features of user 3; user 11 has neither
EVENTS = [(f"u{user}", f"i{(user * 5 + 3 * time) % 24}", time) for user in range(10) for time in range(8)]
EVENTS += [("u10", "i15", 0), ("u10", "i18", 1), ("u11", "nothing", 0)]
FEATURES = [(f"u{user}", f"c{user % 4}", str(20 + user)) for user in range(10)] + [("u10", "c3", "23")]
N = 6


@pytest.fixture(scope="module", params=["history and features", "id, features and history"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tables, a checkpoint, a pretrained folder and an export of a model of them."""
    folder = tmp_path_factory.mktemp("users")
    before = Path.cwd()
    os.chdir(folder)
    try:
        events = pl.DataFrame(EVENTS, schema=["user_id", "item_id", "timestamp"], orient="row")
        events.sample(fraction=1.0, shuffle=True, seed=1).write_parquet("events.parquet")
        users = pl.DataFrame(FEATURES, schema=["user_id", "country", "age"], orient="row")
        users.write_csv("users.csv")
        main(["fit", *arguments(request.param), "--trainer.max_epochs=2", "--test_after_fit=false"])
        newest("**/*.ckpt").rename("model.ckpt")
        model = load_pretrained("model.ckpt")
        save_pretrained(model, "model")
        main(
            ["predict", *arguments(request.param), "--ckpt_path=model.ckpt", f"--n={N}", "--output=all.jsonl"]
        )
    finally:
        os.chdir(before)
    return folder


def arguments(kind: str) -> list[str]:
    use_id = ["--model.use_user_id=true"] if kind.startswith("id") else []
    return [
        "--data=TableDataModule",
        "--data.interactions=events.parquet",
        "--data.users=users.csv",
        "--data.user_features=[country,age]",
        "--model=TwoTower",
        "--model.ns=[5]",
        "--model.embedding_dim=8",
        "--model.exclude_history=true",
        *use_id,
        *QUIET,
    ]


def lists(lines: list[dict[str, Any]]) -> dict[str, list[str]]:
    if "items" in lines[0]:
        return {line["user"]: line["items"] for line in lines}
    found: dict[str, list[str]] = {}
    for line in lines:
        found.setdefault(line["user"], []).append(line["item"])
    return found


def read(path: Path) -> dict[str, list[str]]:
    return lists([json.loads(line) for line in path.read_text().splitlines()])


def recommended(run: Path, model: str, *options: str) -> list[dict[str, Any]]:
    output = Path("out.jsonl")
    main(["recommend", f"--model={run / model}", f"--output={output}", f"--n={N}", "--overwrite", *options])
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_every_way_leads_to_the_same_lists(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = read(run / "all.jsonl")
    assert set(expected) == {f"u{user}" for user in range(12)}
    table = [f"--histories={run / 'events.parquet'}", f"--users={run / 'users.csv'}"]
    for model in ("model.ckpt", "model"):
        found = recommended(run, model, *table)
        assert lists(found) == expected
        assert {line["user"] for line in found if line.get("unknown_user")} == {"u10", "u11"}
        assert "12 users, 2 of them unknown to the model, which knows users;" in capsys.readouterr().err
    histories: dict[str, list[str]] = {}
    for user, item, _ in EVENTS:
        histories.setdefault(user, []).append(item)
    lines = [{"user": user, "history": history} for user, history in histories.items()]
    Path("lines.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert lists(recommended(run, "model", "--histories=lines.jsonl", table[1])) == expected

    features = {user: values for user, *values in FEATURES}
    columns = {
        name: [features.get(user, (None, None))[number] for user in histories]
        for number, name in enumerate(("country", "age"))
    }
    model = load_pretrained(run / "model")
    given = {"n": N, "users": [*histories], "user_features": columns}
    for user, found in zip(histories, model.recommend_tokens([*histories.values()], **given), strict=True):
        assert found.tokens == expected[user]
    # without its features the new user gets another list, and a known user's are those of training
    assert lists(recommended(run, "model", table[0]))["u10"] != expected["u10"]
    assert lists(recommended(run, "model", table[0]))["u3"] == expected["u3"]


@pytest.mark.slow
def test_an_export_leads_there_too(run: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs the extra [export]")
    from lightning_croloss.serving import Recommender

    main(["export", f"--model={run / 'model'}", "--output=served"])
    recommender = Recommender.from_export("served", threads=1)
    expected = read(run / "all.jsonl")
    histories = {user: [item for who, item, _ in EVENTS if who == user] for user in expected}
    features = {user: values for user, *values in FEATURES}
    columns = {
        name: [features.get(user, ("", ""))[number] for user in expected]
        for number, name in enumerate(("country", "age"))
    }
    found = recommender.recommend([*histories.values()], N, users=[*histories], user_features=columns)
    assert {user: each.tokens for user, each in zip(histories, found, strict=True)} == expected
    assert found.num_unknown_users == 2


def test_what_the_command_says_of_users(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("lines.jsonl").write_text('["i1", "i2"]\n')  # nobody is named
    recommended(run, "model", "--histories=lines.jsonl")
    assert "1 users, 1 of them unknown to the model" in capsys.readouterr().err
    save_pretrained(load_pretrained(run / "model"), "nameless", users=False)
    recommended(Path(), "nameless", f"--histories={run / 'events.parquet'}")
    said = capsys.readouterr().err
    assert "the file of this TwoTower does not hold the tokens of its users" in said
    assert "12 users, 12 of them unknown" in said
    pl.DataFrame({"user_id": ["u1"], "contry": ["c1"]}).write_csv("wrong.csv")
    base = ["recommend", f"--model={run / 'model'}", "--histories=lines.jsonl", "--n=3"]
    said = error_of(capsys, *base, "--users=wrong.csv")
    assert said.startswith("wrong.csv has no feature of the model's users: it needs columns of country, age")
    assert "did you mean 'contry'" in said
    pl.read_csv(run / "users.csv").with_columns(height=3).write_csv("more.csv")
    table = f"--histories={run / 'events.parquet'}"
    found = recommended(run, "model", table, "--users=more.csv")
    assert "the model does not read 'height' of users: it is left out" in capsys.readouterr().err
    assert found == recommended(run, "model", table, f"--users={run / 'users.csv'}")


def test_who_is_not_named_has_nobodys_features(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # the running numbers 1, 2 of the input are users of the table
    Path("users.csv").write_text("user_id,country,age\n1,c1,20\n2,c2,30\n")
    Path("lines.jsonl").write_text('["i1", "i2"]\n{"history": ["i3"]}\n')
    pl.DataFrame({"history": [["i1", "i2"], ["i3"]]}).write_parquet("lists.parquet")
    for given in ("--histories=lines.jsonl", "--histories=lists.parquet", '--history=["i1"]'):
        said = error_of(capsys, "recommend", f"--model={run / 'model'}", "--n=3", given, "--users=users.csv")
        assert said.startswith("--users users.csv has features of users, and the input names none: ")
        recommended(run, "model", given)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            ["u99,c1,5", "u98,c1,4", "u99,c1,6"],
            "users.csv, line 4: user_id 'u99' stands again, after users.csv, line 2: keep one",
        ),
        (["u99,c1,5", "u98,c1,old"], "users.csv, line 3: feature 'age' is a number, got 'old'"),
        (["u99,c1,5", "u98,c1,inf"], "users.csv, line 3: feature 'age' is a number, got 'inf'"),
        (["u99,c1,5", ",c1,6"], "users.csv, line 3: column 'user_id' has no value: every row needs a user"),
    ],
    ids=["twice", "no number", "infinite", "nobody"],
)
def test_rows_that_cannot_be_used(
    run: Path, rows: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("users.csv").write_text("\n".join(["user_id,country,age", *rows]) + "\n")
    Path("lines.jsonl").write_text('{"user": "u0", "history": ["i1"]}\n')  # none of these users
    words = ["recommend", f"--model={run / 'model'}", "--histories=lines.jsonl", "--users=users.csv"]
    for how in ([], ["--separator=,"]):
        assert error_of(capsys, *words, "--n=3", *how).startswith(said)


@pytest.mark.parametrize("option", ["--separator=;", "--user-column=who", "--missing-values=none"])
def test_options_that_read_the_users_have_an_effect(run: Path, option: str) -> None:
    separator = ";" if "separator" in option else ","
    header = separator.join(["who" if "column" in option else "user_id", "country", "age"])
    age = "none" if "missing" in option else "23"
    Path("users.csv").write_text(f"{header}\n{separator.join(['new', 'c3', age])}\n")
    Path("lines.jsonl").write_text('{"user": "new", "history": ["i15", "i18"]}\n')
    found = recommended(run, "model", "--histories=lines.jsonl", "--users=users.csv", option)
    features = {"country": ["c3"], "age": [None if age == "none" else age]}
    model = load_pretrained(run / "model")
    (expected,) = model.recommend_tokens([["i15", "i18"]], N, users=["new"], user_features=features)
    assert found[0]["items"] == expected.tokens


def test_a_job_of_partitions_goes_on_with_the_same_users_only(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("in").mkdir()
    for name in ("a", "b"):
        Path(f"in/{name}.jsonl").write_text('{"user": "new", "history": ["i15"]}\n')
    Path("users.csv").write_text("user_id,country,age\nnew,c3,23\n")
    words = ["recommend", f"--model={run / 'model'}", "--histories=in", "--output=out", f"--n={N}"]
    main([*words, "--users=users.csv"])
    before = pl.read_parquet("out/a.jsonl.parquet")
    Path("out/b.jsonl.parquet").unlink()
    Path("users.csv").rename("same.csv")
    main([*words, "--users=same.csv"])
    assert pl.read_parquet("out/b.jsonl.parquet").equals(before)
    Path("out/b.jsonl.parquet").unlink()
    Path("same.csv").write_text("user_id,country,age\nnew,c1,23\n")
    assert "out/a.jsonl.parquet was written with --users = '" in error_of(capsys, *words, "--users=same.csv")
    assert "--users = '" in error_of(capsys, *words)
    assert not Path("out/b.jsonl.parquet").exists()
