"""Which kind of value each of RecBole's settings has that loading depends on; needs no RecBole."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lightning_croloss.data.history_filters import parse_intervals


class Kind(NamedTuple):
    """One kind of value.

    Attributes:
        wanted: what to write, as the end of a sentence.
        fits: tells whether a value is of the kind.
        may_be_null: whether null is a value, too: that of a setting that is not made.
    """

    wanted: str
    fits: Callable[[Any], bool]
    may_be_null: bool = True


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_intervals(value: object) -> bool:
    # RecBole takes the text of whatever it is given, so a list of two numbers as well
    try:
        return bool(parse_intervals(str(value)))
    except ValueError:
        return False


def _maps_to(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def is_such_a_mapping(value: object) -> bool:
        return isinstance(value, Mapping) and all(
            isinstance(name, str) and fits(entry) for name, entry in value.items()
        )

    return is_such_a_mapping


INTERVALS = Kind("an interval such as '[5,inf)', or several with ';' between them", _is_intervals)
_TEXT = Kind("a text that is not empty", _is_text)
_NAME = Kind("the name of a column", _is_text, may_be_null=False)
_TEXTS = Kind("a list of columns: [a, b]", _is_texts)
_COLUMNS = "a dictionary of file extensions and lists of columns: {inter: [user_id, item_id]}"

KINDS: dict[str, Kind] = {
    "field_separator": _TEXT,
    "seq_separator": _TEXT,
    "encoding": _TEXT,
    "USER_ID_FIELD": _NAME,
    "ITEM_ID_FIELD": _NAME,
    "TIME_FIELD": Kind("the name of a column", _is_text),
    "load_col": Kind(_COLUMNS, _maps_to(lambda value: value == "*" or _is_texts(value))),
    "unload_col": Kind(_COLUMNS, _maps_to(_is_texts)),
    "seq_len": Kind("a dictionary of columns and whole numbers: {tags: 5}", _maps_to(_is_length)),
    "rm_dup_inter": Kind("'first' or 'last'", lambda value: value in ("first", "last")),
    # which of the two a column has is seen by its type
    "val_interval": Kind(
        "a dictionary of columns and intervals or lists of texts: {rating: '[3,inf)', kind: [a, b]}",
        _maps_to(lambda value: True),
    ),
    "filter_inter_by_user_or_item": Kind("true or false", lambda value: isinstance(value, bool)),
    "user_inter_num_interval": INTERVALS,
    "item_inter_num_interval": INTERVALS,
    "alias_of_user_id": _TEXTS,
    "alias_of_item_id": _TEXTS,
}


def check_kinds(settings: Mapping[Any, Any]) -> None:
    """Refuse values of another kind than their setting has; RecBole fails on them, or passes them over.

    Raises:
        ValueError: naming the setting and its value.
    """
    for name, value in settings.items():
        if not isinstance(name, str):
            raise ValueError(f"a RecBole setting is named {name!r}: the name must be a text")
        kind = KINDS.get(name)
        if kind is not None and not (kind.fits(value) or (value is None and kind.may_be_null)):
            null = ", or null" if kind.may_be_null else ""
            raise ValueError(f"{name}={value!r} must be {kind.wanted}{null}")


def evaluated(config: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return settings, texts among those that loading depends on as the values that they say.

    RecBole evaluates the texts of its ``config_dict``, and not those of its files: "True" is true, "None" is
    null and "['a', 'b']" is a list. Here that is done for plain values alone, never for a path, and what its
    setting wants as a text stays one.
    """
    found = dict(config)
    for name, text in config.items():
        if isinstance(text, str):
            value, kind = _said(text), KINDS.get(name)
            if kind is not None and (value is None or kind.fits(value)):
                found[name] = value
    return found


def _said(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return {"true": True, "false": False}.get(text.lower(), text)
