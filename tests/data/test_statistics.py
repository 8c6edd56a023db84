import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.data import GlobalTime, Interactions
from lightning_croloss.data.statistics import describe, popularity, quantiles
from tests.data.events import GivenEvents
from tests.data_for_tests import ClusteredData, FeaturedData

logs = st.lists(
    st.tuples(st.integers(1, 6), st.integers(1, 8), st.integers(0, 9)), min_size=10, max_size=60
)  # user, item, time


@given(logs)
@pytest.mark.slow
def test_numbers_equal_loops(log):
    log = [(1, 1, time) for time in range(10)] + log  # every part has a row
    found = describe(GivenEvents(log, GlobalTime(4, 7)))
    lengths = [sum(user == one for one, _, _ in log) for user in {user for user, _, _ in log}]
    sizes = found["interactions"]
    assert sizes["users"] == len(lengths)
    assert sizes["items"] == 8
    assert sizes["interactions"] == len(log)
    assert sizes["density"] == pytest.approx(len(log) / (len(lengths) * 8))
    assert sizes["repeats"] == pytest.approx(1 - len({event[:2] for event in log}) / len(log))
    assert sizes["items_without_interactions"] == 8 - len({item for _, item, _ in log})
    assert (sizes["first_time"], sizes["last_time"]) == (0, max(time for *_, time in log))
    assert found["users_beyond_max_history"] == pytest.approx(
        sum(length > 4 for length in lengths) / len(lengths)
    )
    part_of = [int(time >= 4) + int(time >= 7) for *_, time in log]
    training = [event for event, part in zip(log, part_of, strict=True) if part == 0]
    known_items, known_users = ({event[place] for event in training} for place in (1, 0))
    used = list(training)
    for number, name in ((1, "valid"), (2, "test")):
        targets, users = [], set()
        for user in range(1, 7):
            mine = [(event, part) for event, part in zip(log, part_of, strict=True) if event[0] == user]
            wanted = [event for event, part in mine if part == number]
            history = [event for event, part in mine if part < number]
            if wanted and history:
                targets += {event[1]: event for event in wanted}.values()  # a set of items
                users.add(user)
                used += [event for event in history + wanted if event not in used]
        assert found["split"]["parts"][name] == {
            "rows": len(users),
            "targets": len(targets),
            "users": len(users),
            "items": len({item for _, item, _ in targets}),
            "unseen_users": len(users - known_users),
            "unseen_items": len({item for _, item, _ in targets} - known_items),
            "targets_of_unseen_items": sum(item not in known_items for _, item, _ in targets),
        }
    assert found["split"]["training_events"] == len(training)
    assert found["split"]["unused_events"] == sum(event not in used for event in log)
    assert found["split"]["arguments"] == {"valid": 4, "test": 7}
    json.dumps(found)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=300).filter(any))
def test_popularity_equals_a_loop(counts):
    found = popularity(torch.tensor(counts))
    ordered = sorted(counts, reverse=True)
    for percent in (1, 10):
        top = ordered[: -(-len(counts) * percent // 100)]
        assert found[f"top_{percent}_percent"] == pytest.approx(sum(top) / sum(counts))
    differences = sum(abs(one - other) for one in counts for other in counts)
    assert found["gini"] == pytest.approx(differences / (2 * len(counts) * sum(counts)), abs=1e-9)


def test_quantiles():
    found = quantiles(torch.arange(101).flip(0))
    assert found == {
        **{"min": 0, "p10": 10, "p25": 25, "median": 50, "p75": 75, "p90": 90, "p99": 99},
        **{"max": 100, "mean": 50.0},
    }
    assert quantiles(torch.tensor([3]))["median"] == 3


def test_features_and_max_history():
    found = describe(FeaturedData())
    price = found["item_features"][2]
    assert (price["name"], price["kind"], price["missing"]) == ("price", "numeric", 5)
    assert price["coverage"] == 0.875
    assert [feature["name"] for feature in found["user_features"]] == ["country", "age"]
    assert found["users_beyond_max_history"] == 1.0
    assert describe(ClusteredData(max_history=7))["users_beyond_max_history"] == 0.0
    assert found["interactions"]["first_time"] is None
    assert found["preparation"] is None
    json.dumps(found)


def test_dates_are_written_as_dates():
    class Dated(ClusteredData):
        def load(self):
            days = np.datetime64("2024-01-01") + np.arange(24).astype("timedelta64[D]")
            return Interactions.from_columns(np.repeat([1, 2, 3], 8), np.arange(24), days)

    sizes = describe(Dated())["interactions"]
    assert (sizes["first_time"], sizes["last_time"]) == ("2024-01-01T00:00:00", "2024-01-24T00:00:00")
