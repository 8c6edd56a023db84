"""What a user gives becomes what a file takes, or is refused by the name of the entry."""

import datetime
import enum
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_croloss.common.made_plain import made_plain


class Colour(str, enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (torch.tensor(0.5), 0.5),
        (torch.tensor([1, 2], dtype=torch.int32), [1, 2]),
        (torch.ones(1, requires_grad=True), [1.0]),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1.5]]), [[1.5]]),
        (Path("a/b"), "a/b"),
        ((1, "a", None), [1, "a", None]),
        (Colour.RED, "red"),
        (Number.ONE, 1),
        ({"a": {1: (True,)}, np.int64(2): 2.0}, {"a": {1: [True]}, 2: 2.0}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain_values(value, plain):
    for of_json in (False, True):
        found = made_plain(value, "config", of_json)
        assert found == plain
        assert type(found) is type(plain)
        json.dumps(found)


def test_what_json_has_not():
    day = datetime.date(2020, 1, 2)
    assert made_plain({"a": day}, "metrics", of_json=True) == {"a": "2020-01-02"}
    assert made_plain({"a": day}, "config") == {"a": day}
    assert math.isnan(made_plain(float("nan"), "config"))
    for value in (float("nan"), np.float32("inf"), torch.tensor(float("-inf"))):
        with pytest.raises(
            ValueError, match=r"metrics\['test'\]\[1\] is -?(nan|inf), which JSON has no number"
        ):
            made_plain({"test": [0.5, value]}, "metrics", of_json=True)


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        ({"a": [object()]}, TypeError, r"config\['a'\]\[0\] is a object, which is no plain value"),
        ({"a": b"x"}, TypeError, r"config\['a'\] is a bytes"),
        ({"a": {1, 2}}, TypeError, r"config\['a'\] is a set.*a set has no order: make it a list"),
        ({"a": {1.5: 2}}, TypeError, r"config\['a'\] has the name 1.5: names are texts"),
        ({"a": "\ud800"}, ValueError, r"config\['a'\] holds half a letter \('\\ud800'\)"),
        ({"\udc00": 1}, ValueError, r"a name in config holds half a letter"),
    ],
    ids=["object", "bytes", "set", "name", "half a letter", "half a letter of a name"],
)
def test_what_is_not_plain(value, error, said):
    with pytest.raises(error, match=said):
        made_plain(value, "config")
