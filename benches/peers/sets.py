"""Data sets in a directory: base, queries and exact answers, as the contenders are given them.

Two layouts: `NAME.base.u8bin` (or `.fbin`), `NAME.query.*`, `NAME.truth.ivecs`; and a folder
`NAME` with `base.npy`, `queries.npy`, `gt.npy` and the file `metric`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import vectors

# Those whose metric need not be said.
METRICS = {"sift-128-200k": "l2", "mnist-784": "l2", "text-256": "cosine"}


class Absent(Exception):
    """A set that is not there, or whose metric is not known."""


@dataclass(frozen=True)
class DataSet:
    name: str
    metric: str
    # The file that holds all rows.
    base: Path
    # Arrays, a row a query.
    queries: np.ndarray
    truth: np.ndarray

    def rows(self):
        return vectors.open_vectors(self.base)


def find(directory, wanted, queries_max):
    """The set `wanted` (NAME or NAME:METRIC), no more than `queries_max` queries. Raises Absent."""
    name, _, metric = wanted.partition(":")
    directory = Path(directory)
    folder = directory / name
    if folder.is_dir():
        files = [folder / file for file in ("base.npy", "queries.npy", "gt.npy", "metric")]
    else:
        kind = "u8bin" if (directory / f"{name}.base.u8bin").exists() else "fbin"
        parts = (f"base.{kind}", f"query.{kind}", "truth.ivecs")
        files = [directory / f"{name}.{part}" for part in parts]
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise Absent(f"no {', '.join(missing)} in {directory}")
    base, queries, truth = files[:3]
    if not metric and folder.is_dir():
        # Inner product is written where all rows are of unit length.
        metric = files[3].read_text().strip().replace("ip", "cosine")
    metric = metric or METRICS.get(name)
    if metric not in ("l2", "cosine"):
        raise Absent(f"metric {metric or 'not known'}: say {name}:l2 or {name}:cosine")
    true = np.load(truth) if truth.suffix == ".npy" else vectors.read_ivecs(truth)
    asked = np.array(vectors.open_vectors(queries)[:queries_max])
    return DataSet(name, metric, base, asked, true[: len(asked)])
