"""Vector files, and recall by distance over them.

Vectors: `.u8bin`, `.fbin` (u32 rows, u32 dims, little-endian, then the rows) and `.npy`.
Neighbours: `.ivecs` (a query: i32 count, then the ids, nearest first; here all counts are equal).
"""

from pathlib import Path

import numpy as np

# How much farther than the true k-th nearest, relatively, still counts as a tie.
TIE_TOLERANCE = 1e-6
# At least so much for a cosine: near 0 what float64 rounds away is no longer relative to it.
COSINE_TOLERANCE = 1e-12
# Queries whose candidates are held in memory as float64 at once.
QUERIES_AT_ONCE = 256


def open_vectors(path):
    """The rows of a file, mapped, in their own element type: an array (rows, dims)."""
    path = Path(path)
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r")
    element = {".u8bin": np.dtype("u1"), ".fbin": np.dtype("<f4")}[path.suffix]
    rows, dims = (int(number) for number in np.fromfile(path, "<u4", 2))
    if path.stat().st_size != 8 + rows * dims * element.itemsize:
        raise ValueError(f"{path}: not {rows} rows of {dims} dimensions")
    return np.memmap(path, element, "r", 8, (rows, dims))


def as_floats(vectors, metric):
    """A copy in memory as float32, of unit length if the metric is cosine."""
    floats = np.ascontiguousarray(vectors, np.float32)
    return floats if metric == "l2" else unit(floats).astype(np.float32)


def unit(vectors):
    """The vectors as float64, of unit length."""
    vectors = vectors.astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def write_fbin(path, vectors):
    with open(path, "wb") as file:
        np.array(vectors.shape, "<u4").tofile(file)
        np.ascontiguousarray(vectors, "<f4").tofile(file)


def read_ivecs(path):
    """The ids of each query: an array (queries, ids)."""
    words = np.fromfile(path, "<i4")
    return words.reshape(-1, words[0] + 1)[:, 1:]


def write_ivecs(path, ids):
    counts = np.full((len(ids), 1), ids.shape[1])
    np.hstack([counts, ids]).astype("<i4").tofile(path)


def recall(base, queries, truth, found, k, metric):
    """The share of the true `k` nearest that was found, ties counting alike.

    A row counts if its distance, in float64 from the vectors themselves, is at most that of the
    true k-th. `truth` and `found` are ids, a row a query; `found` repeats none.
    """
    least = COSINE_TOLERANCE if metric == "cosine" else 0.0
    hits = 0
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        some = slice(start, start + QUERIES_AT_ONCE)
        kth = distances(base, queries[some], truth[some, k - 1 : k], metric)
        far = distances(base, queries[some], found[some, :k], metric)
        hits += int((far <= kth + np.maximum(np.abs(kth) * TIE_TOLERANCE, least)).sum())
    return hits / (k * len(queries))


def distances(base, queries, ids, metric):
    """Of each query to its rows `ids`: an array as `ids`, squared L2 or 1 minus the cosine."""
    rows, queries = base[ids], queries[:, None, :]
    if metric == "l2":
        return ((rows.astype(np.float64) - queries.astype(np.float64)) ** 2).sum(2)
    return 1.0 - (unit(rows) * unit(queries)).sum(2)
