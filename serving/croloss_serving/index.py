"""The faiss index of an export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from croloss_serving.common.manifest import path_of_open
from croloss_serving.errors import SERVING, MissingExtraError, PretrainedError

#: What a C int holds.
MOST = 2**31 - 1
INDEXES = ("flat", "ivf", "hnsw")
HNSW_LINKS = 32
#: How much of an approximate index is searched unless the caller says otherwise.
NPROBE, EF_SEARCH = 16, 128
#: By how much a search that found too little is widened, and the share of the items from which on an exact
#: product costs no more than walking a graph.
GROWTH, GRAPH_SHARE = 4, 1 / 8


def build_index(kind: str, vectors: NDArray[np.float32]) -> Any:
    """Return a faiss index of inner products.

    Args:
        kind: one of :data:`INDEXES`: "flat" is exact; "ivf" searches the nearest of √N · 4 clusters; "hnsw"
            walks a graph of neighbours.
        vectors: (N, D) float32, row i for item id i + 1.
    """
    faiss = import_faiss("an index")
    count, dim = vectors.shape
    if kind == "flat":
        index = faiss.IndexFlatIP(dim)
    elif kind == "ivf":
        # faiss wants 39 vectors for each cluster
        clusters = max(1, min(int(4 * count**0.5), count // 39))
        index = faiss.index_factory(dim, f"IVF{clusters},Flat", faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
    else:
        index = faiss.IndexHNSWFlat(dim, HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
    index.add(vectors)
    return index


def write_index(index: Any, path: Path) -> None:
    """Write an index to a file."""
    import_faiss("an index").write_index(index, str(path))


def read_index(path: Path, nprobe: int | None, ef_search: int | None, opened: BinaryIO | None = None) -> Any:
    """Read an index and set how much of it is searched; None leaves the default.

    A file of a stranger must have passed :func:`check_index` before.

    Args:
        path: the file.
        nprobe: number of clusters that are searched.
        ef_search: number of neighbours that are kept in mind.
        opened: the file itself, open at its beginning; None opens it.

    Raises:
        ValueError: a number is not whole, or below 1 or too large.
        PretrainedError: faiss cannot read the file.
    """
    check_number("nprobe", nprobe)
    check_number("ef_search", ef_search)
    faiss = import_faiss("this index")
    try:
        index = faiss.read_index(str(path) if opened is None else path_of_open(opened, path))
    except RuntimeError as error:
        raise PretrainedError(f"{path} cannot be read: {error}") from None
    if hasattr(index, "nprobe"):
        index.nprobe = min(NPROBE if nprobe is None else int(nprobe), index.nlist)
    if hasattr(index, "hnsw"):
        index.hnsw.efSearch = EF_SEARCH if ef_search is None else int(ef_search)
    return index


def check_number(name: str, value: object, least: int = 1) -> None:
    """Refuse a number of something that is not whole, too small, or larger than faiss and onnxruntime take.

    Raises:
        ValueError: naming the argument.
    """
    if value is None:
        return
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not least <= value <= MOST:
        raise ValueError(f"{name}={value!r:.80} must be a whole number from {least} to {MOST:,}, or None")


def is_exact(index: Any) -> bool:
    """Return whether an index finds the best items for certain."""
    return not (hasattr(index, "nprobe") or hasattr(index, "hnsw"))


def widening(index: Any, width: int) -> Iterator[Any]:
    """Yield faiss search parameters, each for a wider search than before; first None, as the index is set.

    They are parameters of a call, not of the index, so that no other search is widened.

    Args:
        index: a faiss index.
        width: how many items are asked of it.
    """
    yield None
    faiss = import_faiss("this index")
    if hasattr(index, "nprobe"):
        clusters = index.nprobe
        while clusters < index.nlist:
            clusters = min(GROWTH * clusters, index.nlist)
            yield faiss.SearchParametersIVF(nprobe=clusters)
    elif hasattr(index, "hnsw"):
        kept = GROWTH * max(index.hnsw.efSearch, width)
        while kept < GRAPH_SHARE * index.ntotal:
            yield faiss.SearchParametersHNSW(efSearch=kept)
            kept *= GROWTH


def import_faiss(what: str) -> ModuleType:
    """Return faiss.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise MissingExtraError(what, "serve", SERVING) from error
    module: ModuleType = faiss
    return module
