"""The graph of users and items against sums over its edges, and what it takes from a file."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from lightning_croloss.models.layers.bi_interaction import BiInteraction
from lightning_croloss.models.layers.graph import InteractionGraph

NUM_USERS, NUM_ITEMS = 4, 5
#: User 4 and item 5 have no events, and one event repeats.
EVENTS = [(1, 2), (1, 3), (2, 3), (3, 1), (2, 3), (3, 4), (3, 3)]


def graph_of(events=EVENTS, num_users=NUM_USERS, num_items=NUM_ITEMS):
    graph = InteractionGraph(num_users, num_items)
    graph.set_edges(torch.tensor([user for user, _ in events]), torch.tensor([item for _, item in events]))
    return graph


def naive_sums(events, vectors, num_users=NUM_USERS):
    """Add up the neighbours of each node, edge by edge."""
    edges = sorted(set(events))
    sums = [torch.zeros(vectors.shape[1], dtype=vectors.dtype) for _ in vectors]
    for user, item in edges:
        of_user = sum(other == user for other, _ in edges)
        of_item = sum(other == item for _, other in edges)
        weight = (of_user * of_item) ** -0.5
        first, second = user - 1, num_users + item - 1
        sums[first] = sums[first] + weight * vectors[second]
        sums[second] = sums[second] + weight * vectors[first]
    return torch.stack(sums)


def vectors_of(graph, width=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(graph.num_nodes, width, generator=generator, dtype=dtype)


@given(
    events=st.lists(st.tuples(st.integers(1, NUM_USERS), st.integers(1, NUM_ITEMS)), min_size=1, max_size=20)
)
@settings(max_examples=25, deadline=None)
def test_a_product_is_the_sum_over_the_edges(events):
    graph = graph_of(events)
    vectors = vectors_of(graph)
    torch.testing.assert_close(graph(vectors), naive_sums(events, vectors))
    assert graph.num_edges == len(set(events))
    met = {user - 1 for user, _ in events} | {NUM_USERS + item - 1 for _, item in events}
    assert graph.isolated(vectors)[:, 0].tolist() == [node not in met for node in range(graph.num_nodes)]


def test_without_edges_nothing_comes():
    graph = InteractionGraph(NUM_USERS, NUM_ITEMS)
    assert not graph(vectors_of(graph)).any()
    assert graph.isolated(vectors_of(graph)).all()


def test_gradients():
    graph = graph_of()
    vectors = vectors_of(graph).requires_grad_()
    weights = torch.rand(graph.num_edges, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda v: graph(graph(v, weights)), (vectors,))
    assert torch.autograd.gradgradcheck(lambda v: graph(v).square(), (vectors,))


def test_a_weight_counts_for_both_directions_of_its_edge():
    graph, vectors = graph_of(), vectors_of(graph_of())
    weights = torch.rand(graph.num_edges, dtype=torch.float64)
    for number in range(graph.num_edges):
        only = torch.zeros_like(weights)
        only[number] = weights[number]
        user, item = graph.edges[:, number].tolist()
        found = graph(vectors, only)
        ends = [user - 1, NUM_USERS + item - 1]
        whole = (graph.edges[0] == user).sum() * (graph.edges[1] == item).sum()
        torch.testing.assert_close(found[ends], weights[number] * whole**-0.5 * vectors[ends[::-1]])
        found[ends] = 0
        assert not found.any()


def test_edges_are_drawn_by_their_probability():
    graph = InteractionGraph(100, 100)
    graph.set_edges(*(ids.flatten() for ids in torch.meshgrid(*[torch.arange(1, 101)] * 2, indexing="ij")))
    torch.manual_seed(0)
    drawn = graph.draw_edges(0.2, torch.device("cpu"))
    assert drawn.unique().tolist() == [0.0, 1.25]
    assert float((drawn == 0).float().mean()) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    graph = graph_of()
    vectors = vectors_of(graph).to(dtype)
    found = graph(vectors)
    assert found.dtype == dtype
    wide = graph(vectors.float())
    assert torch.equal(found, wide.to(dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(graph(vectors.float()), wide)


def test_what_is_kept_under_inference_mode_serves_training():
    graph = graph_of()
    with torch.inference_mode():
        expected = graph(vectors_of(graph))
    vectors = vectors_of(graph).requires_grad_()
    found = graph(vectors)
    assert torch.equal(found, expected)
    found.sum().backward()
    assert vectors.grad is not None


def test_the_latest_edges_replace_those_before_and_a_copy_has_its_own():
    graph = graph_of()
    vectors = vectors_of(graph)
    before, other = graph(vectors), copy.deepcopy(graph)
    graph.set_edges(torch.tensor([4]), torch.tensor([5]))
    torch.testing.assert_close(graph(vectors), naive_sums([(4, 5)], vectors))
    assert torch.equal(other(vectors), before)


@pytest.mark.parametrize(
    ("users", "items", "said"),
    [
        ([0], [1], r"users must hold ids 1 … 4, got 0 … 0"),
        ([1], [6], r"items must hold ids 1 … 5, got 6 … 6"),
        ([1, 2], [1], "users and items must hold an id for each event"),
    ],
)
def test_events_that_cannot_be_are_refused(users, items, said):
    with pytest.raises(ValueError, match=said):
        InteractionGraph(NUM_USERS, NUM_ITEMS).set_edges(torch.tensor(users), torch.tensor(items))


def test_the_edges_travel_in_the_state():
    graph, fresh = graph_of(), InteractionGraph(NUM_USERS, NUM_ITEMS)
    state = graph.state_dict()
    assert list(state) == ["edges"]
    assert state["edges"].tolist() == [[1, 1, 2, 3, 3, 3], [2, 3, 3, 1, 3, 4]]
    fresh.load_state_dict(state)
    vectors = vectors_of(graph)
    assert torch.equal(fresh(vectors), graph(vectors))
    state["edges"].zero_()
    assert fresh.num_edges == 6
    assert torch.equal(fresh(vectors), fresh.double()(vectors))
    with pytest.raises(RuntimeError, match=r'Missing key.* "edges"'):
        fresh.load_state_dict({})


EDGES = [[1, 2], [2, 3]]


@pytest.mark.parametrize(
    ("edges", "said"),
    [
        (torch.tensor(EDGES), "are not a tensor of int32"),
        (EDGES, "are not a tensor of int32"),
        (torch.tensor(EDGES, dtype=torch.int32).to_sparse(), "are not a tensor of int32"),
        (torch.zeros(3, 2, dtype=torch.int32), r"have the shape \(3, 2\) instead of \(2, E\)"),
        (torch.tensor([[0, 1], [1, 1]], dtype=torch.int32), r"have other users than 1 … 4"),
        (torch.tensor([[1, 5], [1, 1]], dtype=torch.int32), r"have other users than 1 … 4"),
        (torch.tensor([[1, 1], [0, 1]], dtype=torch.int32), r"have other items than 1 … 5"),
        (torch.tensor([[1, 1], [1, 6]], dtype=torch.int32), r"have other items than 1 … 5"),
        (torch.tensor([[2, 1], [1, 1]], dtype=torch.int32), "not in ascending order, or come twice"),
        (torch.tensor([[1, 1], [3, 3]], dtype=torch.int32), "not in ascending order, or come twice"),
    ],
    ids=range(10),
)
def test_edges_of_a_file_are_checked(edges, said):
    graph = graph_of()
    with pytest.raises(ValueError, match=said):
        graph.check_edges(edges)
    if isinstance(edges, torch.Tensor):
        with pytest.raises(RuntimeError, match="the edges of its graph"):
            graph.load_state_dict({"edges": edges})
    assert graph.num_edges == 6


# ---------------------------------------------------------------------- the layer of NGCF


def naive_layer(layer, graph, vectors):
    """Pass the messages of the paper from node to node: equations 3 to 6."""
    edges = graph.edges.T.tolist()
    neighbours = {node: [] for node in range(graph.num_nodes)}
    for user, item in edges:
        neighbours[user - 1].append(NUM_USERS + item - 1)
        neighbours[NUM_USERS + item - 1].append(user - 1)
    first, second = layer.own.weight, layer.shared.weight
    found = []
    for node, others in neighbours.items():
        message = first @ vectors[node]
        for other in others:
            norm = (len(others) * len(neighbours[other])) ** -0.5
            shared = second @ (vectors[other] * vectors[node])
            message = message + norm * (first @ vectors[other] + shared)
        found.append(torch.where(message > 0, message, 0.2 * message))
    return torch.stack(found)


def test_a_layer_of_ngcf_is_the_published_formula():
    torch.manual_seed(0)
    graph, layer = graph_of(), BiInteraction(3, 2, 0.5, 0.5).double().eval()
    vectors = vectors_of(graph)
    torch.testing.assert_close(layer(vectors, graph), naive_layer(layer, graph, vectors))
    parameters = tuple(layer.parameters())
    assert [tuple(weight.shape) for weight in parameters] == [(2, 3), (2, 3)]
    inputs = (vectors.requires_grad_(), *parameters)
    assert torch.autograd.gradcheck(lambda v, *_: layer(v, graph), inputs)


def test_a_silenced_node_keeps_what_it_is_and_sends_nothing():
    torch.manual_seed(3)
    graph, layer = graph_of(), BiInteraction(3, 3, node_dropout=0.5).double()
    for linear in (layer.own, layer.shared):
        nn.init.eye_(linear.weight)
    nn.init.zeros_(layer.shared.weight)
    vectors = vectors_of(graph).abs()
    state = torch.random.get_rng_state()
    found = layer(vectors, graph)
    torch.random.set_rng_state(state)
    sending = functional.dropout(torch.ones(graph.num_nodes, 1, dtype=torch.float64), 0.5)
    assert 0 < int((sending == 0).sum()) < graph.num_nodes
    torch.testing.assert_close(found, vectors + naive_sums(EVENTS, vectors * sending))
