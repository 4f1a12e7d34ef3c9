"""One phase of Qdrant Edge, in a process of its own; prints one JSON object.

    qdrant.py build  SHARD BASE METRIC --ranks FILE          rows, and their ranks
    qdrant.py search SHARD BASE METRIC --queries FILE --field F --below N --ef LIST --ids FILE

A filter is a range of an integer of the payload, with an index: the rows whose rank is below N.
Loading and a warm-up come before anything that is timed.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import qdrant_edge as qe

import vectors

K = 10
M = 16
EF_CONSTRUCTION = 200
ROWS_AT_ONCE = 1000
THREADS = 2


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("phase", choices=["build", "search"])
    arguments.add_argument("shard", type=Path)
    arguments.add_argument("base")
    arguments.add_argument("metric", choices=["l2", "cosine"])
    arguments.add_argument("--ranks", type=Path)
    arguments.add_argument("--queries", type=Path)
    arguments.add_argument("--field")
    arguments.add_argument("--below", type=int)
    arguments.add_argument("--ef", type=lambda text: [int(ef) for ef in text.split(",")])
    arguments.add_argument("--ids", type=Path)
    args = arguments.parse_args()
    phase = {"build": build, "search": search}[args.phase]
    json.dump(phase(args), sys.stdout)


def build(args):
    rows = vectors.as_floats(vectors.open_vectors(args.base), args.metric)
    ranks = dict(np.load(args.ranks))
    distance = qe.Distance.Euclid if args.metric == "l2" else qe.Distance.Dot
    config = qe.EdgeConfig(
        vectors=qe.EdgeVectorParams(size=rows.shape[1], distance=distance),
        hnsw_config=qe.HnswIndexConfig(m=M, ef_construct=EF_CONSTRUCTION,
                                       full_scan_threshold=10_000, max_indexing_threads=THREADS),
        optimizers=qe.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1000,
                                           max_segment_size=4_000_000),
    )
    args.shard.mkdir()
    shard = qe.EdgeShard.create(str(args.shard), config)
    for field in ranks:
        index = qe.UpdateOperation.create_field_index(field, qe.PayloadSchemaType.Integer)
        shard.update(index)
    start = time.perf_counter()
    for first in range(0, len(rows), ROWS_AT_ONCE):
        points = [
            qe.Point(row, rows[row].tolist(), {name: int(of[row]) for name, of in ranks.items()})
            for row in range(first, min(first + ROWS_AT_ONCE, len(rows)))
        ]
        shard.update(qe.UpdateOperation.upsert_points(points))
    shard.optimize()
    shard.flush()
    seconds = time.perf_counter() - start
    shard.close()
    return {"seconds": seconds}


def search(args):
    queries = vectors.open_vectors(args.queries)
    queries = [query.tolist() for query in vectors.as_floats(queries, args.metric)]
    shard = qe.EdgeShard.load(str(args.shard))
    below = qe.FieldCondition(key=args.field, range=qe.RangeFloat(lt=float(args.below)))
    only = qe.Filter(must=[below])

    def run(query, ef):
        request = qe.QueryRequest(limit=K, query=qe.Query.Nearest(query), filter=only,
                                  params=qe.SearchParams(hnsw_ef=ef), with_payload=False,
                                  with_vector=False)
        return [point.id for point in shard.query(request)]

    for query in queries:
        run(query, args.ef[0])
    points, found = [], np.full((len(args.ef), len(queries), K), -1, np.int64)
    for at, ef in enumerate(args.ef):
        answers = []
        start = time.perf_counter()
        for query in queries:
            answers.append(run(query, ef))
        taken = time.perf_counter() - start
        for row, answer in zip(found[at], answers):
            row[: len(answer)] = answer
        points.append({"ef": ef, "mean_us": 1e6 * taken / len(queries)})
    np.save(args.ids, found)
    shard.close()
    return points


if __name__ == "__main__":
    main()
