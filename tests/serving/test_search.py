"""Whatever the index: lists are full unless the items run out, and nobody pays for others."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("faiss", reason="needs the extra [serve]")
from croloss_serving import Recommender, search
from croloss_serving.common.vocabulary import Vocabulary
from croloss_serving.index import build_index, read_index, write_index
from croloss_serving.recommend.item_table import ItemTable
from croloss_serving.search import exact_search, index_search

NUM_ITEMS, DIM, USERS = 1_200, 8, 6
KINDS = ("flat", "ivf", "hnsw")


def vectors_of(clusters, seed=0):
    """Draw unit vectors in tight, far away clusters: what an index of one cluster finds is a part of all."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(clusters, DIM))
    vectors = centres[generator.integers(0, clusters, NUM_ITEMS)] + 0.05 * generator.normal(
        size=(NUM_ITEMS, DIM)
    )
    return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


VECTORS = vectors_of(12)
INTERESTS = VECTORS[np.random.default_rng(1).integers(0, NUM_ITEMS, (USERS, 2))]


class Spy:
    """An index that notes how much is asked of it."""

    def __init__(self, index):
        self._index = index
        self.calls = []

    def __getattr__(self, name):
        return getattr(self._index, name)

    def search(self, queries, k, params=None):
        self.calls.append((len(queries), k, params))
        return self._index.search(queries, k, params=params)


@pytest.fixture(scope="module")
def indexes(tmp_path_factory):
    """Make each kind of index, searched as little as possible."""
    made = {}
    for kind in KINDS:
        path = tmp_path_factory.mktemp("index") / kind
        write_index(build_index(kind, VECTORS), path)
        made[kind] = read_index(path, nprobe=1, ef_search=1)
    return made


def excluded_ids(lengths, seed=2):
    generator = np.random.default_rng(seed)
    return [np.sort(generator.permutation(NUM_ITEMS)[:length] + 1) for length in lengths]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 40, 250, 700, NUM_ITEMS])
@pytest.mark.parametrize("lengths", [[0] * USERS, [0, 3, 20, 200, 600, 1_190]])
def test_lists_are_full_unless_the_items_run_out(indexes, kind, n, lengths):
    excluded = excluded_ids(lengths)
    found = index_search(INTERESTS, VECTORS, indexes[kind], n, excluded)
    exact = exact_search(INTERESTS, VECTORS, n, excluded)
    for (ids, scores), (best, best_scores), out in zip(found, exact, excluded, strict=True):
        assert len(ids) == len(set(ids.tolist())) == len(best) == min(n, NUM_ITEMS - len(out))
        assert not np.isin(ids, out).any()
        assert (np.diff(scores) <= 0).all()
        if kind == "flat":
            assert scores == pytest.approx(best_scores, abs=1e-6)
            # items whose scores differ by rounding may change positions
            assert len(set(ids.tolist()) & set(best.tolist())) >= len(best) - 2


def test_items_of_equal_score_follow_their_ids(tmp_path):
    """An exact index says nothing of which of equal items it leaves out."""
    vectors = np.repeat(np.eye(4, dtype=np.float32), 100, axis=0)[np.random.default_rng(0).permutation(400)]
    write_index(build_index("flat", vectors), tmp_path / "index")
    index = read_index(tmp_path / "index", None, None)
    interests = vectors[:8, None]
    excluded = [np.array([1, 2])] * 8
    for n in (1, 5, 30):
        found = index_search(interests, vectors, index, n, excluded)
        for ours, theirs in zip(found, exact_search(interests, vectors, n, excluded), strict=True):
            assert ours[0].tolist() == theirs[0].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_one_long_history_widens_nobody_elses_search(indexes, kind):
    lengths = [0, 0, 0, 0, 150, 800]
    spy = Spy(indexes[kind])
    index_search(INTERESTS, VECTORS, spy, 5, excluded_ids(lengths))
    first_calls = [(queries, k) for queries, k, params in spy.calls if params is None]
    # two interests each: four users, then one; for the last an exact search costs no more
    assert first_calls == [(8, 6), (2, 156)]
    alone = [index_search(INTERESTS[[u]], VECTORS, indexes[kind], 5, [np.zeros(0, int)]) for u in range(4)]
    together = index_search(INTERESTS, VECTORS, indexes[kind], 5, excluded_ids(lengths))
    assert [ids.tolist() for ids, _ in together[:4]] == [ids.tolist() for [(ids, _)] in alone]


