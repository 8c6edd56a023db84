"""Columns of vectors, which would become thousands of categories if nobody looked."""

from __future__ import annotations

import polars as pl

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[nN]a[nN]"
#: A list of numbers in brackets, as JSON, numpy and Python write it.
_BRACKETED = rf"^\s*[\[(]\s*(?:{_NUMBER})(?:[\s,;]+(?:{_NUMBER}))*[,;]?\s*[\])]\s*$"
_FRACTION = r"\d\.|\.\d|\d[eE]"


def holds_vectors(series: pl.Series, separator: str | None) -> bool:
    """Tell whether a column holds vectors of numbers, and not tokens or sets of them.

    Args:
        series: the column. Lists of floats are vectors, whatever their length; lists of integers are sets.
            Texts are vectors if each holds numbers in brackets, some of them not whole.
        separator: what stands between the tokens of a text; then texts of equally many numbers, at least two,
            none of them whole, are vectors too. None if each text is one token.
    """
    kind = series.dtype
    if isinstance(kind, (pl.List, pl.Array)):
        inner = kind.inner
        while isinstance(inner, (pl.List, pl.Array)):
            inner = inner.inner
        return bool(inner.is_float() or inner.is_decimal())
    present = series.drop_nulls() if kind == pl.String else series.clear()
    if not len(present):
        return False
    if present.str.contains(_BRACKETED).all() and present.str.contains(_FRACTION).any():
        return True
    if separator is None or not present.head(1).str.contains(_FRACTION).all():
        return False
    pieces = present.str.split(separator).list.eval(pl.element().filter(pl.element() != ""))
    lengths = pieces.list.len()
    if len(present) < 2 or lengths.min() != lengths.max() or lengths[0] < 2:
        return False
    numbers = pieces.explode()
    return bool(
        numbers.cast(pl.Float64, strict=False).is_not_null().all() and numbers.str.contains(_FRACTION).all()
    )
