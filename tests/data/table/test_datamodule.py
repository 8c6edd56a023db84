import json
import logging

from lightning_croloss.data import GlobalTime, PreparationReport
from tests.data.table.tables import EVENTS


def test_dates_serve_a_split_in_time(make):
    columns = {**EVENTS, "timestamp": [f"2024-01-0{time}" for time in EVENTS["timestamp"]]}
    module = make(columns, split=GlobalTime("2024-01-03", "2024-01-05"))
    assert module.interactions.has_dates
    assert int(module.rows.training_events.sum()) == 2
    assert not make().interactions.has_dates


def test_the_report_counts_and_is_said_once(make, caplog):
    with caplog.at_level(logging.INFO):
        module = make(min_user_interactions=2, value_column="rating", min_value=2)
        report = module.report
        module.interactions  # noqa: B018
    assert caplog.messages == [
        "x.parquet: read 7 interactions, 3 users, 3 items; rating not at least 2: dropped 1 interactions, "
        "0 users, 0 items; users with fewer than 2 interactions: dropped 2 interactions, 2 users, 1 items; "
        "left 4 interactions, 1 users, 2 items"
    ]
    plain = json.loads(json.dumps(report.to_dict()))
    assert PreparationReport.from_dict(plain) == report
    assert (report.left.interactions, report.left.users, report.left.items) == (4, 1, 2)
