"""What values show: at the first call of a shape, and without waiting for a device."""

import copy
import pickle
import re
import warnings

import pytest
import torch
from torch.nn.functional import normalize

from lightning_croloss.losses import CROLoss, PowerImportance, SoftmaxLoss, TargetNImportance
from lightning_croloss.losses.checking.answers import Answers, Arrival
from lightning_croloss.losses.checking.inspection import Inspection

B, M, D, N = 16, 40, 8, 100


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def told(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.rand(M) / M, r"look like probabilities: give \w+\.log\(\)"),
        (torch.arange(M), r"look like counts: give log_prob_from_counts\(counts\)"),
        (torch.tensor([-1.0] * (M - 1) + [float("nan")]), "holds NaN"),
    ],
)
def test_log_q(values, message):
    values = values.float()
    with pytest.raises(ValueError, match=f"^negative_log_prob .*{message}"):
        CROLoss(num_items=N)(random(B), random(B, M), negative_log_prob=values)
    with pytest.raises(ValueError, match=f"^candidate_log_prob .*{message}"):
        CROLoss(num_items=N).from_embeddings(
            random(B, D), random(B, D, seed=1), random(M, D, seed=2), candidate_log_prob=values
        )
    fine = torch.tensor([-1.0] * (M - 1) + [-float("inf")])
    assert (
        told(lambda: CROLoss(num_items=N, temperature=1.0)(random(B), random(B, M), negative_log_prob=fine))
        == []
    )


def by_ids(loss, **change):
    given = {
        "target_ids": torch.arange(1, B + 1),
        "candidate_ids": torch.arange(20, 20 + M),
        "excluded_ids": torch.ones(B, 2, dtype=torch.long),
    } | change
    return loss.from_embeddings(random(B, D), random(B, D, seed=1), random(M, D, seed=2), **given)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", ["target_ids", "candidate_ids", "excluded_ids"])
@pytest.mark.parametrize(("wrong", "size"), [(N + 1, N), (-1, N), (-1, None)])
def test_ids_out_of_range(name, wrong, size, fused):
    ids = {"target_ids": torch.ones(B), "candidate_ids": torch.ones(M), "excluded_ids": torch.ones(B, 2)}[
        name
    ]
    ids = ids.long()
    ids[3] = wrong
    with pytest.raises(ValueError, match=rf"^{name} holds {wrong}, .*padding_id=None"):
        by_ids(CROLoss(num_items=size, fused=fused), **{name: ids})
    by_ids(CROLoss(num_items=size, fused=fused), padding_id=None, **{name: ids})


@pytest.mark.parametrize("padding", [0, 7])
def test_a_target_that_is_padding_in_any_call(padding):
    loss = CROLoss()
    ids = torch.arange(20, 20 + B)
    for _ in range(3):
        by_ids(loss, target_ids=ids, padding_id=padding)
    ids[5] = padding
    with pytest.raises(ValueError, match=rf"target_ids is padding_id={padding} in 1 of {B} rows"):
        by_ids(loss, target_ids=ids, padding_id=padding)
    by_ids(loss, target_ids=ids, padding_id=None)
    by_ids(loss, target_ids=ids, padding_id=padding, sample_weight=(ids != padding).float())


def test_padding_among_the_targets_of_positions_is_none():
    users, positives = random(2, 3, D), random(2, 3, D, seed=1)
    ids = torch.tensor([[1, 2, 0], [3, 0, 0]])
    CROLoss().from_embeddings(
        users, positives, random(M, D), target_ids=ids, candidate_ids=torch.arange(1, M + 1)
    )


