"""Texts of a file stand only where a parser of configs reads no more into them than text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pytest

from lightning_croloss.common.plain_text import check_texts
from lightning_croloss.errors import PretrainedError

if TYPE_CHECKING:
    from nowhere import Unknown

T = TypeVar("T")


class Base:
    def __init__(self, of_base: str = "", called: Callable[[int], int] | None = None) -> None: ...


class Takes(Base):
    def __init__(
        self,
        text: str | None = None,
        choice: Literal["a b: c", "d"] = "d",
        number: int = 0,
        either: str | Base = "x",
        part: Base | None = None,
        function: str | Callable[[], None] = "x",
        anything: Any = None,
        variable: T | None = None,
        texts: Sequence[str] = (),
        parts: tuple[Base, ...] = (),
        features: Sequence[Mapping[str, Any]] = (),
        unknown: Unknown | None = None,
        untyped=None,
        **kwargs: Any,
    ) -> None: ...


YAML, DOTTED, WORD = "{class_path: os.system}", "os.system", "word"
ALLOWED = [
    *(("text", text) for text in (YAML, DOTTED, WORD, "a: b")),
    ("of_base", YAML),
    ("choice", "a b: c"),
    ("either", WORD),
    ("function", WORD),
    ("anything", DOTTED),
    ("untyped", WORD),
    ("unknown", WORD),
    ("texts", [YAML]),
    ("features", [{"name": "genre", "kind": "a/b"}]),
    ("part", {"class_path": "Base", "init_args": {"of_base": YAML}}),
]
REFUSED = [
    *(("number", text) for text in (YAML, DOTTED, WORD)),
    *(("part", text) for text in (YAML, DOTTED, WORD)),
    *((name, text) for name in ("either", "function", "unknown") for text in (YAML, DOTTED, "a.yaml", "x/y")),
    *((name, text) for name in ("anything", "untyped", "variable") for text in (YAML, "a: b", "[x]")),
    ("choice", "e"),
    ("called", DOTTED),
    ("parts", [DOTTED]),
    ("features", [{"name": YAML}]),
    ("part", {"class_path": "Base", "init_args": {"called": DOTTED}}),
]


def checked(name: str, value: Any) -> None:
    known = {"Takes": Takes, "Base": Base}
    check_texts(
        {"class_path": "Takes", "init_args": {name: value}}, "m.ckpt", lambda path, where: known[path]
    )


@pytest.mark.parametrize(("name", "value"), ALLOWED, ids=repr)
def test_what_is_meant_as_text_is_allowed(name: str, value: Any) -> None:
    checked(name, value)


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=repr)
def test_what_would_be_read_or_imported_is_refused(name: str, value: Any) -> None:
    with pytest.raises(PretrainedError, match=r"m\.ckpt: \w+'s \w+ is the text .* not allowed there"):
        checked(name, value)
