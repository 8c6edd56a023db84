"""Times and features of events as a user gives them."""

from datetime import date, datetime, timedelta, timezone

import numpy as np
import pytest

from croloss_serving.common.feature_encoding import FeatureEncoding
from croloss_serving.recommend.event_inputs import EventInputs, whole_times, whole_times_of

KIND = FeatureEncoding.of_tokens("kind", "categorical", [["buy"], ["view"]], " ")
RATING = FeatureEncoding.of_numbers("rating", np.array([1.0, 3.0]))
BOTH = EventInputs("numbers", (KIND, RATING))


def test_values_stand_where_their_events_do():
    kept = [np.array([True, False, True]), np.zeros(0, dtype=bool), np.array([True])]
    features = {"kind": [["view", "buy", "new"], [], ["buy"]], "rating": [[1, 2, None], [], [np.float32(3)]]}
    encoded = BOTH.encode([3, 0, 1], [[5, 6, 7.9], [], [-0.5]], features, "it", kept)
    times, (kinds, ratings) = encoded.padded(3)
    assert times.tolist() == [[0, 5, 7], [0, 0, 0], [0, 0, -1]]
    assert kinds.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]
    np.testing.assert_equal(ratings, [[np.nan, -1, np.nan], [np.nan] * 3, [np.nan, np.nan, 1]])
    times, (kinds, _) = encoded.rows(slice(1, 3)).padded(1)
    assert times.tolist() == [[0], [-1]]
    assert kinds.tolist() == [[0], [1]]
    nothing = BOTH.encode([0, 0], None, None, "it")
    assert nothing.padded(2)[0].tolist() == [[0, 0], [0, 0]]
    assert EventInputs().encode([3], None, None, "it") is None


def test_dates_in_any_form_are_the_same_seconds():
    when = datetime(2024, 5, 31, 18, 30)
    cet = timezone(timedelta(hours=2))
    given = [
        when,
        "2024-05-31T18:30:00",
        "2024-05-31 18:30:00Z",
        "2024-05-31T20:30:00+02:00",
        when.replace(hour=20, tzinfo=cet),
        np.datetime64("2024-05-31T18:30"),
        np.datetime64("2024-05-31T18:30:00.9", "ns"),
    ]
    assert set(whole_times_of(given, dates=True).tolist()) == {1717180200}
    assert whole_times_of([date(1970, 1, 2), "1969-12-31"], dates=True).tolist() == [86_400, -86_400]
    nanoseconds = np.array([1717180200 * 10**9 + 5, -1])
    assert whole_times(nanoseconds, dates=True).tolist() == [1717180200, -1]


def test_numbers_are_rounded_down_and_never_too_large():
    given = [3, 2.9, -2.1, 2**53 + 1, 10**30, np.float64(7.5), np.int64(4)]
    assert whole_times_of(given, dates=False).tolist() == [3, 2, -3, 2**53 + 1, 2**61, 7, 4]
    assert whole_times(np.array([2.9, -2.1, 1e300]), dates=False).tolist() == [2, -3, 2**61]
    assert whole_times(np.array([2**53 + 1]), dates=False).tolist() == [2**53 + 1]


