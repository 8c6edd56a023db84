"""Configs and figures of a stranger: plain values or one sentence, soon and with little memory."""

import json
import time
import tracemalloc

import pytest
import yaml

from croloss_serving.common.plain_json import parse_json
from croloss_serving.common.plain_values import DEEPEST, check_bounded
from lightning_croloss.common.plain_yaml import OF_STRANGERS, PlainYamlError, dump_yaml, parse_yaml, read_yaml
from tests.fuzz.damage import cases, damaged

USUAL = 150
CONFIG = """
data:
  class_path: TableDataModule
  init_args: {interactions: data/shop.parquet, max_history: 50, split: null}
model: &model
  class_path: YouTubeDNN
  init_args:
    hidden_dims: [64, 32]
    loss: {class_path: CROLoss, init_args: {temperature: 1.0e-1, fused: true}}
    again: &again [2024-01-31, 0x1f, 1_000, .inf, "text"]
    twice: *again
"""
#: Nine lines that stand for 9^10 values.
LAUGHS = "a0: &a0 [1, 1, 1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 11)
)
HOSTILE = {
    "aliases of aliases": LAUGHS,
    "an alias to itself": "x: &x [*x]",
    "a mapping within itself": "x: &x {a: {b: *x}}",
    "a key within itself": "&x {? *x : 1}",
    "brackets": "[" * 500_000,
    "braces": "{a: " * 100_000,
    "dashes": "- " * 200_000,
    "deep aliases": "".join(f"b{n}: &b{n} [*b{n - 1}]\n" if n else "b0: &b0 []\n" for n in range(200)),
    "a key twice": "model: 1\nmodel: 2",
    "a list as a key": "? [a]\n: 1",
    "a merge": "a: &a {x: 1}\nb: {<<: *a}",
    "a tag of Python": "!!python/object/apply:os.system ['true']",
    "a binary": "a: !!binary aGVsbG8=",
    "a set": "a: !!set {b, c}",
    "a number of many digits": f"a: {'9' * 100_000}",
    "a number of many parts": f"a: {'1:' * 100_000}1",
    "a number that is none": "a: 0b_",
    "a day that is none": "a: 2024-13-45",
    "an unknown alias": "a: *b",
    "two documents": "--- 1\n--- 2",
    "too large": "a: '" + "x" * OF_STRANGERS.most_bytes + "'",
    "too many": "[" + "1," * 60_000 + "]",
    "no text": b"\xff\xfe\x00",
    "a control character": "a: \x1b[2J",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml(name, tmp_path):
    content = HOSTILE[name]
    path = tmp_path / "config.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    begin = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(PlainYamlError) as caught:
            read_yaml(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert time.process_time() - begin < 10
    assert peak < 2**27


def test_the_line_is_named():
    with pytest.raises(PlainYamlError, match=r"^line 6: it stands for more than 50,000 values$"):
        parse_yaml(LAUGHS)
    with pytest.raises(PlainYamlError, match=r"^line 2: the key 'model' is given twice$"):
        parse_yaml("model: 1\nmodel: 2")
    with pytest.raises(PlainYamlError, match=r"^line 1: an alias refers to what it stands in$"):
        parse_yaml("x: &x [*x]")


def test_what_is_read_is_what_yaml_says():
    assert parse_yaml(CONFIG) == yaml.safe_load(CONFIG)
    assert parse_yaml("\ufeffa: 1".encode()) == {"a": 1}
    assert parse_yaml("{0: 8, 4: 2}") == {0: 8, 4: 2}


def test_no_alias_is_written():
    shared = [1, 2]
    text = dump_yaml({"a": shared, "b": shared, "ü": {"c": shared}})
    assert "&" not in text
    assert "ü" in text
    assert parse_yaml(text) == {"a": shared, "b": shared, "ü": {"c": shared}}


def test_damaged_yaml(fuzz_budget):
    for case in cases("yaml", USUAL, fuzz_budget):
        with case.only(PlainYamlError):
            check_bounded(parse_yaml(damaged(CONFIG.encode(), case.chance)))


def test_damaged_json(fuzz_budget):
    whole = json.dumps({"test": {"recall@20": 0.1}, "choose_by": 20, "n": [1, [2, [3]]], "x": None}).encode()
    assert parse_json(whole)["choose_by"] == 20
    for case in cases("json", 4 * USUAL, fuzz_budget):
        with case.only(ValueError):
            parse_json(damaged(whole, case.chance))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"[" * 500_000, "nested too deeply"),
        (b'{"a":' * 90 + b"1" + b"}" * 90, "nested more than 64 levels deep"),
        (b'{"a": 1, "b": {"a": 1, "a": 2}}', "it gives 'a' twice"),
        (b"\xff", "not text in UTF-8"),
        (b'{"a": ' + b"9" * 5000 + b"}", "4300"),
        (b"{'a': 1}", "line 1"),
    ],
)
def test_hostile_json(content, fault):
    with pytest.raises(ValueError, match=fault):
        parse_json(content)


def test_values_that_refer_to_each_other():
    itself: list = []
    itself.append([itself])
    with pytest.raises(ValueError, match="refers to itself"):
        check_bounded(itself)
    many: list = [1]
    for _ in range(40):
        many = [many, many]
    with pytest.raises(ValueError, match="stands for more than"):
        check_bounded(many)
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match=f"more than {DEEPEST} levels"):
        check_bounded({"a": deep})
    check_bounded({"a": [1, {"b": (1, 2)}], "c": itself[:0]})
