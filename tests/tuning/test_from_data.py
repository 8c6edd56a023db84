"""What is decided for a table: a table of cases, and what holds for all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss.common.safe_config import TrustedClasses
from lightning_croloss.data import Interactions
from lightning_croloss.errors import DataError
from lightning_croloss.models import RetrievalModel
from lightning_croloss.tuning.chosen_filters import choose_filters
from lightning_croloss.tuning.designs import (
    FEW_EVENTS,
    SMOOTHED_ITEMS,
    config_of,
    first_designs,
    variants,
)
from lightning_croloss.tuning.from_data import Decisions
from lightning_croloss.tuning.from_data import decide as decide_by
from lightning_croloss.tuning.table_statistics import Later, Statistics, look_at


def statistics(
    users: int = 30_000,
    items: int = 20_000,
    median: int = 6,
    p90: int = 18,
    kept: tuple[float, float, float] = (1.0, 0.95, 0.9),
    **more: Any,
) -> Statistics:
    """Return those of a table of which shares ``kept`` of the users have 3, 4 and 5 events."""
    at_least = {2: users} | {
        number: round(share * users) for number, share in zip((3, 4, 5), kept, strict=True)
    }
    lengths = {"median": median, "p90": p90, "mean": 1.3 * median}
    return Statistics(users, items, round(1.3 * median * users), lengths, at_least, at_least, median, **more)


def decide(
    found: Statistics, ns: list[int], minutes: float, given: dict[str, Any] | None = None, gpu: bool = False
) -> Decisions:
    """Decide for a table that looks the same with its filters."""
    return decide_by(found, choose_filters(found, given or {}), ns, minutes, given, gpu)


SESSIONS = statistics(200_000, 43_000, 4, 10, (0.75, 0.55, 0.4), consecutive=0.06, repeats=0.2)
LATER = Later(4_000, 3_500, 0.05)


@pytest.mark.parametrize(
    ("found", "split", "fewest", "history"),
    [
        (statistics(), "UserDisjoint", 5, 20),
        (SESSIONS, "UserDisjoint", 3, 10),
        (statistics(20_000, median=2, p90=5, kept=(0.4, 0.2, 0.1)), "UserDisjoint", 2, 10),
        (statistics(900, 1_700, 65, 250), "LeaveOneOut", 5, 50),
        (statistics(30, 1_700, 5, 9), "LeaveOneOut", 5, 10),
        (statistics(1_500, 1_700, 2, 4, kept=(0.3, 0.05, 0.0)), "UserDisjoint", 2, 10),
        (statistics(times="real", later=LATER), "GlobalTime", 5, 20),
        (statistics(times="real", later=replace(LATER, test=300)), "UserDisjoint", 5, 20),
        (statistics(times="real", later=replace(LATER, unseen=0.5)), "UserDisjoint", 5, 20),
        (statistics(times="none"), "UserDisjoint", 5, 20),
    ],
)
def test_split_filter_and_history(found: Statistics, split: str, fewest: int, history: int) -> None:
    decided = decide(found, [100], 60)
    assert decided.data["split"]["class_path"] == split
    assert decided.data["min_user_interactions"] == fewest
    assert decided.data["max_history"] == history
    assert all(decided.reasons.values())


def test_repeats_of_the_event_before_are_left_out_of_sessions() -> None:
    assert decide(SESSIONS, [100], 60).data["consecutive_repeats"] is False
    assert "consecutive_repeats" not in decide(statistics(), [100], 60).data


def test_what_nobody_wants_twice_is_left_out_of_lists() -> None:
    assert decide(statistics(repeats=0.0), [100], 60).model["exclude_history"] is True
    assert "exclude_history" not in decide(statistics(repeats=0.3), [100], 60).model


def test_more_time_affords_all_negatives_and_a_large_catalogue_never() -> None:
    def negatives(items: int, minutes: float) -> str:
        return str(decide(statistics(items=items), [100], minutes).model["negatives"]["class_path"])

    assert negatives(3_000, 1) == "FullCatalogNegatives"
    assert negatives(20_000, 1) == "UniformNegatives"
    assert negatives(20_000, 600) == "FullCatalogNegatives"
    assert negatives(1_000_000, 60) == "UniformNegatives"


def test_what_the_user_says_stays() -> None:
    decided = decide(statistics(), [100], 60, {"min_user_interactions": 7, "max_history": 33})
    assert decided.data["min_user_interactions"] == 7
    assert decided.data["max_history"] == 33
    assert decided.reasons["data.init_args.max_history"] == "as you asked"
    few = statistics(30, kept=(0.1, 0.0, 0.0))  # too few for a split that is chosen
    assert decide(few, [100], 60, {"split": "PerUserRatio"}).data["split"] == "PerUserRatio"


def test_too_much_to_measure_is_cut() -> None:
    many = statistics(times="real", later=Later(90_000, 80_000, 0.0))
    decided = decide(many, [100], 60)
    assert decided.data["max_eval_users"] == 10_000
    assert "spread over all" in decided.reasons["data.init_args.max_eval_users"]
    assert decide(many, [100], 60, {"max_eval_users": 77}).data["max_eval_users"] == 77
    assert "max_eval_users" not in decide(statistics(), [100], 60).data
    # of many users a small share is enough
    share = decide(statistics(1_000_000), [100], 60).data["split"]["init_args"]["test"]
    assert share == 0.011


def test_too_few_users_and_items() -> None:
    with pytest.raises(DataError, match="too few users to measure by: 5 of 10 have 4 events"):
        decide(statistics(10, kept=(0.6, 0.5, 0.1)), [5], 60)
    with pytest.raises(DataError, match="--n 100: the table has only 80 items"):
        decide(statistics(items=80), [20, 100], 60)


def test_all_but_the_filters_is_decided_by_what_these_leave() -> None:
    table = statistics(20_000, items=60_000, p90=9)
    filters = choose_filters(table, {})
    kept = filters.left(statistics(18_000, items=450, median=8, p90=25))
    decided = decide_by(kept, filters, [100], 60)
    assert decided.data["min_user_interactions"] == 5
    assert max(decided.model["ns"]) == 200
    assert decided.model["negatives"] == {"class_path": "FullCatalogNegatives"}
    assert decided.reasons["model.init_args.negatives"].startswith("450 items are few enough")
    assert decided.data["max_history"] == 30
    assert decided.targets < kept.events
    assert kept.typical == 6  # the kind of the table is that of all of it


def test_an_n_that_only_the_filters_forbid() -> None:
    filters = choose_filters(statistics(items=100), {})
    kept = filters.left(statistics(items=20))
    only = "only 20 of the table's 100 items are left without the users of fewer than 5 events"
    with pytest.raises(DataError, match=f"--n 50: {only}.*a smaller N, or --min_user_interactions 2$"):
        decide_by(kept, filters, [10, 50], 60)
    with pytest.raises(DataError, match=f"--n 200: {only}.*a smaller N$"):
        decide_by(kept, filters, [200], 60)
    asked = {"min_user_interactions": 5}
    with pytest.raises(DataError, match="--n 50: the table has only 20 items"):
        decide_by(kept, choose_filters(statistics(items=100), asked), [50], 60, asked)


def test_users_are_filtered_by_the_events_that_count_and_never_down_to_too_few() -> None:
    reloaded = replace(statistics(), consecutive=0.3, at_least_apart={2: 20_000, 3: 13_000, 4: 5_000, 5: 900})
    assert choose_filters(reloaded, {}).data == {"consecutive_repeats": False, "min_user_interactions": 3}
    asked = choose_filters(reloaded, {"consecutive_repeats": True})
    assert asked.data == {"consecutive_repeats": True, "min_user_interactions": 5}
    assert choose_filters(statistics(25, kept=(1.0, 1.0, 0.7)), {}).data["min_user_interactions"] == 3


def test_what_nobody_asked_is_not_said_to_be_asked() -> None:
    filters = choose_filters(statistics(), {}, "reading took 9 min, so that users are filtered no further")
    assert filters.data == {"min_user_interactions": 2}
    assert filters.reasons["data.init_args.min_user_interactions"].startswith("reading took 9 min")


found_statistics = st.builds(
    statistics,
    users=st.integers(300, 10_000_000),
    items=st.integers(1_001, 5_000_000),
    median=st.integers(2, 100),
    p90=st.integers(2, 400),
    kept=st.tuples(st.floats(0.6, 1.0), st.floats(0.3, 0.6), st.floats(0.0, 0.3)),
    repeats=st.floats(0.0, 1.0),
    consecutive=st.floats(0.0, 0.5),
    later=st.none() | st.builds(Later, st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1)),
)


@settings(max_examples=200)
@given(found=found_statistics, n=st.integers(1, 1_000), minutes=st.floats(0.1, 1e4), gpu=st.booleans())
def test_what_holds_for_every_table(found: Statistics, n: int, minutes: float, gpu: bool) -> None:
    decided = decide(found, [n], minutes, gpu=gpu)
    sampled = decided.model["negatives"].get("init_args", {}).get("num_negatives", found.items)
    assert found.items / sampled <= n  # a rank N can be told apart
    split = dict(decided.data["split"])
    fractions = split.get("init_args", {})
    if split["class_path"] == "UserDisjoint":
        assert fractions["train"] + fractions["valid"] + fractions["test"] == pytest.approx(1.0, abs=1e-9)
    assert 32 <= decided.sequence_batch <= 512
    assert decided.model["ns"] == sorted(set(decided.model["ns"]) | {n})
    assert max(decided.model["ns"]) < found.items


@pytest.mark.parametrize("found", [statistics(), SESSIONS, statistics(900, 1_700, 65, 250)])
def test_every_design_can_be_built(found: Statistics) -> None:
    decided = decide(found, [100], 60)
    designs = first_designs(found, [100])
    designs += [each for first in designs[:2] for each in variants(first, [100], found.items, designs)]
    names = [design.name for design in designs]
    assert len(set(names)) == len(names)
    for design in designs:
        model = dict(config_of(design, decided, {"interactions": "x"}, found, 1)["model"])
        arguments = {name: value for name, value in model["init_args"].items() if name != "optimizer"}
        described = {"class_path": model["class_path"], "init_args": arguments | {"num_items": 700}}
        built = TrustedClasses().build(described, design.name)
        assert isinstance(built, RetrievalModel)
        assert built.predicts_n == 100


def test_changes_come_together_and_nothing_is_trained_twice() -> None:
    found = statistics(900, 1_700, 8, 20)
    first = first_designs(found, [100])
    attention = next(each for each in first if each.family == "SASRec")
    near = variants(attention, [100], found.items, first)
    for one in near:
        assert one not in (attention, *first)
        more = variants(one, [100], found.items, first)
        assert one not in more
        for each in more:
            kinds = [part.rpartition(" ")[0] for part in each.name.split("; ")[1:]]
            assert len(set(kinds)) == len(kinds), each.name  # a later change takes the place of an earlier
    wide = next(each for each in near if each.arguments.get("embedding_dim") == 128)
    both = next(
        each for each in variants(wide, [100], found.items, first) if each.arguments["dropout"] == 0.5
    )
    assert both.arguments["embedding_dim"] == 128
    assert both.name == f"{wide.name}; dropout 0.5"
    other = next(each for each in near if each.loss != attention.loss)
    back = [each for each in variants(other, [100], found.items) if each.loss == attention.loss]
    assert attention in back  # whatever it is called


def test_sessions_begin_with_little_dropout() -> None:
    assert first_designs(SESSIONS, [100])[0].arguments["history_dropout"] == 0.1
    assert first_designs(statistics(median=12), [100])[0].arguments["history_dropout"] == 0.5


def test_long_histories_begin_with_a_pass_for_all_targets() -> None:
    first, second = first_designs(statistics(median=65), [100])[:2]
    assert first.all_positions
    assert second.family == "YouTubeDNN"
    short = next(each for each in first_designs(statistics(), [100]) if each.all_positions)
    assert short.learning_rate > first.learning_rate  # a batch holds far more of them


def test_features_are_tried_beside_the_same_model_without() -> None:
    found = statistics(item_features=("brand",), user_features=("age",))
    designs = first_designs(found, [100])
    assert [design.features for design in designs[:4]] == [False, True, False, True]
    data = {"interactions": "x", "items": "i", "users": "u"}
    plain, mean, _, attention = (
        config_of(design, decide(found, [100], 60), data, found, 1)["data"]["init_args"]
        for design in designs[:4]
    )
    assert mean["item_features"] == ["brand"]
    assert mean["user_features"] == ["age"]
    assert not {"items", "users", "item_features", "user_features"} & set(plain)
    assert attention["item_features"] == ["brand"]
    assert "users" not in attention  # it takes none


@pytest.mark.parametrize("found", [statistics(), SESSIONS, statistics(900, 1_700, 65, 250)])
def test_smoothed_items_are_tried_early_and_around_whatever_is_best_but_not_on_huge_catalogues(
    found: Statistics,
) -> None:
    designs = first_designs(found, [100])
    smoothed = ["item_graph_weight" in each.arguments for each in designs[:5]]
    # first where an item has few events, and there a wide and deep one, too
    rare = found.events <= FEW_EVENTS * found.items
    assert smoothed == ([True, True, True, False, False] if rare else [False, False, True, True, False])
    assert (designs[2].arguments.get("embedding_dim") == 128) == rare
    near, plain = (designs[:2], designs[3:5]) if rare else (designs[2:4], designs[:2])
    for one, other in zip(near, plain, strict=True):
        assert one.arguments == {**other.arguments, "item_graph_weight": 1.0}
        assert one.family == other.family
    around = [variants(each, [100], found.items) for each in (plain[1], near[0])]
    assert [sum("item_graph_weight" in each.arguments for each in tried) for tried in around] == [
        1,
        len(around[1]),
    ]
    many = SMOOTHED_ITEMS + 1
    huge = [*first_designs(replace(found, items=many), [100]), *variants(plain[1], [100], many)]
    assert not any("item_graph_weight" in each.arguments for each in huge)


def interactions(users: list[int], items: list[int], times: list[int] | None) -> Interactions:
    return Interactions.from_columns(users, items, times)


def test_statistics_of_a_small_table() -> None:
    users = [1] * 5 + [2] * 3 + [3] + [4] * 2
    items = [1, 2, 2, 3, 1, 1, 2, 3, 1, 3, 3]
    found = look_at(interactions(users, items, list(range(11))))
    assert (found.users, found.items, found.events) == (4, 3, 11)
    assert found.at_least == {2: 3, 3: 2, 4: 1, 5: 1}
    assert found.consecutive == pytest.approx(2 / 11)
    assert found.repeats == pytest.approx(3 / 11)
    assert found.at_least_apart == {2: 2, 3: 2, 4: 1, 5: 0}
    assert found.lengths["median"] == found.typical == 3
    assert found.times == "order"


def test_times_are_real_if_they_do_more_than_number() -> None:
    users = torch.arange(40).repeat_interleave(5).tolist()
    items = [number % 7 for number in range(200)]
    real = [(37 * number) % 1_000 for number in range(200)]
    assert look_at(interactions(users, items, real)).times == "real"
    assert look_at(interactions(users, items, None)).times == "none"
    found = look_at(interactions(users, items, real)).later
    assert found is not None
    assert found.test > 0


def test_users_of_one_event_leave_nothing_to_predict() -> None:
    with pytest.raises(DataError, match="none of the 3 users has two events"):
        look_at(interactions([1, 2, 3], [1, 1, 2], None))