@pytest.mark.parametrize(
    ("inputs", "times", "features", "message"),
    [
        (BOTH, None, {}, "it reads the times of events: give times, for each history the list of the times"),
        (EventInputs("dates"), None, {}, "for each history the list of the dates of its events"),
        (
            BOTH,
            [[1, 2]],
            {"kind": [["buy", "buy"]]},
            "it reads 'rating' of events: give it in event_features",
        ),
        (EventInputs("numbers"), [[1]], None, r"times\[0\] must hold the time of each of the 2 events"),
        (
            EventInputs("numbers"),
            [[1, 2], [3]],
            None,
            "times must hold a list for each of the 1 histories, got 2",
        ),
        (EventInputs("numbers"), 7, None, "times must hold a list for each of the 1 histories, got 7"),
        (
            EventInputs("numbers"),
            [3],
            None,
            r"times\[0\] must hold the time of each of the 2 events .*, got 3",
        ),
        (
            EventInputs("numbers"),
            np.array(7),
            None,
            "must hold a list for each of the 1 histories, got array",
        ),
        (EventInputs("numbers"), [np.array(7)], None, r"times\[0\] must hold the time .*, got array\(7\)"),
        (EventInputs("numbers"), [{1, 2}], None, r"times\[0\] must hold the time .*, got \{1, 2\}"),
        (EventInputs(None, (KIND,)), None, [["a", "b"]], "event_features must be a dictionary"),
        (EventInputs("numbers"), [[1, "2"]], None, "times holds '2', but times are numbers, as in training"),
        (EventInputs("numbers"), [[1, None]], None, "times holds None, but times are numbers"),
        (EventInputs("numbers"), [[1, float("nan")]], None, "times holds nan, but times are numbers"),
        (EventInputs("dates"), [["2024-01-01", "soon"]], None, "times holds 'soon', but times are dates"),
        (EventInputs("dates"), [["2024-01-01", 5]], None, "times holds 5, but times are dates"),
        (EventInputs(None, (RATING,)), None, {"rating": [["a", 1]]}, "feature 'rating' is a number, got 'a'"),
        (
            EventInputs(None, (KIND,)),
            None,
            {"kind": [["a"]]},
            r"event_features\['kind'\]\[0\] must hold a value",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence(inputs, times, features, message):
    with pytest.raises(ValueError, match=message) as caught:
        inputs.encode([2], times, features, "it")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "times", "features", "message"),
    [
        (EventInputs(), [[1, 2]], None, "it does not read 'times' of events: it is left out"),
        (EventInputs(), None, {"kind": [[1, 2]]}, "it does not read 'kind' of events: it is left out"),
        (BOTH, [[1, 2]], {"kin": [["a", "b"]]}, "'kin' of events: it is left out; did you mean 'kind'?"),
        (BOTH, [[1, 2]], {1: [["a", "b"]]}, "it does not read 1 of events: it is left out"),
        (BOTH, [[1, 2]], {"a": [], "b": 7}, "it does not read 'a', 'b' of events: they are left out"),
    ],
)
def test_what_is_not_read_is_left_out_with_a_warning(inputs, times, features, message):
    known = {name: [[None, 1.0]] for name in inputs.names}
    with pytest.warns(UserWarning, match=message.replace("?", r"\?")) as caught:
        found = inputs.encode([2], times, known | (features or {}), "it")
    assert len(caught) == 1
    expected = inputs.encode([2], times if inputs.times else None, known, "it")
    if not inputs:
        assert found is expected is None
        return
    np.testing.assert_equal(found.times, expected.times)
    np.testing.assert_equal(found.features, expected.features)


SECOND = 1_717_180_200


@pytest.mark.parametrize("factor", [1e-3, 1, 1e3])
@pytest.mark.parametrize("trained", [1, 1e3, 1e6, 1e9])
def test_times_in_another_unit_than_those_of_training_are_told(factor, trained):
    inputs = EventInputs("numbers", (), float(SECOND * trained))
    times = [[int(SECOND * trained * factor)] * 2, [int(SECOND * trained * factor)]]
    units = {1: "seconds", 1e3: "milliseconds", 1e6: "microseconds", 1e9: "nanoseconds"}
    given = trained * factor
    if factor == 1 or given not in units:
        whole = [min(times[1][0], 2**61)] * 3
        assert inputs.encode([2, 1], times, None, "it").times.tolist() == whole
        return
    message = f"a time in {units[given]}, but it was trained with times in {units[trained]}: give them in"
    with pytest.raises(ValueError, match=message):
        inputs.encode([2, 1], times, None, "it")
    right = int(SECOND * trained)
    with pytest.raises(ValueError, match=message):  # of one history of several
        inputs.encode([1, 0, 1], [[right], [], times[1]], None, "it")
    inputs.encode([2], [[right, times[1][0]]], None, "it")  # one strange time does not make a unit
    inputs.encode([1], [[5]], None, "it")  # nor a small number
    EventInputs("numbers").encode([2, 1], times, None, "it")  # of a file of an earlier release
    EventInputs("numbers", (), 7.0).encode([2, 1], times, None, "it")  # which might be days


def test_plain_and_back():
    assert EventInputs.from_plain(EventInputs("numbers", (), 1.5).to_plain()).typical_time == 1.5
    assert EventInputs.from_plain({"times": "numbers", "features": []}).typical_time is None
    for inputs in (BOTH, EventInputs("dates"), EventInputs()):
        assert EventInputs.from_plain(inputs.to_plain()) == inputs
    for wrong in (
        7,
        {"times": "hours"},
        {"other": 1},
        {"features": [{"name": "a"}]},
        {"features": [{**RATING.to_plain(), "center": float("inf")}]},
        {"times": [], "features": None},
        {"times": "numbers", "features": [], "typical_time": float("nan")},
        {"times": "numbers", "features": [], "typical_time": "7"},
        {"times": "numbers", "features": [], "typical_time": True},
    ):
        with pytest.raises((ValueError, TypeError)):
            EventInputs.from_plain(wrong)
