"""The graph of near items and the table it smooths against sums over pairs of events."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from lightning_croloss.models.layers.item_graph import ItemGraph
from lightning_croloss.models.layers.smoothed_embedding import SmoothedEmbedding

NUM_ITEMS = 5
HISTORIES = [[1, 2, 3, 2], [4], [3, 1, 1, 2], [2, 4]]


def events_of(histories):
    users = [user for user, history in enumerate(histories, 1) for _ in history]
    items = [item for history in histories for item in history]
    return torch.tensor(users, dtype=torch.long), torch.tensor(items, dtype=torch.long)


def graph_of(histories=HISTORIES, window=2):
    graph = ItemGraph(NUM_ITEMS, window)
    graph.set_events(*events_of(histories))
    return graph


def table_of(dtype=torch.float64):
    table = torch.randn(NUM_ITEMS + 1, 3, generator=torch.Generator().manual_seed(1), dtype=dtype)
    table[0] = 0.0
    return table


def strengths_of(histories, window):
    """Count for each pair of items how often they stand so near, (num_items + 1, num_items + 1)."""
    counts = torch.zeros(NUM_ITEMS + 1, NUM_ITEMS + 1, dtype=torch.float64)
    for history in histories:
        for place, item in enumerate(history):
            for other in history[place + 1 : place + 1 + window]:
                if item != other:
                    counts[item, other] += 1
                    counts[other, item] += 1
    return counts


histories = st.lists(st.lists(st.integers(1, NUM_ITEMS), max_size=7), max_size=6)


@given(histories=histories, window=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_an_edge_is_as_strong_as_its_items_are_often_near(histories, window):
    graph, table = graph_of(histories, window), table_of()
    counts = strengths_of(histories, window)
    degrees = counts.sum(1)
    weights = counts / (degrees[:, None] * degrees[None]).sqrt().clamp(min=1e-12)
    torch.testing.assert_close(graph(table), weights @ table)
    assert graph.num_edges == int((counts > 0).sum()) // 2
    assert graph.isolated(table)[:, 0].tolist() == (degrees == 0).tolist()
    graph.check_edges(graph.edges)  # what it makes is what it takes


def test_gradients_are_those_of_the_sums():
    graph, table = graph_of(), table_of().requires_grad_()
    assert torch.autograd.gradcheck(graph, table)
    assert torch.autograd.gradgradcheck(graph, table)


def test_half_precision_is_summed_in_float32():
    graph, table = graph_of(), table_of(torch.float32)
    found = graph(table.half())
    assert found.dtype == torch.float16
    torch.testing.assert_close(found, graph(table.half().float()).half(), rtol=0.0, atol=0.0)


@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        ([1, 1], [1], "an id for each event"),
        ([[1], [1]], [[1], [2]], "an id for each event"),
        ([1, 1], [0, 3], r"ids 1 … 5, got 0 … 3"),
        ([1, 1], [2, 6], r"ids 1 … 5, got 2 … 6"),
    ],
)
def test_events_that_cannot_be_are_refused(users, items, message):
    with pytest.raises(ValueError, match=message):
        ItemGraph(NUM_ITEMS, 2).set_events(torch.tensor(users), torch.tensor(items))


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([[1, 2], [2, 3]], r"the shape \(2, 2\) instead of \(3, E\)"),
        ([[0], [2], [1]], "other items than 1 … 5"),
        ([[1], [6], [1]], "other items than 1 … 5"),
        ([[2], [2], [1]], "not between two items, or of no strength"),
        ([[3], [2], [1]], "not between two items, or of no strength"),
        ([[1], [2], [0]], "not between two items, or of no strength"),
        ([[1, 1], [3, 2], [1, 1]], "not in ascending order, or come twice"),
        ([[1, 1], [2, 2], [1, 1]], "not in ascending order, or come twice"),
    ],
)
def test_edges_that_cannot_be_are_refused(edges, message):
    graph = graph_of()
    with pytest.raises(ValueError, match=message):
        graph.check_edges(torch.tensor(edges, dtype=torch.int32))
    with pytest.raises(RuntimeError, match=message):
        graph.load_state_dict({"edges": torch.tensor(edges, dtype=torch.int32)})


def test_the_largest_strengths_do_not_overflow():
    graph = ItemGraph(NUM_ITEMS, 2)
    strongest = 2**31 - 1
    graph.load_state_dict(
        {"edges": torch.tensor([[1, 2], [2, 3], [strongest, strongest]], dtype=torch.int32)}
    )
    assert torch.isfinite(graph(table_of())).all()


# ---------------------------------------------------------------------- the table


def smoothed(weight=0.5, histories=HISTORIES):
    torch.manual_seed(0)
    embedding = SmoothedEmbedding(NUM_ITEMS, 3, weight, window=2)
    embedding.graph.set_events(*events_of(histories))
    return embedding


def test_neighbours_add_to_the_table():
    embedding = smoothed()
    expected = embedding.weight + 0.5 * embedding.graph(embedding.weight)
    assert torch.equal(embedding.table(), expected)
    ids = torch.tensor([[0, 3], [5, 0]])
    assert torch.equal(embedding(ids), functional.embedding(ids, expected))
    assert not embedding(ids)[0, 0].any()
    assert torch.equal(embedding(torch.tensor([5])), embedding.weight[5:])  # of no history


def test_a_step_smooths_once_and_the_next_one_anew():
    embedding = smoothed()
    with embedding.step():
        table = embedding.table()
        assert embedding.table() is table
        embedding(torch.tensor([1, 2])).sum().backward(retain_graph=True)
        embedding(torch.tensor([3])).sum().backward()
    gradient = embedding.weight.grad.clone()
    embedding.weight.grad = None
    embedding(torch.tensor([1, 2, 3])).sum().backward()  # after the step, of a table of its own
    torch.testing.assert_close(embedding.weight.grad, gradient)
    assert not embedding.weight.grad[0].any()
    copy.deepcopy(embedding)
    pickle.dumps(embedding)


@torch.no_grad()
def test_an_evaluation_smooths_once_until_the_weights_change():
    embedding = smoothed().eval()
    table = embedding.table()
    assert embedding.table() is table
    embedding.weight.mul_(2.0)
    torch.testing.assert_close(embedding.table(), 2.0 * table)
    embedding.graph.set_events(*events_of([[1, 5]]))
    assert not torch.equal(embedding.table(), 2.0 * table)
    table = embedding.table()
    embedding.weight.data.mul_(2.0)  # behind its back
    assert embedding.table() is table
    embedding.forget()
    torch.testing.assert_close(embedding.table(), 2.0 * table)
