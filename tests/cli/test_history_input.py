"""Histories in JSON lines: what is wrong with a line is said with the file and the line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from croloss_serving.common.feature_encoding import FeatureEncoding
from croloss_serving.recommend.event_inputs import EventInputs
from lightning_croloss.cli.recommend.history_input import (
    Histories,
    is_json_lines,
    read_json_file,
    read_json_lines,
    read_lists,
)
from lightning_croloss.errors import DataError

GOOD = '{"user": "a", "history": ["x"]}'


def read(content: bytes | str, name: str = "h.jsonl") -> list[tuple[list[object], list[object]]]:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return [(batch.users, [list(tokens) for tokens in batch.tokens]) for batch in read_json_file(name, 10)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f'{GOOD}\n{{"user": "a", "hist', "h.jsonl, line 2 is not JSON: Unterminated string .* at column 15"),
        ('["x",]', "line 1 is not JSON: "),
        ("['x']", "line 1 is not JSON: .*each line must hold a whole list"),
        ('{\n "history": ["x"]\n}', "line 1 is not JSON: "),
        ("\0\0", "line 1 is not JSON"),
        ("[" * 100_000, "line 1 is not a history: it is nested too deeply"),
        ("[1" + "0" * 5_000 + "]", "line 1 holds a number of too many digits"),
        ("[NaN]", "line 1: the history holds nan: tokens must be text or integers"),
        ("[1e400]", "line 1: the history holds inf"),
        ('[["x"]]', r"line 1: the history holds \['x'\]"),
        ("[true]", "line 1: the history holds True"),
        ("null", "line 1: a history must be a list of tokens, got None"),
        ('"x"', "line 1: a history must be a list of tokens, got 'x'"),
        ('{"history": {"a": 1}}', "line 1: a history must be a list of tokens, got {'a': 1}"),
        ('{"history": ["x"], "history": ["y"]}', "line 1 has 'history' twice"),
        ('{"user": 1, "history": ["x"], "user": 1}', "line 1 has 'user' twice"),
        ('{"user": 1.5, "history": ["x"]}', "line 1: the user is 1.5"),
        ('{"user": 99999999999999999999, "history": ["x"]}', "more than 64 bits hold: write it as text"),
        ('{"user": "\\ud800", "history": ["x"]}', "line 1 holds half a letter"),
        ('["\\udfff"]', "line 1 holds half a letter"),
        (GOOD.encode("utf-16"), "h.jsonl is not UTF-8 text: convert it"),
        (GOOD.encode() + b"\n" + b'["Zo\xeb"]' * 9_000, "h.jsonl .*is not UTF-8 text: convert it"),
    ],
    ids=range(22),
)
def test_what_is_wrong_with_a_line(content, said):
    with pytest.raises(DataError, match=said) as caught:
        read(content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
def test_nobody_is_no_mistake(content):
    assert read(content) == []


def test_what_is_right():
    assert read("\ufeff" + GOOD + "\n\n") == [(["a"], [["x"]])]
    assert read(f'["\\u00eb \\ud83d\\ude00"]\n[{10**30}]') == [([1, 2], [["\u00eb \U0001f600"], [10**30]])]
    assert all(map(is_json_lines, ("a.jsonl", "b.NDJSON", "c.json")))
    assert not any(map(is_json_lines, ("-", "a.csv", "json", "jsonl/x.parquet")))


def test_no_file():
    with pytest.raises(DataError, match=r"--histories: no\.jsonl does not exist"):
        list(read_json_file("no.jsonl", 1))
    Path("d.jsonl").mkdir()
    with pytest.raises(DataError, match=r"--histories: d\.jsonl is a folder, not a file"):
        list(read_json_file("d.jsonl", 1))


@given(st.text(max_size=40) | st.text('[]{}":,0"userhistory', max_size=40))
def test_any_text_is_read_or_refused_in_a_sentence(text):
    said = ""
    try:
        batches = list(read_json_lines(iter([text]), "the input", 10))
    except DataError as error:
        said = str(error)
    assert said.startswith("the input, line 1") if said else sum(map(len, batches)) <= 1


def test_a_feature_of_events_that_is_named_as_another_list(tmp_path: Path) -> None:
    pl = pytest.importorskip("polars", reason="needs the extra [tables]")
    columns = {"user_id": ["a"], "history": [["x", "y"]], "times": [[5, None]]}
    pl.DataFrame(columns).write_parquet(tmp_path / "lists.parquet")
    number = (FeatureEncoding.of_numbers("times", np.array([1.0, 2.0])),)

    def read_with(inputs: EventInputs) -> list[Histories]:
        return list(read_lists(tmp_path / "lists.parquet", "user_id", "history", 10, inputs))

    (found,) = read_with(EventInputs(None, number))
    assert found.of_events == {"event_features": {"times": [[5, None]]}}
    with pytest.raises(DataError, match="reads a feature 'times' of events, whose column"):
        read_with(EventInputs("numbers", number))


KIND = FeatureEncoding.of_tokens("kind", "categorical", [["buy"], ["view"]], " ")


@pytest.mark.parametrize(
    ("inputs", "entry", "said"),
    [
        (EventInputs(), {"times": [1]}, "line 1: the model does not read 'times' of events: it is left out"),
        (EventInputs(), {"event_features": {"kind": [1]}}, "the model does not read 'kind' of events"),
        (EventInputs(), {"event_features": {"a": [1], "b": []}}, "'a', 'b' of events: they are left out"),
        (
            EventInputs(None, (KIND,)),
            {"event_features": {"kind": ["buy"], "kinds": ["buy"]}},
            "the model does not read 'kinds' of events: it is left out; did you mean 'kind'?",
        ),
        (EventInputs(), {"user_features": {"age": 3}}, "'user_features' of users in JSON lines (--users"),
        (EventInputs("numbers"), {"times": [5], "time": [5]}, "does not read 'time' of a line"),
    ],
    ids=range(6),
)
def test_what_the_model_does_not_read_is_said_once(inputs, entry, said):
    line = json.dumps({"history": ["x"], **entry})
    notes: list[str] = []
    (found,) = read_json_lines(iter([line] * 3), "h.jsonl", 10, inputs, notes.append)
    (note,) = notes
    assert note.startswith("h.jsonl, line 1: ")
    assert said in note
    assert found.tokens == [["x"]] * 3
    assert found.event_features.keys() == {*inputs.names}


def test_columns_that_the_model_does_not_read_are_said_once(tmp_path: Path) -> None:
    pl = pytest.importorskip("polars", reason="needs the extra [tables]")
    columns = {"user_id": ["a", "b"], "history": [["x"], ["y"]], "kind": [["buy"]] * 2, "times": [[1]] * 2}
    pl.DataFrame(columns).write_parquet(tmp_path / "lists.parquet")
    notes: list[str] = []
    inputs = EventInputs(None, (KIND,))
    for _ in read_lists(tmp_path / "lists.parquet", "user_id", "history", 1, inputs, notes.append):
        pass
    assert notes == [
        "lists.parquet: the model does not read 'times' of events: it is left out; known: kind",
    ]