def own_positives(name):
    users, items, hard = random(B, D), random(B, D, seed=1), random(M, D, seed=2)
    everything = torch.cat([items, hard])
    shuffled = everything[torch.randperm(B + M, generator=torch.Generator().manual_seed(0))]
    own = torch.cat([hard[:5].expand(B, 5, D), items.unsqueeze(1)], dim=1)
    candidates = {
        "the same": items,
        "a copy": items.clone(),
        "first": everything,
        "anywhere": shuffled,
        "of each row": own,
        "a view": items.view(B, D),
    }[name]
    return users, items, candidates


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", ["the same", "a copy", "first", "anywhere", "of each row", "a view"])
def test_own_positives_among_the_candidates(name, fused):
    users, items, candidates = own_positives(name)
    fused = fused and candidates.dim() == 2
    ids = torch.arange(1, B + 1)
    with pytest.raises(ValueError, match=r"loss\.in_batch\(users, items\), else give target_ids and cand"):
        CROLoss(fused=fused).from_embeddings(users, items, candidates)
    with pytest.raises(
        ValueError, match="give target_ids and candidate_ids"
    ):  # ids of candidates do not help
        CROLoss(fused=fused).from_embeddings(
            users, items, candidates, candidate_ids=torch.arange(1, candidates.shape[-2] + 1)
        )
    if name in ("the same", "first"):
        candidate_ids = torch.arange(1, len(candidates) + 1)
        CROLoss(fused=fused).from_embeddings(
            users, items, candidates, target_ids=ids, candidate_ids=candidate_ids
        )
        with pytest.raises(ValueError, match="give both the same numbering"):
            CROLoss(fused=fused).from_embeddings(
                users, items, candidates, target_ids=ids, candidate_ids=candidate_ids + 1
            )


