"""Reading JSON that a stranger may have written."""

from __future__ import annotations

import json
from typing import Any

from croloss_serving.common.plain_values import check_bounded

#: How large a file of JSON may be, unless it holds tokens.
MOST_BYTES = 16 * 2**20
#: How large one may be that holds tokens: those of features of users.
MOST_BYTES_OF_TOKENS = 256 * 2**20


def parse_json(content: bytes) -> Any:
    """Return what JSON holds.

    Raises:
        ValueError: it is not JSON, gives a name twice, or is nested too deeply.
    """
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_without_repeats)
        check_bounded(value, most=len(content) + 1)
    except UnicodeDecodeError:
        raise ValueError("it is not JSON: it is not text in UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it gives {next(name for name in names if names.count(name) > 1)!r} twice")
    return found