def test_only_those_who_got_too_few_are_searched_again(indexes):
    spy = Spy(indexes["ivf"])
    sizes = [spy.invlists.list_size(number) for number in range(spy.nlist)]
    index_search(INTERESTS, VECTORS, spy, min(sizes) + 1, excluded_ids([0] * USERS))
    again = [queries for queries, _, params in spy.calls if params is not None]
    assert len(again) <= 3
    assert sum(again) < 3 * 2 * USERS
    assert spy.nprobe == 1  # the index itself is as it was set


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_widening_loses_nothing(indexes, kind):
    """What is delivered holds at least as many of the exact best as a single search as the index is set."""
    n, excluded = 60, excluded_ids([0] * USERS)
    exact = exact_search(INTERESTS, VECTORS, n, excluded)
    found = index_search(INTERESTS, VECTORS, indexes[kind], n, excluded)
    plain = indexes[kind].search(INTERESTS.reshape(-1, DIM), n)[1].reshape(USERS, -1) + 1
    for (ids, _), (best, _), before in zip(found, exact, plain, strict=True):
        assert np.isin(best, ids).sum() >= np.isin(best, before).sum()


# ---- the Recommender -------------------------------------------------------------------------------------


class Session:
    """Encodes a history as the vector of its last item."""

    def get_inputs(self):
        return [SimpleNamespace(name="history")]

    def get_overridable_initializers(self):
        return []

    def run(self, names, given):
        return [VECTORS[given["history"][:, -1] - 1][:, None]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [20, 500, 1_150])
@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"exclude_history": False},
        {"deny": [f"i{number}" for number in range(100)]},
        {"allow": [f"i{number}" for number in range(300)], "deny": ["i7", "nothing"]},
    ],
)
def test_the_recommender_delivers_what_there_is(indexes, kind, n, limits):
    items = ItemTable(Vocabulary([f"i{number}" for number in range(NUM_ITEMS)]))
    model = {"class": "YouTubeDNN", "max_history": 50, "num_users": 0, "num_items": NUM_ITEMS}
    histories = [["i5"], [f"i{number}" for number in range(0, 600, 2)], ["i1100", "i1101", "nothing"]]
    recommender = Recommender(Session(), VECTORS, items, model, indexes[kind])
    exact = Recommender(Session(), VECTORS, items, model)
    limits = {"exclude_history": True, **limits}
    allowed = set(limits.get("allow", items.vocabulary.tokens)) - set(limits.get("deny", []))
    found = recommender.recommend(histories, n, **limits)
    for user, best, history in zip(found, exact.recommend(histories, n, **limits), histories, strict=True):
        available = allowed - set(history) if limits["exclude_history"] else allowed
        assert len(user.tokens) == len(set(user.tokens)) == len(best.tokens) == min(n, len(available))
        assert set(user.tokens) <= available
        if kind == "flat":
            assert user.scores == pytest.approx(best.scores, abs=1e-6)


def test_blocks_change_nothing(indexes, monkeypatch):
    whole = index_search(INTERESTS, VECTORS, indexes["ivf"], 30, excluded_ids([0, 1, 2, 3, 4, 5]))
    monkeypatch.setattr(search, "TILE_ELEMENTS", 1)
    parts = index_search(INTERESTS, VECTORS, indexes["ivf"], 30, excluded_ids([0, 1, 2, 3, 4, 5]))
    assert [ids.tolist() for ids, _ in whole] == [ids.tolist() for ids, _ in parts]


@pytest.mark.parametrize("setting", ["nprobe", "ef_search"])
def test_a_search_of_nothing_is_refused(setting, tmp_path):
    with pytest.raises(ValueError, match=rf"{setting}=0 must be a whole number from 1 to"):
        read_index(tmp_path / "index", **{"nprobe": None, "ef_search": None, setting: 0})