def test_candidates_that_are_not_the_positives_raise_nothing():
    users, items = random(B, D), random(B, D, seed=1)
    loss = CROLoss(num_items=N, temperature=1.0)
    half = torch.cat([items[: B // 2], random(M, D, seed=2)])  # accidental hits are not all rows
    for candidates in (random(B, D, seed=2), half, torch.zeros(M, D)):
        assert told(lambda candidates=candidates: loss.from_embeddings(users, items, candidates)) == []
    few = items[:2].repeat(B // 2, 1)  # items that share vectors
    assert told(lambda: loss.from_embeddings(users, few, torch.cat([few[:2], half]))) == []


@pytest.mark.parametrize("of_each_row", [False, True])
def test_binary_codes_are_often_equal_in_some_coordinates(of_each_row):
    rows, dim = 64, 64
    users, items = random(rows, dim), random(rows, dim, seed=1).sign()
    candidates = random(rows, 3_000, dim, seed=2).sign() if of_each_row else random(3_000, dim, seed=2).sign()
    # in the coordinates that are looked at first, each row's positive is among them
    looked_at = candidates[..., :: dim // 8]
    assert (looked_at == items[:, None, :: dim // 8]).all(-1).any(-1).all()
    assert told(lambda: CROLoss(temperature=8.0).from_embeddings(users, items, candidates)) == []


@pytest.mark.parametrize("name", ["diagonal", "products", "logits"])
def test_the_positives_score_among_the_negatives(name):
    users, items = random(B, D), random(B, D, seed=1)
    if name == "logits":
        negative = random(B, M)
        positive = negative[:, 7]
        own = torch.arange(M) == 7
    else:
        negative, own = users @ items.T, torch.eye(B, dtype=torch.bool)
        positive = (users * items).sum(1) if name == "products" else negative.diagonal()
    with pytest.raises(ValueError, match=r"negatives of their own rows.*loss\.from_logits.*loss\.in_batch"):
        CROLoss()(positive, negative)
    assert told(lambda: CROLoss(temperature=3.0)(positive, negative, negative_mask=own)) == []
    if name != "logits":
        with pytest.raises(ValueError, match=r"most others are ignored \(True = ignore: pass ~negative_mask"):
            CROLoss()(positive, negative, negative_mask=~own)


def test_equal_scores_are_no_positives():
    for positive, negative in (
        (torch.zeros(B), torch.zeros(B, B)),
        (torch.zeros(B), torch.zeros(B, M)),
        (torch.ones(B), random(B, M).sign()),
        (random(B).bfloat16(), random(B, 2000, seed=1).bfloat16()),
    ):
        assert (
            told(lambda positive=positive, negative=negative: CROLoss(temperature=3.0)(positive, negative))
            == []
        )


def short_scores(kind, rows, columns):
    """Return scores (rows,), (rows, columns) of few digits in float32; no item is its own negative."""
    if kind == "decimals":
        return random(rows).round(decimals=1), random(rows, columns, seed=1).round(decimals=1)
    if kind == "saturated":
        return torch.ones(rows), random(rows, columns, seed=1).clamp(max=1.0)
    users, positives, candidates = (
        normalize(random(size, 64, seed=seed), dim=1).bfloat16()
        for seed, size in enumerate((rows, rows, columns))
    )
    return (users * positives).sum(1).float(), (users @ candidates.T).float()


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (2, 300), (8, 1000), (64, 2560)])
@pytest.mark.parametrize("kind", ["bfloat16", "decimals", "saturated"])
def test_numbers_of_few_digits_are_equal_by_chance(kind, rows, columns):
    messages = told(lambda: CROLoss(temperature=3.0)(*short_scores(kind, rows, columns)))
    assert not [message for message in messages if "negative_scores too" in message]


def test_one_decimal_never_raises():
    """Of few rows all may tie by chance: that happens, and is no evidence."""
    scores = random(300, 2, 21).round(decimals=1)
    tied = 0
    for pair in scores:
        tied += int(((pair[:, :1] == pair[:, 1:]).sum(1) > 0).all())
        told(lambda: CROLoss(temperature=3.0)(pair[:, 0], pair[:, 1:]))  # noqa: B023
    assert tied > 10


@pytest.mark.parametrize("rows", [2, 3, 4, 8])
@pytest.mark.parametrize("kind", ["anywhere", "drawn again", "diagonal", "bfloat16 diagonal"])
def test_few_rows_whose_positives_are_among_the_negatives(kind, rows):
    """Of few numbers a warning says so, as chance is not out of the question."""
    users, items = random(rows, D), random(M, D, seed=1)
    if kind == "drawn again":  # of few popular items: within a row their scores are equal
        items = items[torch.arange(M) % 20]
    if "diagonal" in kind:
        items = items[:rows]
    negative = users @ items.T
    negative = negative.bfloat16() if "bfloat16" in kind else negative
    positive = negative.diagonal()
    message = "negatives of their own rows.*loss.from_logits"
    if rows == 2 and "diagonal" in kind:
        assert any(
            re.search(message + ".*by accident", text)
            for text in told(lambda: CROLoss(temperature=3.0)(positive, negative))
        )
    else:
        with pytest.raises(ValueError, match=message):
            CROLoss()(positive, negative)


def padded(lengths, columns):
    return torch.arange(columns) >= torch.as_tensor(lengths).unsqueeze(1)


@pytest.mark.parametrize(
    ("mask", "warns"),
    [
        (torch.rand(B, M, generator=torch.Generator().manual_seed(0)) < 0.05, None),
        (torch.rand(B, M, generator=torch.Generator().manual_seed(0)) < 0.95, "more than half"),
        (padded([M] + [2] * (B - 1), M), None),  # heavily padded lists
        (padded([M] + [2] * (B - 1), M).flip(1), None),
        (torch.ones(B, M, dtype=torch.bool), "ignores every negative"),
        (torch.ones(M, dtype=torch.bool), "ignores every negative"),
        (torch.arange(M) == 0, None),  # a padding column
        (torch.arange(M) != 0, "ignores nearly every negative"),
        (torch.arange(M) != 20, "more than half"),
        ((torch.arange(M) != 0).expand(B, M), "ignores nearly every negative"),
    ],
)
def test_inverted_masks(mask, warns):
    messages = told(lambda: CROLoss(temperature=3.0)(random(B), random(B, M, seed=1), negative_mask=mask))
    assert len(messages) == (warns is not None)
    assert all(warns in message and "True = ignore: pass ~negative_mask" in message for message in messages)


@pytest.mark.parametrize("columns", [2, 8, 16])
def test_a_padding_column_of_few(columns):
    for mask in (torch.arange(columns) == 0, torch.arange(columns) != 0):
        loss = CROLoss(temperature=3.0)
        messages = told(lambda: loss(random(B), random(B, columns, seed=1), negative_mask=mask))  # noqa: B023
        assert len(messages) == int(columns >= 8 and not mask[0])


@pytest.mark.parametrize("value", [-1e9, torch.finfo(torch.float32).min, -float("inf")])
def test_scores_that_are_masked_by_their_value_have_no_spread(value):
    scores = random(B, M).masked_fill(torch.arange(M) < 9, value)
    for kernel in ("exp", "softplus", "sigmoid"):
        for fused in (None, False):
            loss, other = (CROLoss(kernel, temperature=2.0, fused=fused) for _ in range(2))
            assert told(lambda: loss(random(B, seed=1), scores)) == []  # noqa: B023
            assert told(lambda: other.from_logits(scores, torch.arange(B) + 9)) == []  # noqa: B023


def test_a_mask_that_leaves_the_padding():
    ignored = padded([5, 9, 20, 30] * (B // 4), M)
    scores = random(B, M, seed=1).masked_fill(ignored, 0.0)  # the vector of padding is 0
    assert told(lambda: CROLoss(temperature=3.0)(random(B), scores, negative_mask=ignored)) == []
    (message,) = told(lambda: CROLoss(temperature=3.0)(random(B), scores, negative_mask=~ignored))
    assert "all alike in most rows, as padding's are: True = ignore" in message


def test_distances():
    users = random(B, D)
    items, others = users + 0.1 * random(B, D, seed=1), random(M, D, seed=2)
    near, far = (users - items).norm(dim=1), torch.cdist(users, others)
    (message,) = told(lambda: CROLoss(temperature=1.0)(near, far))
    assert "pass -distances" in message
    assert "hardest negatives" in message
    assert told(lambda: CROLoss(temperature=1.0)(-near, -far)) == []
    assert told(lambda: CROLoss(temperature=1.0)(near.neg().exp(), far.neg().exp())) == []


@pytest.mark.parametrize("ignored", [1, 2])
def test_ignored_candidates_are_not_drawn(ignored):
    """A padding column beside the whole catalogue is no draw, but a second column is one too many."""
    loss = SoftmaxLoss(num_items=M - 1, temperature=1.0)
    mask = torch.arange(M) < ignored - 1
    messages = told(lambda: loss(random(B), random(B, M, seed=1), negative_mask=mask))
    assert messages == [] if ignored == 2 else "40 negatives are drawn out of 39 items" in messages[0]
    ids = torch.arange(M) if ignored == 2 else torch.arange(M).clamp(min=1)
    for fused in (False, True):
        loss = CROLoss(num_items=M - 1, temperature=3.0, fused=fused)
        given = random(B, D), random(B, D, seed=1), random(M, D, seed=2)
        messages = told(lambda: loss.from_embeddings(*given, candidate_ids=ids))  # noqa: B023
        assert len(messages) == 2 - ignored


def test_target_n_without_the_size_of_the_catalogue():
    loss = CROLoss(temperature=3.0, importance=TargetNImportance(20))
    (message,) = told(lambda: [loss(random(B), random(B, M, seed=1)) for _ in range(3)])
    assert f"n=20 is a rank among the {M} candidates of a row" in message
    for fused in (None, False):  # the columns are the whole catalogue
        loss = CROLoss(temperature=3.0, importance=TargetNImportance(20), fused=fused)
        assert told(lambda: loss.from_logits(random(B, M), torch.arange(B))) == []  # noqa: B023
    loss = CROLoss(temperature=3.0, importance=TargetNImportance(20), num_items=N)
    assert told(lambda: loss(random(B), random(B, M, seed=1))) == []


class Device:
    """Holds values back until they are let go, as a device does."""

    def __init__(self):
        self.arrived, self.asked = False, 0

    def send(self, values):
        self.asked += 1
        return Arrival(values, lambda: self.arrived)


def on_device(loss):
    device = Device()
    loss._inspection = Inspection(loss._warn_once, Answers(device.send))
    return device


def test_nothing_waits_for_a_device():
    loss = CROLoss(num_items=N)
    device = on_device(loss)
    wrong = torch.ones(M)
    for _ in range(3):  # the values have not arrived
        loss(random(B), random(B, M, seed=1), negative_log_prob=wrong)
    asked = device.asked
    device.arrived = True
    with pytest.raises(ValueError, match="negative_log_prob"):
        loss(random(B), random(B, M, seed=1))
    loss(random(B), random(B, M, seed=1))  # said once
    assert asked >= 2


def test_a_temperature_is_judged_when_its_figures_arrive():
    loss = CROLoss()
    device = on_device(loss)
    given = random(B), 100 * random(B, M, seed=1)
    assert told(lambda: loss(*given)) == []
    device.arrived = True
    (message,) = told(lambda: loss(*given))
    assert "'sigmoid' is flat" in message


def test_values_are_looked_at_once_for_a_shape(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "lightning_croloss.losses.checking.score_figures.figures",
        lambda *given: seen.append(given) or torch.zeros(9),
    )
    loss = CROLoss()
    for columns in (M, M, M + 1, M, M + 1):
        loss(random(B), random(B, columns, seed=1))
    assert len(seen) == 2


def test_a_loss_with_questions_on_their_way_is_copied_and_pickled():
    loss = CROLoss(importance=PowerImportance(0.5))
    on_device(loss)
    loss(random(B), random(B, M, seed=1))
    again = [copy.deepcopy(loss)]
    loss._inspection = Inspection(loss._warn_once)
    again.append(pickle.loads(pickle.dumps(loss)))
    for other in again:
        assert other._inspection is not loss._inspection
        assert other(random(B), random(B, M, seed=1)) == loss(random(B), random(B, M, seed=1))
        other(random(B), 100 * random(B, M, seed=1))


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_both_paths_and_logits_say_the_same_of_a_temperature(scale):
    users, items = scale * normalize(random(B, D), dim=1), normalize(random(M, D, seed=1), dim=1)
    targets = torch.arange(B)
    messages = []
    for fused in (False, True):
        loss, other = CROLoss(fused=fused), CROLoss(fused=fused)
        ids = {"target_ids": targets + 1, "candidate_ids": torch.arange(1, M + 1)}
        messages.append(told(lambda: loss.from_embeddings(users, items[:B], items, **ids)))  # noqa: B023
        messages.append(told(lambda: other.from_logits(users @ items.T, targets)))  # noqa: B023
    logits = users @ items.T
    own = torch.eye(B, M, dtype=torch.bool)
    loss = CROLoss()
    messages.append(told(lambda: loss(logits.diagonal(), logits, negative_mask=own)))
    assert all(len(found) == (scale > 1) for found in messages)


def logits_and_labels(several=False):
    logits, labels = random(B, M), torch.arange(B) + 3
    return logits, (torch.stack([labels, labels + 20], dim=1) if several else labels)


@pytest.mark.parametrize("fused", [None, False])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.rand(M) / M, r"look like probabilities: give log_prob\.log\(\)"),
        (torch.arange(M), r"look like counts: give log_prob_from_counts\(counts\)"),
        (torch.tensor([-1.0] * (M - 1) + [float("nan")]), "holds NaN"),
    ],
)
def test_log_q_of_logits(values, message, fused):
    for log_prob in (values.float(), values.float().expand(B, M)):
        with pytest.raises(ValueError, match=f"^log_prob .*{message}"):
            CROLoss(num_items=N, fused=fused).from_logits(*logits_and_labels(), log_prob=log_prob)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    ("mask", "warns"),
    [
        (torch.arange(M) == 0, None),  # a padding column
        (torch.arange(M) != 0, "nearly every negative|labels' own columns"),
        (torch.arange(M) >= M - 1, None),
        (torch.arange(M) < M - 1, "labels' own columns"),
        (torch.rand(B, M, generator=torch.Generator().manual_seed(0)) < 0.05, None),
        (torch.rand(B, M, generator=torch.Generator().manual_seed(0)) < 0.95, "more than half"),
        (torch.arange(M) != torch.arange(B).unsqueeze(1) + 3, "ignores every negative|more than half"),
        (torch.arange(M) == torch.arange(B).unsqueeze(1) + 3, None),  # the positives: they are none anyway
    ],
)
def test_inverted_masks_of_logits(mask, warns, several):
    for fused in (None, False):
        loss = CROLoss(temperature=3.0, fused=fused)
        messages = told(lambda: loss.from_logits(*logits_and_labels(several), mask=mask))  # noqa: B023
        assert len(messages) == (warns is not None), messages
        for message in messages:
            assert any(part in message for part in warns.split("|"))
            assert message.startswith("mask ")
            assert "True = ignore: pass ~mask" in message


def test_a_mask_of_few_columns_that_ignores_the_labels():
    mask = torch.arange(6) != 0
    (message,) = told(
        lambda: CROLoss(temperature=3.0).from_logits(random(B, 6), torch.arange(B) % 5 + 1, mask=mask)
    )
    assert "pass ~mask" in message


def test_distances_as_logits():
    users, items = random(B, D), random(M, D, seed=2)
    items[3 : B + 3] = users + 0.1 * random(B, D, seed=1)
    for several in (False, True):
        labels = logits_and_labels(several)[1]
        if several:
            labels[:, 1] = -100
        (message,) = told(
            lambda: CROLoss(temperature=1.0).from_logits(torch.cdist(users, items), labels)  # noqa: B023
        )
        assert "pass -distances" in message
    labels = logits_and_labels()[1]
    assert told(lambda: CROLoss(temperature=1.0).from_logits(-torch.cdist(users, items), labels)) == []


def test_logits_that_are_all_well():
    """Masked by their value, equal at the start, one class, ties, positions, rows that are ignored."""
    masked = random(B, M).masked_fill(random(B, M, seed=3) > 0, -float("inf"))
    masked[:, 0] = 0.3
    ignored = torch.arange(B).masked_fill(torch.arange(B) % 2 > 0, -100)
    for logits, labels in (
        (masked, torch.zeros(B, dtype=torch.long)),
        (torch.zeros(B, M), torch.arange(B)),
        (torch.ones(B, 1), torch.zeros(B, dtype=torch.long)),
        (random(B, M).sign(), torch.arange(B)),
        (random(B, M), ignored),
        (random(B, M), torch.full((B,), -100)),
        (random(B, 5, M), (torch.arange(5 * B) % M).view(B, 5)),
        (random(B, M).relu(), torch.arange(B)),
        (random(B, M), random(B, M, seed=4) > 1),
        (random(1, 2), torch.tensor([1])),
    ):
        for fused in (None, False):
            loss = CROLoss(temperature=3.0, fused=fused)
            assert told(lambda: loss.from_logits(logits, labels)) == []  # noqa: B023


def test_logits_on_a_device_are_not_waited_for():
    loss = CROLoss(num_items=N)
    device = on_device(loss)
    for _ in range(2):
        loss.from_logits(*logits_and_labels(), log_prob=torch.ones(M))
    device.arrived = True
    with pytest.raises(ValueError, match=r"^log_prob must be logarithms"):
        loss.from_logits(*logits_and_labels())


def test_log_q_of_logits_that_is_asked_once(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "lightning_croloss.losses.checking.score_figures.figures_of_logits",
        lambda *given: seen.append(given) or torch.zeros(9),
    )
    loss = CROLoss()
    for columns in (M, M, M + 1, M, M + 1):
        loss.from_logits(random(B, columns), torch.arange(B))
    assert len(seen) == 2


def test_items_that_share_vectors_under_ids_are_no_mistake():
    """Cold items have one vector, and a batch may hold nothing else; zeros are equal whatever their sign."""
    users, targets = random(B, D), torch.arange(B) % 8 + 1
    table = random(8, D, seed=1).repeat(3, 1)  # each vector is there three times
    zeros = 0.0 * random(24, D, seed=1)
    for rows in (2, 3, B):
        for items in (table, zeros):
            ids = {"target_ids": targets[:rows], "candidate_ids": torch.arange(1, 25)}
            given = users[:rows], items[targets[:rows] - 1], items
            assert told(lambda: CROLoss(temperature=3.0).from_embeddings(*given, **ids)) == []  # noqa: B023
    with pytest.raises(ValueError, match="give both the same numbering"):
        CROLoss().from_embeddings(
            users, table[targets - 1], table[:8], target_ids=targets, candidate_ids=torch.arange(2, 10)
        )
