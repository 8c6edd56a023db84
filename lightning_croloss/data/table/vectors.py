"""Columns of vectors, which would become thousands of categories if nobody looked."""

from __future__ import annotations

import polars as pl

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[nN]a[nN]|[+-]?[iI]nf(?:inity)?"
#: Numbers in brackets, as JSON, Python, numpy, torch and databases write vectors and matrices.
_BRACKETED = (
    rf"^\s*(?:[\w.]*(?:array|tensor))?[\[({{][\s\[({{]*(?:{_NUMBER})(?:[\s,;\[\](){{}}]+(?:{_NUMBER}))*"
    r"[\s,;\])}]*(?:dtype=[\w.]+\)?)?\s*$"
)
#: What stands for no vector among vectors.
_NOTHING = r"^\s*(?:[\[({]\s*[\])}]|null|None|NULL|NaN|nan|NA)\s*$"
_FRACTION = r"\d\.|\.\d|\d[eE]"
#: What may stand between the numbers of a text that is one token.
_BETWEEN = r"[\s,;|]+"


def holds_vectors(series: pl.Series, separator: str | None) -> bool:
    """Tell whether a column holds vectors of numbers, and not tokens or sets of them.

    Args:
        series: the column. Lists of floats are vectors, whatever their length; lists of integers are sets.
            Texts are vectors if each holds numbers in brackets, some of them not whole, or nothing, or if all
            hold equally many numbers, at least two, none of them whole.
        separator: what stands between the tokens of a text; None if each text is one token, whose numbers may
            stand between spaces, commas, semicolons or bars.
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
    vectors = present.filter(~present.str.contains(_NOTHING))
    if vectors.str.contains(_BRACKETED).all() and vectors.str.contains(_FRACTION).any():
        return True
    if not present.head(1).str.contains(_FRACTION).all():
        return False
    if separator is None:
        present, separator = present.str.replace_all(_BETWEEN, " "), " "
    pieces = present.str.split(separator).list.eval(pl.element().filter(pl.element() != ""))
    lengths = pieces.list.len()
    if len(present) < 2 or lengths.min() != lengths.max() or lengths[0] < 2:
        return False
    numbers = pieces.explode()
    return bool(
        numbers.cast(pl.Float64, strict=False).is_not_null().all() and numbers.str.contains(_FRACTION).all()
    )
