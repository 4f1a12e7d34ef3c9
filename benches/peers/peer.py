"""One phase of a peer, in a process of its own; prints one JSON object.

    peer.py build   BASE METRIC INDEX --threads T              hnswlib: build and save
    peer.py search  INDEX METRIC QUERIES --ef LIST --ids FILE  hnswlib: batches and single calls
    peer.py threads INDEX METRIC QUERIES --ef EF --threads T   hnswlib: batches on T threads
    peer.py exact   BASE METRIC QUERIES --batch N              faiss: IndexFlat

Loading and a warm-up of all queries come before anything that is timed.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

import vectors

K = 10
M = 16
EF_CONSTRUCTION = 200


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("phase", choices=["build", "search", "threads", "exact"])
    arguments.add_argument("source", help="BASE, or INDEX as it was saved")
    arguments.add_argument("metric", choices=["l2", "cosine"])
    arguments.add_argument("other", help="QUERIES, or INDEX to save")
    arguments.add_argument("--ef", type=lambda text: [int(ef) for ef in text.split(",")])
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--batch", type=int)
    arguments.add_argument("--ids", type=Path)
    args = arguments.parse_args()
    phase = {"build": build, "search": search, "threads": threads, "exact": exact}[args.phase]
    json.dump(phase(args), sys.stdout)


def index(args, dims):
    import hnswlib

    # Rows and queries of unit length: `ip` spares hnswlib the norm of each query.
    return hnswlib.Index("l2" if args.metric == "l2" else "ip", dims)


def build(args):
    rows = vectors.as_floats(vectors.open_vectors(args.source), args.metric)
    ids = np.arange(len(rows))
    built = index(args, rows.shape[1])
    built.init_index(len(rows), ef_construction=EF_CONSTRUCTION, M=M)
    wall, cpu = time.perf_counter(), time.process_time()
    built.add_items(rows, ids, num_threads=args.threads)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    built.save_index(args.other)
    return {"seconds": wall, "cpu_s": cpu}


def loaded(args):
    queries = vectors.as_floats(vectors.open_vectors(args.other), args.metric)
    ready = index(args, queries.shape[1])
    ready.load_index(args.source)
    ready.set_ef(args.ef[0])
    ready.knn_query(queries, K, num_threads=args.threads)
    return ready, queries


def search(args):
    ready, queries = loaded(args)
    points, found = [], []
    for ef in args.ef:
        ready.set_ef(ef)
        wall = time.perf_counter()
        ids, _ = ready.knn_query(queries, K, num_threads=1)
        wall = time.perf_counter() - wall
        single = singly(queries, lambda query: ready.knn_query(query, K, num_threads=1))
        points.append({"ef": ef, "batch_qps": len(queries) / wall} | single)
        found.append(ids)
    np.save(args.ids, np.array(found, np.int64))
    return {"points": points}


def threads(args):
    ready, queries = loaded(args)
    wall = time.perf_counter()
    ready.knn_query(queries, K, num_threads=args.threads)
    return {"qps": len(queries) / (time.perf_counter() - wall)}


def exact(args):
    import faiss

    faiss.omp_set_num_threads(1)
    rows = vectors.as_floats(vectors.open_vectors(args.source), args.metric)
    queries = vectors.as_floats(vectors.open_vectors(args.other), args.metric)
    flat = (faiss.IndexFlatL2 if args.metric == "l2" else faiss.IndexFlatIP)(rows.shape[1])
    flat.add(rows)
    flat.search(queries[: args.batch], K)
    single = singly(queries, lambda query: flat.search(query, K))
    # Left alone it takes batches of this size one query at a time, six times as slowly.
    faiss.cvar.distance_compute_blas_threshold = 1
    wall = time.perf_counter()
    for start in range(0, len(queries), args.batch):
        flat.search(queries[start : start + args.batch], K)
    wall = time.perf_counter() - wall
    return {"batch_qps": len(queries) / wall} | single


def singly(queries, call):
    """Latencies of one query a call, the cost of calling from Python included."""
    taken = np.empty(len(queries))
    for at in range(len(queries)):
        query = queries[at : at + 1]
        start = time.perf_counter()
        call(query)
        taken[at] = time.perf_counter() - start
    taken *= 1e6
    p50, p99 = np.percentile(taken, [50, 99], method="inverted_cdf")
    return {"mean_us": taken.mean(), "p50_us": p50, "p99_us": p99}


if __name__ == "__main__":
    main()
