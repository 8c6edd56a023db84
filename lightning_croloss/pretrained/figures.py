"""The figures of a model of the zoo, checked before anything is made of them: anybody may write them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from croloss_serving.common.plain_values import TOO_LARGE
from lightning_croloss.errors import PretrainedError

#: Whom each model of the zoo is compared with.
COMPARED = ("popularity", "item_knn")
_RECALL = re.compile(r"recall@([1-9][0-9]{0,8})", re.ASCII)


def check_metrics(metrics: Mapping[str, Any], path: Path | str) -> None:
    """Refuse what ``croloss zoo build`` has not written.

    Args:
        metrics: what ``metrics.json`` holds.
        path: the file, for errors.

    Raises:
        PretrainedError: it says what is wrong.
    """
    if fault := _fault(metrics):
        raise PretrainedError(f"{path} is not that of croloss zoo build: {fault}")


def _fault(metrics: Mapping[str, Any]) -> str | None:
    for section in ("data", "test", "baselines", "training"):
        if not isinstance(metrics.get(section), dict):
            return f"it has no section {section!r}"
    data, test, training = metrics["data"], metrics["test"], metrics["training"]
    for name in {*data, "items", "test_users"}:
        if not _is_count(data.get(name)):
            return f"{name!r} of its data is no number of things: {data.get(name)!r:.80}"
    if data["test_users"] < 1:
        return "it was measured on no users"
    if not _is_count(metrics.get("parameters")):
        return f"its parameters are no number of things: {metrics.get('parameters')!r:.80}"
    if fault := _fault_of_test(test, "its test"):
        return fault
    chosen = metrics.get("choose_by")
    if not _is_count(chosen) or f"recall@{chosen}" not in test:
        return f"its test has no Recall at its choose_by, {chosen!r:.80}"
    if not _is_number(training.get("seconds")):
        return f"its training took {training.get('seconds')!r:.80} seconds"
    if training.get("processor_seconds") is not None and not (
        _is_number(training["processor_seconds"]) and _is_count(training.get("threads"))
    ):
        return "its training has no usable processor_seconds and threads"
    return _fault_of_baselines(metrics["baselines"], test)


def _fault_of_baselines(baselines: Mapping[str, Any], test: Mapping[str, Any]) -> str | None:
    if {*baselines} != {*COMPARED}:
        return f"its baselines must be {' and '.join(COMPARED)}, got {sorted(baselines)!r:.80}"
    for name, measured in baselines.items():
        if not isinstance(measured, dict) or not isinstance(measured.get("test"), dict):
            return f"its baseline {name} has no test"
        if fault := _fault_of_test(measured["test"], f"the test of its baseline {name}"):
            return fault
        if lacking := [
            figure for figure in test if _RECALL.fullmatch(figure) and figure not in measured["test"]
        ]:
            return f"the test of its baseline {name} has no {lacking[0]}"
        if not _is_number(measured.get("valid")):
            return f"its baseline {name} has no Recall on validation"
        setting = measured.get("setting")
        if not isinstance(setting, dict) or not all(map(_is_count, setting.values())):
            return f"its baseline {name} has no setting"
        if setting and not {"neighbours", "recent"} <= setting.keys():
            return f"the setting of its baseline {name} has no neighbours or no recent events"
    return None


def _fault_of_test(test: Mapping[str, Any], whose: str) -> str | None:
    for name, value in test.items():
        if not _is_number(value):
            return f"{name!r:.80} of {whose} is no number: {value!r:.80}"
        if name.startswith("recall@") and not _RECALL.fullmatch(name):
            return f"{whose} has a Recall at no number of items: {name!r:.80}"
    return None


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < TOO_LARGE


def _is_number(value: Any) -> bool:
    if type(value) is int:
        return abs(value) < TOO_LARGE
    return type(value) is float and math.isfinite(value)


__all__ = ["COMPARED", "check_metrics"]
