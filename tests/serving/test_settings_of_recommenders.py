"""Numbers that are none, names that no folder can have, and encoders that give no vectors."""

from types import SimpleNamespace

import numpy as np
import pytest

from croloss_serving import ItemTable
from croloss_serving.common.vocabulary import Vocabulary
from croloss_serving.errors import PretrainedError
from croloss_serving.recommender import Recommender
from tests.fuzz.folders import FORMATS

EXPORT = FORMATS / "exports" / "youtube_dnn"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("threads", value) for value in ("2", 1.5, 10**20, -1, True)),
        *(("nprobe", value) for value in ("3", 1.5, 10**20, 0)),
        *(("ef_search", value) for value in ("3", 2.5, 10**12, True)),
    ],
)
def test_a_number_that_is_none(name, value):
    with pytest.raises(
        ValueError, match=rf"{name}=.* must be a whole number from [01] to 2,147,483,647, or None"
    ):
        Recommender.from_export(EXPORT, **{name: value})


@pytest.mark.parametrize("name", ["a" * 5000, "a" * 300, "a\0b"], ids=["long", "name", "NUL"])
def test_a_name_that_no_folder_can_have(name):
    with pytest.raises(PretrainedError, match="is not an export of a model: it does not exist"):
        Recommender.from_export(name)


class Encoder:
    """Stands in for a session of onnxruntime that gives this."""

    def __init__(self, given):
        self._given = given

    def get_inputs(self):
        return [SimpleNamespace(name="history")]

    def run(self, _, __):
        return [self._given]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([np.ones((1, 4), np.float32)], "gives list instead of vectors of float32"),
        (None, "gives NoneType instead of vectors"),
        (np.ones((1, 1, 4), np.int64), "gives int64 instead of vectors of float32"),
        (np.ones((1, 1, 4)), "gives float64 instead of vectors"),
        (np.full((1, 1, 4), "x", object), "gives object instead of vectors"),
        (np.ones((1, 0, 4), np.float32), r"gives vectors of the shape \(1, 0, 4\) for 1 users"),
        (np.ones((1, 4), np.float32), r"gives vectors of the shape \(1, 4\)"),
        (np.full((1, 1, 4), np.nan, np.float32), "gives numbers that are not finite"),
        (np.full((1, 1, 4), np.inf, np.float32), "gives numbers that are not finite"),
    ],
    ids=["sequence", "nothing", "integers", "doubles", "texts", "none", "matrix", "NaN", "infinite"],
)
def test_an_encoder_that_gives_no_vectors(given, said):
    model = {"class": "MIND", "num_items": 3, "num_users": 0, "max_history": None}
    items = ItemTable(Vocabulary(["a", "b", "c"]), np.arange(3))
    recommender = Recommender(Encoder(given), np.ones((3, 4), np.float32), items, model)
    with pytest.raises(PretrainedError, match=f"the encoder of this export {said}"):
        recommender.recommend([["a"]], 2)
