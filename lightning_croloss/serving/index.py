"""The faiss index of an export. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_croloss.errors import MissingExtraError

INDEXES = ("flat", "ivf", "hnsw")
HNSW_LINKS = 32
#: How much of an approximate index is searched unless the caller says otherwise.
NPROBE, EF_SEARCH = 16, 128


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


def read_index(path: Path, nprobe: int | None, ef_search: int | None) -> Any:
    """Read an index and set how much of it is searched; None leaves the default."""
    faiss = import_faiss("this index")
    index = faiss.read_index(str(path))
    if hasattr(index, "nprobe"):
        index.nprobe = min(NPROBE if nprobe is None else nprobe, index.nlist)
    if hasattr(index, "hnsw"):
        index.hnsw.efSearch = EF_SEARCH if ef_search is None else ef_search
    return index


def import_faiss(what: str) -> ModuleType:
    """Return faiss.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise MissingExtraError(what, "serve") from error
    module: ModuleType = faiss
    return module
