"""Pytest plugin: write each test's outcome as it comes, so that a hang or a crash loses nothing.

``pytest -p tests.gpu.record`` with ``CROLOSS_TEST_RECORD=rows.jsonl`` appends a row when a test begins and
one when it ends (see ``benchmarks/common/rows.py``). Started again on the same file, it leaves out every test
that has a row: so a run goes on behind the test that hung. Once CUDA has failed, nothing else in the process
can succeed: the session then ends at once, for the next one to go on. When nothing is left to run, the file
that ``CROLOSS_TEST_DONE`` names is there. ``CROLOSS_TEST_SHARE=2/3`` leaves two thirds of them to others.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.common.rows import append_row, failures_of, rows_of

#: Exit status of a session whose device is lost.
DEVICE_LOST = 70
#: What an error says that leaves the device unusable; running out of memory is none of them.
FATAL = ("CUDA error", "device-side assert", "CUBLAS_STATUS", "illegal memory access")


def _path() -> Path:
    return Path(os.environ["CROLOSS_TEST_RECORD"])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    rows = {**rows_of(_path()), **failures_of(_path())}
    known = {row["settings"]["test"] for row in rows.values()}
    share, shares = map(int, os.environ.get("CROLOSS_TEST_SHARE", "1/1").split("/"))
    left = [item for item in items[share - 1 :: shares] if item.nodeid not in known]
    kept = {item.nodeid for item in left}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in kept])
    items[:] = left


def pytest_runtest_logstart(nodeid: str) -> None:
    append_row(_path(), {"settings": {"test": nodeid}, "outcome": "started"})


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.passed and report.when != "call":
        return
    row = {"settings": {"test": report.nodeid}, "outcome": report.outcome, "seconds": report.duration}
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        lines = (crash.message if crash else str(report.longrepr)).strip().splitlines()
        row |= {"error": " / ".join(lines[:3]), "error_type": report.when}
    append_row(_path(), row)
    if report.failed and any(sign in row["error"] for sign in FATAL):
        pytest.exit("the device is lost", returncode=DEVICE_LOST)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus: int) -> None:
    if exitstatus != DEVICE_LOST:
        Path(os.environ["CROLOSS_TEST_DONE"]).touch()
